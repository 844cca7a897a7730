"""The API as boto3 and others find it: models, names, refusals, lists, tags."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.sagemaker.support import (
    ROLE,
    SERVER,
    Bucket,
    Platform,
    put_inputs,
    training_request,
    transform_request,
)


def refusal(call: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response["Error"]
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    return error["Code"], error["Message"]


def test_a_model_is_described_as_it_was_created(platform: Platform, bucket: Bucket) -> None:
    platform.model(bucket, "m-1", KEY="value")

    found = platform.client.describe_model(ModelName="m-1")

    assert found["ModelArn"] == "arn:aws:sagemaker:us-east-1:123456789012:model/m-1"
    assert found["PrimaryContainer"] == {
        "Image": SERVER,
        "ModelDataUrl": bucket.uri("models/m/model.tar.gz"),
        "Environment": {"KEY": "value"},
    }
    assert (found["ExecutionRoleArn"], found["EnableNetworkIsolation"]) == (ROLE, True)


def test_models_of_one_name_follow_each_other(platform: Platform, bucket: Bucket) -> None:
    platform.model(bucket)
    arn = "arn:aws:sagemaker:us-east-1:123456789012:model/model"

    assert refusal(lambda: platform.model(bucket)) == (
        "ValidationException",
        f'Cannot create already existing model "{arn}".',
    )
    platform.client.delete_model(ModelName="model")
    assert refusal(lambda: platform.client.describe_model(ModelName="model")) == (
        "ValidationException",
        f'Could not find model "{arn}".',
    )
    platform.model(bucket)


def test_a_model_needs_its_data(platform: Platform, bucket: Bucket) -> None:
    url = bucket.uri("absent/model.tar.gz")
    request = {
        "ModelName": "m",
        "PrimaryContainer": {"Image": SERVER, "ModelDataUrl": url},
        "ExecutionRoleArn": ROLE,
    }

    assert refusal(lambda: platform.client.create_model(**request)) == (
        "ValidationException",
        f"Could not find model data at {url}.",
    )


def test_what_does_not_exist_is_not_found(platform: Platform, bucket: Bucket) -> None:
    client = platform.client
    expected = {
        "Could not find requested job with name: x": lambda: client.describe_transform_job(
            TransformJobName="x"
        ),
        "Could not find job to update with name: x": lambda: client.stop_transform_job(
            TransformJobName="x"
        ),
        "Requested resource not found.": lambda: client.describe_training_job(TrainingJobName="x"),
        'Could not find model "arn:aws:sagemaker:us-east-1:123456789012:model/model".': lambda: (
            platform.transform(bucket)
        ),
    }

    for message, call in expected.items():
        assert refusal(call) == ("ValidationException", message)
    assert (
        refusal(lambda: client.stop_training_job(TrainingJobName="x"))[0] == "ValidationException"
    )
    assert refusal(lambda: client.delete_model(ModelName="x"))[0] == "ValidationException"


def test_a_job_name_is_used_once_for_all_time(platform: Platform, bucket: Bucket) -> None:
    put_inputs(bucket, a="one")
    platform.model(bucket)
    platform.transform(bucket)
    platform.train(bucket)
    for _ in ("while it runs", "after it ended"):
        assert refusal(lambda: platform.transform(bucket)) == (
            "ResourceInUse",
            (
                "Job name must be unique within an AWS account and region, and a job with this "
                "name already exists (arn:aws:sagemaker:us-east-1:123456789012:transform-job/job)"
            ),
        )
        assert refusal(lambda: platform.train(bucket))[0] == "ResourceInUse"
        platform.transformed()
        platform.trained()


def test_an_ended_job_cannot_be_stopped(platform: Platform, bucket: Bucket) -> None:
    put_inputs(bucket, a="one")
    platform.model(bucket)
    platform.transform(bucket)
    platform.train(bucket, hyperparameters={"exit": "1"})
    platform.transformed()
    platform.trained()

    stop_transform = lambda: platform.client.stop_transform_job(TransformJobName="job")  # noqa: E731
    stop_training = lambda: platform.client.stop_training_job(TrainingJobName="job")  # noqa: E731
    assert refusal(stop_transform) == (
        "ValidationException",
        "The request was rejected because the transform job is in status Completed.",
    )
    assert refusal(stop_training) == (
        "ValidationException",
        "The request was rejected because the training job is in status Failed.",
    )


def test_a_refused_job_does_not_use_up_its_name(platform: Platform, bucket: Bucket) -> None:
    wrong = training_request(bucket, EnableManagedSpotTraining=True)
    assert refusal(lambda: platform.client.create_training_job(**wrong))[0] == "ValidationException"

    platform.train(bucket)

    assert platform.trained()["TrainingJobStatus"] == "Completed"


@pytest.mark.parametrize(
    ("operation", "body", "code", "message"),
    [
        ("CreateEndpoint", b"{}", "UnknownOperationException", "CreateEndpoint is not offered"),
        ("", b"{}", "UnknownOperationException", "No operation is not offered"),
        ("ListModels", b"{", "ValidationException", "The request is not JSON"),
        ("ListModels", b"[]", "ValidationException", "must be a JSON object"),
        ("ListModels", b" " * 4_194_305, "ValidationException", "larger than 4194304 bytes"),
        ("ListModels", b"\xff", "ValidationException", "The request is not JSON"),
        ("ListModels", b'{"MaxResults": 101}', "ValidationException", "less than or equal to 100"),
        ("CreateModel", b'{"ModelName": null}', "ValidationException", "Value null at 'modelName'"),
        ("DescribeModel", b'{"ModelName": "../../x"}', "ValidationException", "expression pattern"),
    ],
)
def test_requests_that_no_client_would_send(
    platform: Platform, operation: str, body: bytes, code: str, message: str
) -> None:
    status, answer = platform.call(operation, body)

    assert (status, answer["__type"]) == (400, code)
    assert message in answer["message"]


def test_times_are_numbers_on_the_wire(platform: Platform, bucket: Bucket) -> None:
    platform.model(bucket)

    _, answer = platform.call("DescribeModel", json.dumps({"ModelName": "model"}).encode())

    assert isinstance(answer["CreationTime"], float)


def test_lists_page_through_everything(platform: Platform, bucket: Bucket) -> None:
    for number in range(5):
        platform.model(bucket, f"m-{number}")
    pages = platform.client.get_paginator("list_models").paginate(
        PaginationConfig={"PageSize": 2}, SortBy="Name", SortOrder="Ascending"
    )

    found = [[model["ModelName"] for model in page["Models"]] for page in pages]

    assert found == [["m-0", "m-1"], ["m-2", "m-3"], ["m-4"]]


def test_jobs_are_listed_by_status_and_time(platform: Platform, bucket: Bucket) -> None:
    platform.train(bucket, "good")
    platform.train(bucket, "poor", hyperparameters={"exit": "1"})
    good = platform.trained("good")
    platform.trained("poor")

    def listed(**filters: Any) -> list[str]:
        answer = platform.client.list_training_jobs(**filters)
        return [job["TrainingJobName"] for job in answer["TrainingJobSummaries"]]

    assert listed() == ["good", "poor"]
    assert listed(StatusEquals="Failed") == ["poor"]
    assert listed(NameContains="oo", SortOrder="Descending") == ["poor", "good"]
    assert listed(CreationTimeAfter=good["CreationTime"]) == ["poor"]
    assert listed(StatusEquals="InProgress") == []


def test_tags_are_added_listed_and_removed(platform: Platform, bucket: Bucket) -> None:
    client = platform.client
    platform.model(bucket)
    arn = client.describe_model(ModelName="model")["ModelArn"]

    client.add_tags(ResourceArn=arn, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    client.add_tags(ResourceArn=arn, Tags=[{"Key": "b", "Value": "3"}])
    client.delete_tags(ResourceArn=arn, TagKeys=["a"])

    assert client.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "b", "Value": "3"}]
    unknown = "arn:aws:sagemaker:us-east-1:123456789012:model/other"
    assert refusal(lambda: client.list_tags(ResourceArn=unknown))[0] == "ResourceNotFound"


def test_no_setting_of_the_user_leads_elsewhere(
    start_platform: Callable[..., Platform], bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    url = bucket.uri("models/m/model.tar.gz")
    status, answer = start_platform().call(
        "CreateModel",
        json.dumps(
            {
                "ModelName": "m",
                "PrimaryContainer": {"Image": SERVER, "ModelDataUrl": url},
                "ExecutionRoleArn": ROLE,
            }
        ).encode(),
    )

    # It asked the storage it was given, and that one answered.
    assert (status, answer["message"]) == (400, f"Could not find model data at {url}.")


def test_a_transform_job_is_described_as_it_was_created(platform: Platform, bucket: Bucket) -> None:
    put_inputs(bucket, a="one")
    platform.model(bucket)
    request = transform_request(bucket)
    platform.client.create_transform_job(**request)

    job = platform.transformed()

    assert {key: job[key] for key in request} == request
