"""The deployed local stack, driven over HTTP as a user's scripts would drive AWS."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from local.cloud import Cloud
from training.datasets.phantoms import encode, phantoms

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

TEMPLATE = Path(__file__).parents[2] / "template.yaml"
# A small network on small slices: what is tested here is the way, not the accuracy.
PARAMETERS = {
    "ClassNames": "non_covid,covid",
    "NumLayers": "18",
    "ImageShape": "3,48,48",
    "UsePretrainedModel": "0",
    "Epochs": "1",
    "MiniBatchSize": "8",
    "MinimumValidationAccuracy": "0",
    "WindowMinutes": "0.1",
    "IntakeTimeoutSeconds": "5",
    "IntakeBatchingWindowSeconds": "1",
    "OverdueMinutes": "1",
    "MaxAttempts": "2",
}
SCHEDULE_SPEED = 30
PATIENCE_S = 240


@dataclass(frozen=True)
class Stack:
    """The running stack's addresses, and boto3 clients that know nothing else of it."""

    endpoint_url: str
    sagemaker_url: str
    outputs: dict[str, str]
    state: Path

    def client(self, service: str) -> Any:
        connect: Any = boto3.client  # its overloads want a literal
        return connect(
            service,
            endpoint_url=self.sagemaker_url if service == "sagemaker" else self.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id="operator",
            aws_secret_access_key="operator",
        )

    @property
    def uploads(self) -> str:
        return self.outputs["UploadsBucket"]

    @property
    def work(self) -> str:
        return self.outputs["WorkBucket"]

    @property
    def predictions(self) -> str:
        return self.outputs["PredictionsBucket"]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for the module, with a model that its scheduled retraining trained.

    There is one cloud per process, so it ends with the module.
    """
    state = tmp_path_factory.mktemp("state")
    cloud = Cloud(
        template=TEMPLATE,
        parameters=PARAMETERS | {"RetrainSchedule": "rate(1 minute)"},
        state_dir=state,
        schedule_speed=SCHEDULE_SPEED,
    )
    with cloud:
        running = Stack(cloud.endpoint_url, cloud.sagemaker_url, cloud.outputs, state)
        put_labelled(running)
        wait_for("a live model", lambda: live_model(running))
        yield running


def put_labelled(stack: Stack) -> None:
    s3 = stack.client("s3")
    for label in ("non_covid", "covid"):
        for phantom in phantoms(label, patients=3, slices=4, seed=1, size=64):
            key = f"labelled/{label}/{phantom.patient}/{phantom.number}.png"
            s3.put_object(Bucket=stack.uploads, Key=key, Body=encode(phantom))


def live_model(stack: Stack) -> dict[str, Any] | None:
    name = stack.outputs["LiveModelParameter"]
    value = stack.client("ssm").get_parameter(Name=name)["Parameter"]["Value"]
    return None if value == "none" else json.loads(value)


def picture(seed: int) -> bytes:
    return encode(next(phantoms("covid", patients=1, slices=1, seed=seed, size=64)))


def results(stack: Stack) -> dict[str, dict[str, Any]]:
    """Every result JSON by its key."""
    s3 = stack.client("s3")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=stack.predictions)
    names = [item["Key"] for page in pages for item in page.get("Contents", [])]
    return {
        name: json.loads(s3.get_object(Bucket=stack.predictions, Key=name)["Body"].read())
        for name in names
        if name.startswith(("predictions/", "rejected/"))
    }


def wait_for(what: str, found: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """Ask until there is an answer; fail with what was waited for."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        answer = found()
        if answer:
            return answer
        time.sleep(0.5)
    pytest.fail(f"waited {patience_s} s in vain for {what}")


def keys_under(s3: "S3Client", bucket: str, prefix: str) -> list[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [item["Key"] for page in pages for item in page.get("Contents", [])]
