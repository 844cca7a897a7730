"""Promote: a training job ended; make its model live if it is good enough and not outdated."""

import json
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from tomodrop import keys, objects
from tomodrop.clients import App
from tomodrop.errors import EventError
from tomodrop.figures import copy_figures
from tomodrop.live_model import LiveModel, read_live_model, write_live_model
from tomodrop.predictions import NOTICE
from tomodrop.protection import network
from tomodrop.settings import Settings

logger = Logger(child=True)


def promote(app: App, job: str) -> dict[str, Any] | None:
    """Decide on a training job and carry the decision out. None: the job has not ended.

    Returns the decision, which is also stored at `models/<job>/decision.json` for people.

    Raises
    ------
    EventError
        The job was not made by `retrain` of this stack.
    """
    record = _read_record(app, job)
    described: dict[str, Any] = dict(app.sagemaker.describe_training_job(TrainingJobName=job))
    if described["TrainingJobStatus"] not in ("Completed", "Failed", "Stopped"):
        return None
    metrics = final_metrics(described)
    verdict, reason = decide(app.settings, described, metrics, read_live_model(app))
    if described["TrainingJobStatus"] == "Completed":
        copy_figures(app, job)
    if verdict == "promoted":
        _create_model(app, model_request(app.settings, described))
        write_live_model(app, live_model_of(record, described, metrics))
    decision = {
        "training_job": job,
        "decision": verdict,
        "reason": reason,
        "metrics": metrics,
        "slices": record["slices"],
        "decided_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "notice": NOTICE,
    }
    body = json.dumps(decision, indent=2).encode()
    bucket, key = app.settings.predictions_bucket, decision_key(job)
    objects.write(app.s3, bucket, key, body, "application/json")
    logger.info("decided", extra={"job": job, "decision": verdict, "reason": reason})
    return decision


def decision_key(job: str) -> str:
    """Where the decision on a training job lies, in the predictions bucket."""
    return f"{keys.MODELS}{job}/decision.json"


def _read_record(app: App, job: str) -> dict[str, Any]:
    body = objects.read_if_there(app.s3, app.settings.work_bucket, f"{keys.TRAINING}{job}/job.json")
    if body is None:
        message = f"training job '{job}' was not started by this stack: it has no job.json"
        raise EventError(message)
    record: dict[str, Any] = json.loads(body)
    return record


def final_metrics(described: dict[str, Any]) -> dict[str, float]:
    """`{"validation:accuracy": 0.93, …}` as DescribeTrainingJob reports them at the end."""
    return {
        metric["MetricName"]: round(float(metric["Value"]), 6)
        for metric in described.get("FinalMetricDataList", [])
    }


def decide(
    settings: Settings,
    described: dict[str, Any],
    metrics: dict[str, float],
    live: LiveModel | None,
) -> tuple[str, str]:
    """The verdict ("promoted", "refused" or "failed") and its reason, in words."""
    status = described["TrainingJobStatus"]
    if status != "Completed":
        return "failed", f"the job ended {status}: {described.get('FailureReason') or 'no reason'}"
    accuracy = metrics.get("validation:accuracy")
    if accuracy is None:
        return "refused", "the job reported no validation:accuracy"
    minimum = settings.minimum_validation_accuracy
    if not accuracy >= minimum:  # said this way round, NaN is refused as well
        return "refused", (
            f"validation accuracy {accuracy:.3f} is below the minimum {minimum:.3f} "
            "(parameter MinimumValidationAccuracy)"
        )
    if live and live.trained_at > described["CreationTime"]:
        return "refused", f"the live model {live.model_name} was trained later"
    return "promoted", f"validation accuracy {accuracy:.3f} reaches the minimum {minimum:.3f}"


def model_request(settings: Settings, described: dict[str, Any]) -> dict[str, Any]:
    """The CreateModel request. A model is named after its training job.

    Batch transform takes `ModelDataUrl` only, not `ModelDataSource`.
    """
    return {
        "ModelName": described["TrainingJobName"],
        "PrimaryContainer": {
            "Image": described["AlgorithmSpecification"]["TrainingImage"],
            "ModelDataUrl": described["ModelArtifacts"]["S3ModelArtifacts"],
        },
        "ExecutionRoleArn": settings.sagemaker_role_arn,
        "EnableNetworkIsolation": True,
        **network(settings),
    }


def _create_model(app: App, request: dict[str, Any]) -> None:
    try:
        app.sagemaker.create_model(**request)
    except ClientError:
        # A repeated event meets the model it made; SageMaker has no code of its own for that.
        there = app.sagemaker.describe_model(ModelName=request["ModelName"])
        if (
            there["PrimaryContainer"].get("ModelDataUrl")
            != (request["PrimaryContainer"]["ModelDataUrl"])
        ):
            raise


def live_model_of(
    record: dict[str, Any], described: dict[str, Any], metrics: dict[str, float]
) -> LiveModel:
    """The record of a model about to go live."""
    return LiveModel(
        model_name=described["TrainingJobName"],
        training_job=described["TrainingJobName"],
        trained_at=described["CreationTime"],
        classes=record["classes"],
        normaliser=record["normaliser"],
        image_shape=record["image_shape"],
        fingerprint=record["fingerprint"],
        metrics=metrics,
    )
