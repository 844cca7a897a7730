"""A small stack, deployed and running, and what tests ask of it."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest

from local.clock import ManualClock
from local.cloud import Cloud

DATA = Path(__file__).parent / "data"
SMALL_TEMPLATE = DATA / "template.yaml"
# Summer time in Berlin, a minute before the full hour.
START = datetime(2026, 7, 10, 11, 59, tzinfo=UTC)
PATIENCE_S = 60.0

Found = TypeVar("Found")


class SmallCloud:
    """The running stack of data/template.yaml, its clock in the test's hands."""

    def __init__(self, cloud: Cloud, clock: ManualClock) -> None:
        self.cloud = cloud
        self.clock = clock
        self.outputs = cloud.outputs

    def client(self, service: str) -> Any:
        return self.cloud.client(service)

    def function(self, logical_id: str) -> str:
        """The physical name of a function."""
        stack = self.client("cloudformation").describe_stack_resource(
            StackName="tomodrop", LogicalResourceId=logical_id
        )
        return str(stack["StackResourceDetail"]["PhysicalResourceId"])

    def invoke(self, logical_id: str, event: Any) -> tuple[str | None, Any]:
        """(function error, payload) of a synchronous invocation over HTTP."""
        answer = self.client("lambda").invoke(
            FunctionName=self.function(logical_id), Payload=json.dumps(event).encode()
        )
        return answer.get("FunctionError"), json.loads(answer["Payload"].read())

    def send(self, wish: dict[str, Any], **settings: Any) -> str:
        """Send a message to the function that reads; returns the message's id."""
        sent = self.client("sqs").send_message(
            QueueUrl=self.outputs["WorkUrl"], MessageBody=json.dumps(wish), **settings
        )
        return str(sent["MessageId"])

    def traces(self, kind: str) -> list[Any]:
        """What the handlers left of a kind, oldest first."""
        bucket = self.outputs["Results"]
        pages = self.client("s3").get_paginator("list_objects_v2")
        keys = [
            entry["Key"]
            for page in pages.paginate(Bucket=bucket, Prefix=f"{kind}/")
            for entry in page.get("Contents", [])
        ]
        return [
            json.loads(self.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
            for key in sorted(keys)
        ]

    def receptions(self, message_id: str) -> list[dict[str, Any]]:
        """Each time a function got this message, as the record it saw."""
        return [
            record
            for batch in self.traces("batches")
            for record in batch["records"]
            if record["messageId"] == message_id
        ]

    def letters(self, queue_output: str) -> list[dict[str, Any]]:
        """The messages of a queue that nothing reads; they are deleted."""
        url, found = self.outputs[queue_output], []
        while (
            messages := self.client("sqs")
            .receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"])
            .get("Messages", [])
        ):
            found += messages
            for message in messages:
                self.client("sqs").delete_message(
                    QueueUrl=url, ReceiptHandle=message["ReceiptHandle"]
                )
        return found


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallCloud]:
    clock = ManualClock(START)
    with Cloud(
        template=SMALL_TEMPLATE,
        parameters={},
        state_dir=tmp_path_factory.mktemp("small"),
        clock=clock,
    ) as cloud:
        yield SmallCloud(cloud, clock)


@pytest.fixture(scope="session")
def eventually() -> Callable[[Callable[[], Found]], Found]:
    """Call something until its answer is true, and return that; fail after PATIENCE_S."""

    def wait(look: Callable[[], Found]) -> Found:
        deadline = time.monotonic() + PATIENCE_S
        while not (found := look()):
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.05)
        return found

    return wait
