"""What a request must obey beyond the shapes of its members."""

from collections.abc import Callable
from typing import Any

import pytest

from local.sagemaker.errors import ValidationError
from local.sagemaker.rules import model_faults, refuse, training_faults, transform_faults
from tests.local.sagemaker.support import (
    ROLE,
    Bucket,
    augmented_channel,
    training_request,
    transform_request,
)

Change = Callable[[dict[str, Any]], object]
DATA = "s3://bucket/model.tar.gz"


def model_request() -> dict[str, Any]:
    return {
        "ModelName": "m",
        "PrimaryContainer": {"Image": "i", "ModelDataUrl": DATA},
        "ExecutionRoleArn": ROLE,
    }


def test_whole_requests_break_no_rule(bucket: Bucket) -> None:
    channel = augmented_channel(bucket.uri("m"), ShuffleConfig={"Seed": 1})
    spot = {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60}
    training = training_request(
        bucket,
        InputDataConfig=[channel],
        EnableManagedSpotTraining=True,
        StoppingCondition=spot,
        CheckpointConfig={"S3Uri": bucket.uri("c")},
    )

    assert list(training_faults(training)) == []
    assert list(transform_faults(transform_request(bucket))) == []
    assert list(model_faults(model_request())) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda r: r.update(Containers=[{}]), "Exactly one of PrimaryContainer and Containers"),
        (
            lambda r: r.pop("PrimaryContainer"),
            "Exactly one of PrimaryContainer and",
        ),
        (lambda r: r.pop("ExecutionRoleArn"), "ExecutionRoleArn must be given."),
        (lambda r: r["PrimaryContainer"].pop("Image"), "A container without Image"),
        (lambda r: r["PrimaryContainer"].pop("ModelDataUrl"), "must be an s3:// address"),
        (
            lambda r: r["PrimaryContainer"].update(ModelDataUrl="s3://b/model.zip"),
            "s3://b/model.zip must name a .tar.gz file",
        ),
        (
            lambda r: r["PrimaryContainer"].update(ModelDataSource={}),
            "takes no model with ModelDataSource",
        ),
        (
            lambda r: r.update(Containers=[r.pop("PrimaryContainer")] * 2),
            "An inference pipeline of 2 containers",
        ),
    ],
)
def test_model_rules(change: Change, fault: str) -> None:
    request = model_request()
    change(request)

    assert fault in " ".join(model_faults(request))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda r: r.update(MaxPayloadInMB=101), "MaxPayloadInMB 101 must not exceed 100"),
        (lambda r: r.update(MaxConcurrentTransforms=17), "must not exceed 100: 17 * 6 = 102"),
        (
            lambda r: source(r).update(S3DataType="AugmentedManifestFile"),
            "AugmentedManifestFile is not compatible with transform jobs",
        ),
        (lambda r: source(r).update(S3Uri="https://x/y"), "https://x/y must start with s3://"),
        (
            lambda r: r["TransformOutput"].update(S3OutputPath="https://x/y"),
            "S3OutputPath https://x/y must start with s3://",
        ),
        (lambda r: r["TransformInput"].update(SplitType="Line"), "SplitType Line is not offered"),
        (lambda r: r["TransformInput"].update(CompressionType="Gzip"), "CompressionType Gzip"),
        (lambda r: r.update(DataCaptureConfig={}), "DataCaptureConfig is not offered"),
        (lambda r: r.update(DataProcessing={"JoinSource": "Input"}), "JoinSource is not offered"),
        (lambda r: r.update(DataProcessing={"InputFilter": "$.x"}), "InputFilter is not offered"),
    ],
)
def test_transform_rules(bucket: Bucket, change: Change, fault: str) -> None:
    request = transform_request(bucket)
    change(request)

    assert fault in " ".join(transform_faults(request))


def source(request: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = request["TransformInput"]["DataSource"]["S3DataSource"]
    return found


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda r: r.pop("AlgorithmSpecification"), "TrainingImage must be given"),
        (lambda r: algorithm(r).update(AlgorithmName="a"), "AlgorithmName is not offered"),
        (lambda r: metric(r, "("), "Regex of metric m is not valid"),
        (lambda r: metric(r, "a=1"), "Regex of metric m has no group"),
        (lambda r: r.pop("ResourceConfig"), "ResourceConfig must be given"),
        (lambda r: r["ResourceConfig"].pop("InstanceType"), "InstanceType must be given"),
        (lambda r: r["ResourceConfig"].update(InstanceCount=0), "InstanceCount must be at least 1"),
        (lambda r: r["ResourceConfig"].pop("VolumeSizeInGB"), "VolumeSizeInGB must be at least 1"),
        (
            lambda r: r["ResourceConfig"].update(InstanceGroups=[]),
            "ResourceConfig.InstanceGroups is not offered",
        ),
        (lambda r: r.pop("StoppingCondition"), "StoppingCondition must be given"),
        (
            lambda r: r["StoppingCondition"].update(MaxWaitTimeInSeconds=1),
            "MaxWaitTimeInSeconds goes with EnableManagedSpotTraining only",
        ),
        (lambda r: r.update(EnableManagedSpotTraining=True), "needs MaxWaitTimeInSeconds"),
        (
            lambda r: (
                r.update(EnableManagedSpotTraining=True),
                r["StoppingCondition"].update(MaxWaitTimeInSeconds=1),
            ),
            "MaxWaitTimeInSeconds 1 must not be below MaxRuntimeInSeconds 600",
        ),
        (
            lambda r: r["OutputDataConfig"].update(CompressionType="NONE"),
            "CompressionType NONE is not offered",
        ),
        (
            lambda r: r.update(CheckpointConfig={"S3Uri": "https://x/y"}),
            "CheckpointConfig S3Uri https://x/y must start with s3://",
        ),
        (
            lambda r: r.update(InputDataConfig=[augmented_channel("s3://b/m")] * 2),
            "Channel name train is given 2 times",
        ),
        (lambda r: channel(r, InputMode="File"), "needs input mode Pipe, not File"),
        (lambda r: channel(r, CompressionType="Gzip"), "CompressionType Gzip is not offered"),
        (
            lambda r: channel(r, DataSource={"FileSystemDataSource": {}}),
            "a DataSource other than S3DataSource is not offered",
        ),
        (
            lambda r: channel(r, DataSource=s3_source(AttributeNames=[])),
            "AugmentedManifestFile needs AttributeNames",
        ),
        (
            lambda r: channel(r, DataSource=s3_source(S3DataType="S3Prefix")),
            "AttributeNames go with AugmentedManifestFile only",
        ),
    ],
)
def test_training_rules(bucket: Bucket, change: Change, fault: str) -> None:
    request = training_request(bucket)
    change(request)

    assert fault in " ".join(training_faults(request))


def algorithm(request: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = request["AlgorithmSpecification"]
    return found


def metric(request: dict[str, Any], regex: str) -> None:
    algorithm(request)["MetricDefinitions"] = [{"Name": "m", "Regex": regex}]


def channel(request: dict[str, Any], **changes: Any) -> None:
    request["InputDataConfig"] = [augmented_channel("s3://b/m", **changes)]


def s3_source(**changes: Any) -> dict[str, Any]:
    given = augmented_channel("s3://b/m")["DataSource"]["S3DataSource"]
    return {"S3DataSource": {**given, **changes}}


def test_all_faults_are_named_at_once(bucket: Bucket) -> None:
    request = training_request(bucket)
    del request["ResourceConfig"]
    del request["StoppingCondition"]

    with pytest.raises(ValidationError, match=r"ResourceConfig.*StoppingCondition"):
        refuse(training_faults(request))
