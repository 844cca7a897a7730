"""AWS calls as IAM sees them: what one machine records of each function."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from local.calls import Call, Place, Recorder, appender, calls_of

PLACE = Place("eu-west-1", "123456789012")
OURS = "eu-west-1:123456789012"
ROLE = "arn:aws:iam::123456789012:role/r"
PASSED = {"iam:PassedToService": "sagemaker.amazonaws.com"}


def asked(service: str, operation: str, **params: Any) -> list[Call]:
    return list(calls_of(service, operation, params, PLACE))


@pytest.mark.parametrize(
    ("operation", "params", "action"),
    [
        ("GetObject", {}, "GetObject"),
        ("GetObject", {"VersionId": "v"}, "GetObjectVersion"),
        ("GetObject", {"VersionId": ""}, "GetObject"),
        ("HeadObject", {}, "GetObject"),
        ("PutObject", {"Body": b"secret", "IfNoneMatch": "*"}, "PutObject"),
        ("DeleteObject", {}, "DeleteObject"),
        ("DeleteObject", {"VersionId": "v"}, "DeleteObjectVersion"),
        ("CreateMultipartUpload", {}, "PutObject"),
        ("UploadPart", {"Body": b"secret"}, "PutObject"),
        ("AbortMultipartUpload", {}, "AbortMultipartUpload"),
    ],
)
def test_an_object_is_asked_for(operation: str, params: dict[str, Any], action: str) -> None:
    [call] = asked("s3", operation, Bucket="bbb", Key="a b/ü.png", **params)
    assert call == Call(f"s3:{action}", "arn:aws:s3:::bbb/a b/ü.png")


def test_what_replaces_a_certain_object_reads_it_too() -> None:
    found = asked("s3", "PutObject", Bucket="bbb", Key="k", IfMatch="e")
    assert [call.action for call in found] == ["s3:PutObject", "s3:GetObject"]


def test_a_listing_has_its_prefix() -> None:
    arn = "arn:aws:s3:::bbb"
    assert asked("s3", "ListObjectsV2", Bucket="bbb", Prefix="batches/") == [
        Call("s3:ListBucket", arn, {"s3:prefix": "batches/"})
    ]
    assert asked("s3", "ListObjectsV2", Bucket="bbb") == [
        Call("s3:ListBucket", arn, {"s3:prefix": ""})
    ]


@pytest.mark.parametrize(
    ("service", "operation", "params", "action", "resource"),
    [
        ("dynamodb", "UpdateItem", {"TableName": "t"}, "dynamodb:UpdateItem", "table/t"),
        (
            "dynamodb",
            "Query",
            {"TableName": "t", "IndexName": "i"},
            "dynamodb:Query",
            "table/t/index/i",
        ),
        ("sqs", "SendMessage", {"QueueUrl": "https://x/1/q"}, "sqs:SendMessage", "q"),
        ("sqs", "SendMessageBatch", {"QueueUrl": "https://x/1/q"}, "sqs:SendMessage", "q"),
        ("ssm", "GetParameter", {"Name": "/s/live"}, "ssm:GetParameter", "parameter/s/live"),
        (
            "sagemaker",
            "StopTransformJob",
            {"TransformJobName": "Job-1"},
            "sagemaker:StopTransformJob",
            "transform-job/job-1",
        ),
    ],
)
def test_a_resource_of_the_account_has_its_arn(
    service: str, operation: str, params: dict[str, Any], action: str, resource: str
) -> None:
    [call] = asked(service, operation, **params)
    assert call == Call(action, f"arn:aws:{service}:{OURS}:{resource}")


def test_a_transform_job_is_a_job_and_no_model() -> None:
    [call] = asked("sagemaker", "CreateTransformJob", TransformJobName="J", ModelName="M")
    assert call.resource == f"arn:aws:sagemaker:{OURS}:transform-job/j"


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        ("CreateTrainingJob", {"TrainingJobName": "t", "RoleArn": ROLE}),
        ("CreateModel", {"ModelName": "m", "ExecutionRoleArn": ROLE}),
    ],
)
def test_who_gives_a_role_passes_it(operation: str, params: dict[str, Any]) -> None:
    assert asked("sagemaker", operation, **params)[1:] == [Call("iam:PassRole", ROLE, PASSED)]


def test_lists_have_no_resource_and_topics_and_metrics_their_own() -> None:
    assert asked("sagemaker", "ListTrainingJobs")[0].resource == "*"
    [published] = asked("sns", "Publish", TopicArn="arn:aws:sns:r:1:t", Message="secret")
    assert published == Call("sns:Publish", "arn:aws:sns:r:1:t")
    [metric] = asked("cloudwatch", "PutMetricData", Namespace="N", MetricData=[])
    assert metric == Call("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "N"})


@pytest.mark.parametrize(
    ("service", "operation", "params"),
    [
        ("s3", "PutBucketPolicy", {"Bucket": "bbb"}),
        ("dynamodb", "ListTables", {}),
        ("sagemaker", "CreateEndpoint", {"EndpointName": "e"}),
        ("kms", "Decrypt", {"KeyId": "k"}),
    ],
)
def test_what_is_not_known_matches_no_statement(
    service: str, operation: str, params: dict[str, Any]
) -> None:
    assert asked(service, operation, **params) == [Call(f"{service}:{operation}", "?")]


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    file = tmp_path / "calls.jsonl"
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        recorder = Recorder(appender(file), "123456789012")
        for event, hook in recorder.hooks:
            client.meta.events.register(event, hook)
        client.create_bucket(Bucket="bbb")
        client.put_object(Bucket="bbb", Key="k", Body=b"a patient's name")
        for operation in (client.get_object, client.head_object):
            with pytest.raises(ClientError):
                operation(Bucket="bbb", Key="absent")
    return lambda: [json.loads(line) for line in file.read_text().splitlines()]


def test_a_look_for_what_is_absent_needs_the_right_to_list(
    recorded: Callable[[], list[dict[str, Any]]],
) -> None:
    looks = [call for call in recorded() if call["action"] != "s3:CreateBucket"]
    absent = {"action": "s3:GetObject", "resource": "arn:aws:s3:::bbb/absent", "context": {}}
    told = {"action": "s3:ListBucket", "resource": "arn:aws:s3:::bbb", "context": {}}
    assert looks[1:] == [absent, told] * 2


def test_no_content_is_recorded(recorded: Callable[[], list[dict[str, Any]]]) -> None:
    assert "patient" not in json.dumps(recorded())
