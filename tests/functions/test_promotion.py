"""Promote: which model goes live, why, and what people find of the others."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

import promote as step
from tests.functions.builders import ENVIRONMENT, MODEL, job_becomes
from tests.functions.conftest import Context
from tests.functions.interference import dies_before, refusing
from tests.functions.test_training_request import WHOLE
from tomodrop import objects
from tomodrop.clients import App
from tomodrop.errors import EventError
from tomodrop.live_model import read_live_model, write_live_model
from tomodrop.promotion import decide, final_metrics, model_request, promote
from tomodrop.settings import Settings

JOB = "tomodrop-train-20261122T030000Z"
CREATED = datetime(2026, 11, 22, 3, 0, 2, tzinfo=UTC)
RECORD = {
    "training_job": JOB,
    "classes": ["non_covid", "covid"],
    "normaliser": "1",
    "image_shape": [3, 64, 64],
    "fingerprint": "f" * 64,
    "slices": {"train": {"non_covid": 3, "covid": 4}, "validation": {"non_covid": 1, "covid": 1}},
}
ARTIFACTS = {
    "S3ModelArtifacts": f"s3://tomodrop-work-123456789012/training/{JOB}/output/model.tar.gz"
}


def accuracy(value: float) -> list[dict[str, Any]]:
    return [
        {"MetricName": "train:accuracy", "Value": 0.99, "Timestamp": CREATED},
        {"MetricName": "validation:accuracy", "Value": value, "Timestamp": CREATED},
    ]


def train(stack: App, value: float = 0.93, status: str = "Completed", job: str = JOB) -> None:
    """A training job of ours that came to such an end."""
    stack.sagemaker.create_training_job(**WHOLE | {"TrainingJobName": job})
    job_becomes(
        job,
        training_job_status=status,
        final_metric_data_list=accuracy(value),
        creation_time=CREATED,
        model_artifacts=ARTIFACTS,
    )
    body = json.dumps(RECORD | {"training_job": job}).encode()
    key = f"training/{job}/job.json"
    objects.write(stack.s3, stack.settings.work_bucket, key, body, "application/json")


def stored(stack: App, name: str = "decision.json", job: str = JOB) -> dict[str, Any]:
    bucket = stack.settings.predictions_bucket
    found: dict[str, Any] = json.loads(objects.read(stack.s3, bucket, f"models/{job}/{name}"))
    return found


def models(stack: App) -> list[str]:
    return [model["ModelName"] for model in stack.sagemaker.list_models()["Models"]]


def test_a_good_model_goes_live(stack: App) -> None:
    train(stack)
    decision = promote(stack, JOB)
    assert decision is not None
    assert decision["decision"] == "promoted"
    live = read_live_model(stack)
    assert live is not None
    assert live.model_dump() == {
        "model_name": JOB,
        "training_job": JOB,
        "trained_at": CREATED,
        "classes": ("non_covid", "covid"),
        "normaliser": "1",
        "image_shape": (3, 64, 64),
        "fingerprint": "f" * 64,
        "metrics": {"train:accuracy": 0.99, "validation:accuracy": 0.93},
    }
    made = stack.sagemaker.describe_model(ModelName=JOB)
    assert made["PrimaryContainer"] == {
        "Image": ENVIRONMENT["ALGORITHM_IMAGE"],
        "ModelDataUrl": ARTIFACTS["S3ModelArtifacts"],
    }


def test_the_decision_is_kept_for_people(stack: App) -> None:
    train(stack)
    decision = promote(stack, JOB)
    assert stored(stack) == decision
    assert {name: value for name, value in stored(stack).items() if name != "decided_at"} == {
        "training_job": JOB,
        "decision": "promoted",
        "reason": "validation accuracy 0.930 reaches the minimum 0.800",
        "metrics": {"train:accuracy": 0.99, "validation:accuracy": 0.93},
        "slices": RECORD["slices"],
        "notice": "Research use only. Not a medical device: do not use for diagnosis or treatment "
        "decisions.",
    }


@pytest.mark.parametrize(
    ("value", "status", "verdict", "reason"),
    [
        (0.7999, "Completed", "refused", "0.800 is below the minimum 0.800"),
        (float("nan"), "Completed", "refused", "below the minimum"),
        (0.0, "Completed", "refused", "MinimumValidationAccuracy"),
        (0.99, "Failed", "failed", "the job ended Failed: no reason"),
        (0.99, "Stopped", "failed", "the job ended Stopped"),
    ],
)
def test_any_other_model_does_not(
    stack: App, value: float, status: str, verdict: str, reason: str
) -> None:
    train(stack, value, status)
    decision = promote(stack, JOB)
    assert decision is not None
    assert (decision["decision"], reason in decision["reason"]) == (verdict, True)
    assert read_live_model(stack) is None
    assert models(stack) == []
    assert stored(stack)["decision"] == verdict


def test_a_model_that_reaches_the_minimum_exactly_goes_live(stack: App) -> None:
    train(stack, 0.8)
    decision = promote(stack, JOB)
    assert decision is not None
    assert decision["decision"] == "promoted"


def test_without_a_validation_accuracy_there_is_nothing_to_promote(stack: App) -> None:
    train(stack)
    job_becomes(JOB, final_metric_data_list=accuracy(1)[:1])
    decision = promote(stack, JOB)
    assert decision is not None
    assert decision["reason"] == "the job reported no validation:accuracy"
    assert read_live_model(stack) is None


def test_the_reason_of_a_failed_job_is_told(settings: Settings) -> None:
    described = {"TrainingJobStatus": "Failed", "FailureReason": "ClientError: bad, exit code: 2"}
    assert decide(settings, described, {}, None) == (
        "failed",
        "the job ended Failed: ClientError: bad, exit code: 2",
    )


def test_a_model_older_than_the_live_one_does_not_replace_it(stack: App) -> None:
    newer = MODEL.model_copy(update={"trained_at": CREATED + timedelta(seconds=1)})
    write_live_model(stack, newer)
    train(stack)
    decision = promote(stack, JOB)
    assert decision is not None
    assert (decision["decision"], decision["reason"]) == (
        "refused",
        f"the live model {MODEL.model_name} was trained later",
    )
    assert read_live_model(stack) == newer
    assert models(stack) == []


def test_a_newer_model_replaces_the_live_one(stack: App) -> None:
    write_live_model(stack, MODEL)
    train(stack)
    promote(stack, JOB)
    live = read_live_model(stack)
    assert live is not None
    assert live.model_name == JOB


def test_a_repeated_event_decides_the_same(stack: App) -> None:
    train(stack)
    first, second = promote(stack, JOB), promote(stack, JOB)
    assert first is not None
    assert second is not None
    assert {**first, "decided_at": ""} == {**second, "decided_at": ""}
    assert models(stack) == [JOB]


def test_a_job_that_runs_is_not_decided_on(stack: App) -> None:
    train(stack, status="InProgress")
    assert promote(stack, JOB) is None
    assert objects.keys_under(stack.s3, stack.settings.predictions_bucket, "") == []


def test_a_job_of_another_maker_is_refused(stack: App) -> None:
    stack.sagemaker.create_training_job(**WHOLE)
    with pytest.raises(EventError, match=r"was not started by this stack: it has no job\.json"):
        promote(stack, JOB)


def test_a_death_anywhere_is_made_good_by_the_next_event(stack: App) -> None:
    train(stack)
    number = 0
    while dies_before(number, stack, lambda: promote(stack, JOB)):
        number += 1
    assert number > 6
    live = read_live_model(stack)
    assert live is not None
    assert live.model_name == JOB
    assert stored(stack)["decision"] == "promoted"


def test_a_model_of_that_name_with_other_weights_is_an_error(stack: App) -> None:
    train(stack)
    stack.sagemaker.create_model(
        ModelName=JOB,
        PrimaryContainer={"Image": "i", "ModelDataUrl": "s3://work/other/model.tar.gz"},
        ExecutionRoleArn=ENVIRONMENT["SAGEMAKER_ROLE_ARN"],
    )
    with (
        refusing(stack.sagemaker, "CreateModel", "ValidationException"),
        pytest.raises(ClientError, match="CreateModel"),
    ):
        promote(stack, JOB)
    assert read_live_model(stack) is None


def test_a_model_that_exists_already_is_no_error(stack: App) -> None:
    train(stack)
    described: dict[str, Any] = dict(stack.sagemaker.describe_training_job(TrainingJobName=JOB))
    stack.sagemaker.create_model(**model_request(stack.settings, described))
    with refusing(stack.sagemaker, "CreateModel", "ValidationException") as refused:
        decision = promote(stack, JOB)
    assert refused == ["CreateModel"]
    assert decision is not None
    assert decision["decision"] == "promoted"


def test_a_model_sees_no_network(settings: Settings) -> None:
    described = {
        "TrainingJobName": JOB,
        "AlgorithmSpecification": {"TrainingImage": "image"},
        "ModelArtifacts": ARTIFACTS,
    }
    assert model_request(settings, described) == {
        "ModelName": JOB,
        "PrimaryContainer": {
            "Image": "image",
            "ModelDataUrl": ARTIFACTS["S3ModelArtifacts"],
        },
        "ExecutionRoleArn": ENVIRONMENT["SAGEMAKER_ROLE_ARN"],
        "EnableNetworkIsolation": True,
    }


def test_metrics_are_read_as_they_are_reported() -> None:
    assert final_metrics({"FinalMetricDataList": accuracy(0.93000001)}) == {
        "train:accuracy": 0.99,
        "validation:accuracy": 0.93,
    }
    assert final_metrics({}) == {}


def test_the_handler_tells_the_decision(
    stack: App, load_event: Callable[[str], dict[str, Any]]
) -> None:
    train(stack)
    event = load_event("training-completed")
    assert event["detail"]["TrainingJobName"] == JOB
    answer = step.handler(event, Context())
    assert answer["decision"] == "promoted"
    job_becomes(JOB, training_job_status="InProgress")
    assert step.handler(event, Context()) is None
