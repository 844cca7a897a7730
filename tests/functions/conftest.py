"""A stack's worth of resources in moto, and the real handlers' surroundings."""

import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from PIL import Image

# Powertools reads these when a step module is imported, as it is in a function's own process.
os.environ |= {
    "POWERTOOLS_SERVICE_NAME": "tomodrop",
    "POWERTOOLS_METRICS_NAMESPACE": "Tomodrop",
}

from tomodrop import clients
from tomodrop.clients import App, connect
from tomodrop.settings import Settings

EVENTS = Path(__file__).parents[2] / "events"
ENVIRONMENT = {
    "UPLOADS_BUCKET": "tomodrop-uploads-123456789012",
    "WORK_BUCKET": "tomodrop-work-123456789012",
    "PREDICTIONS_BUCKET": "tomodrop-predictions-123456789012",
    "BATCH_TABLE": "tomodrop-batches",
    "INTAKE_QUEUE_URL": "",
    "LIVE_MODEL_PARAMETER": "/tomodrop/live-model",
    "JOB_NAME_PREFIX": "tomodrop",
    "WINDOW_MINUTES": "5",
    "INTAKE_TIMEOUT_SECONDS": "60",
    "MAX_SLICES_PER_JOB": "100",
    "MAX_ATTEMPTS": "2",
    "OVERDUE_MINUTES": "60",
    "MAX_JOB_MINUTES": "240",
    "MAX_UPLOAD_MB": "100",
    "CLASS_NAMES": "non_covid,covid",
    "IMAGE_SHAPE": "3,64,64",
    "ALGORITHM_IMAGE": "811284229777.dkr.ecr.us-east-1.amazonaws.com/image-classification:1",
    "SAGEMAKER_ROLE_ARN": "arn:aws:iam::123456789012:role/tomodrop-sagemaker",
    "TRAINING_INSTANCE_TYPE": "ml.g4dn.xlarge",
    "TRAINING_INSTANCE_COUNT": "1",
    "TRAINING_VOLUME_GB": "50",
    "TRAINING_MAX_HOURS": "24",
    "USE_SPOT": "false",
    "TRANSFORM_INSTANCE_TYPE": "ml.g4dn.xlarge",
    "TRANSFORM_INSTANCE_COUNT": "1",
    "MAX_CONCURRENT_TRANSFORMS": "4",
    "HYPERPARAMETERS": 'num_layers=152,epochs=50,lr_scheduler_step="10,20",augmentation_type=',
    "EXTRA_HYPERPARAMETERS": "",
    "VALIDATION_SHARE": "0.2",
    "MINIMUM_VALIDATION_ACCURACY": "0.8",
}


@dataclass(frozen=True)
class Context:
    """What Lambda gives a handler."""

    function_name: str = "tomodrop"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:tomodrop"
    aws_request_id: str = "5b3f4f2e-0000-4000-8000-000000000000"


@pytest.fixture
def settings() -> Settings:
    return Settings.from_environment(ENVIRONMENT | {"INTAKE_QUEUE_URL": "https://queue"})


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    """Buckets, queue, table and parameter as `template.yaml` makes them, and the environment."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        queue_url = _create_resources()
        for name, value in (ENVIRONMENT | {"INTAKE_QUEUE_URL": queue_url}).items():
            monkeypatch.setenv(name, value)
        clients.app.cache_clear()
        yield connect(Settings.from_environment(ENVIRONMENT | {"INTAKE_QUEUE_URL": queue_url}))
        clients.app.cache_clear()


def _create_resources() -> str:
    s3 = boto3.client("s3")
    for name in ("UPLOADS_BUCKET", "WORK_BUCKET", "PREDICTIONS_BUCKET"):
        s3.create_bucket(Bucket=ENVIRONMENT[name])
        s3.put_bucket_versioning(
            Bucket=ENVIRONMENT[name], VersioningConfiguration={"Status": "Enabled"}
        )
    boto3.client("ssm").put_parameter(
        Name=ENVIRONMENT["LIVE_MODEL_PARAMETER"], Value="none", Type="String"
    )
    boto3.client("dynamodb").create_table(
        TableName=ENVIRONMENT["BATCH_TABLE"],
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[
            {"AttributeName": "batch_id", "KeyType": "HASH"},
            {"AttributeName": "part", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": "S"} for name in ("batch_id", "part", "pending")
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "pending",
                "KeySchema": [
                    {"AttributeName": "pending", "KeyType": "HASH"},
                    {"AttributeName": "batch_id", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )
    return str(boto3.client("sqs").create_queue(QueueName="tomodrop-intake")["QueueUrl"])


@pytest.fixture
def context() -> Context:
    return Context()


@pytest.fixture
def load_event() -> Callable[[str], dict[str, Any]]:
    """Read one of the sample events that users invoke the functions with."""

    def load(name: str) -> dict[str, Any]:
        event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
        return event

    return load


def png(size: tuple[int, int] = (96, 80), grey: int = 120, mode: str = "L") -> bytes:
    """A picture with a gradient, so that neighbouring pixels differ."""
    image = Image.linear_gradient("L").resize(size).point(lambda value: (value + grey) % 256)
    encoded = io.BytesIO()
    image.convert(mode).save(encoded, "PNG")
    return encoded.getvalue()


def s3_record(
    key: str, version_id: str | None, sequencer: str | None, bucket: str | None = None
) -> dict[str, Any]:
    """One S3 notification record, in the shape of events/s3-put.json."""
    from urllib.parse import quote_plus

    described = {"key": quote_plus(key, safe="/"), "size": 1, "eTag": "e"}
    described |= {"versionId": version_id} if version_id else {}
    described |= {"sequencer": sequencer} if sequencer else {}
    return {
        "eventVersion": "2.5",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": bucket or ENVIRONMENT["UPLOADS_BUCKET"]}, "object": described},
    }


def sqs_event(*bodies: str) -> dict[str, Any]:
    """What Lambda hands over for these messages."""
    return {
        "Records": [
            {
                "messageId": f"message-{number}",
                "receiptHandle": f"handle-{number}",
                "body": body,
                "attributes": {"ApproximateReceiveCount": "1"},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:tomodrop-intake",
                "awsRegion": "us-east-1",
            }
            for number, body in enumerate(bodies)
        ]
    }
