"""SageMaker's models: one for each training job, of the same name."""

from typing import Any

from botocore.exceptions import ClientError

from tomodrop.clients import App
from tomodrop.protection import network
from tomodrop.settings import Settings


def model_request(settings: Settings, described: dict[str, Any]) -> dict[str, Any]:
    """The CreateModel request, from DescribeTrainingJob's answer. A model is named after its job.

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


def create_model(app: App, described: dict[str, Any]) -> None:
    """Make the model of a training job, as DescribeTrainingJob tells of it, if it is not there."""
    request = model_request(app.settings, described)
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


def ensure_model(app: App, model_name: str, training_job: str) -> None:
    """Make the model of an earlier training again, if somebody deleted it."""
    try:
        app.sagemaker.describe_model(ModelName=model_name)
    except ClientError:
        described = app.sagemaker.describe_training_job(TrainingJobName=training_job)
        create_model(app, dict(described))
