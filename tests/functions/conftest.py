"""A stack's worth of resources in moto, and the real handlers' surroundings."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

# Powertools reads these when a step module is imported, as it is in a function's own process.
os.environ |= {
    "POWERTOOLS_SERVICE_NAME": "tomodrop",
    "POWERTOOLS_METRICS_NAMESPACE": "Tomodrop",
}

# The sandbox's processes look where we look: there they find `hostile`.
sys.path.append(str(Path(__file__).parent))

from hypothesis import settings as hypothesis_settings

from tests.functions.builders import ENVIRONMENT, EVENTS
from tomodrop import clients, decoding
from tomodrop.clients import App
from tomodrop.settings import Settings

# The same examples on every machine; none is late because the machine is busy.
hypothesis_settings.register_profile(
    "repeatable", max_examples=60, deadline=None, derandomize=True, database=None
)
hypothesis_settings.load_profile("repeatable")


@dataclass(frozen=True)
class Context:
    """What Lambda gives a handler."""

    function_name: str = "tomodrop"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:tomodrop"
    aws_request_id: str = "5b3f4f2e-0000-4000-8000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        return 900_000


@pytest.fixture
def settings() -> Settings:
    return Settings.from_environment(ENVIRONMENT)


@pytest.fixture(scope="session")
def connected() -> Iterator[App]:
    """The App that the handlers use as well, made once: making clients takes half a second.

    It holds no state of a stack, and the environment is the same in every test.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        yield clients.app()
        decoding.sandbox().close()
    clients.app.cache_clear()
    decoding.sandbox.cache_clear()


@pytest.fixture
def stack(connected: App) -> Iterator[App]:
    """Buckets, queue, table and parameter as `template.yaml` makes them."""
    with mock_aws():
        create_resources(connected)
        yield connected


@pytest.fixture
def change(stack: App) -> Callable[..., App]:
    """The same stack with other settings: `change(max_attempts=1)`. Not for the handlers."""

    def changed(**values: Any) -> App:
        return replace(stack, settings=stack.settings.model_copy(update=values))

    return changed


def create_resources(app: App) -> None:
    """The stack's resources, as far as the functions use them."""
    for name in ("UPLOADS_BUCKET", "WORK_BUCKET", "PREDICTIONS_BUCKET"):
        app.s3.create_bucket(Bucket=ENVIRONMENT[name])
        app.s3.put_bucket_versioning(
            Bucket=ENVIRONMENT[name], VersioningConfiguration={"Status": "Enabled"}
        )
    app.ssm.put_parameter(Name=ENVIRONMENT["LIVE_MODEL_PARAMETER"], Value="none", Type="String")
    app.table.meta.client.create_table(
        TableName=ENVIRONMENT["BATCH_TABLE"],
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[
            {"AttributeName": "batch_id", "KeyType": "HASH"},
            {"AttributeName": "part", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": "S"}
            for name in ("batch_id", "part", "pending")
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
    topic = app.sns.create_topic(Name="tomodrop-notices")["TopicArn"]
    assert topic == ENVIRONMENT["NOTICES_TOPIC_ARN"]
    url = app.sqs.create_queue(QueueName="tomodrop-intake")["QueueUrl"]
    assert url == ENVIRONMENT["INTAKE_QUEUE_URL"]


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
