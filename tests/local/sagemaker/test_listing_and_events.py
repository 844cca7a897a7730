"""Lists and events are values made of records."""

import base64
from dataclasses import replace
from typing import Any

import pytest

from local.sagemaker.errors import ValidationError
from local.sagemaker.events import announced, delivered, state_change
from local.sagemaker.listing import list_records
from local.sagemaker.operations import TRANSFORM_JOBS
from local.sagemaker.records import Record
from local.sagemaker.settings import Identity
from local.sagemaker.training_record import end as end_training
from local.sagemaker.training_record import enter, new_training_job
from local.sagemaker.transform_record import end, new_transform_job, start
from tests.local.sagemaker.support import Bucket, training_request, transform_request

IDENTITY = Identity("123456789012", "eu-central-1")
NOON = 1_795_000_000.25


@pytest.fixture
def jobs(bucket: Bucket) -> list[Record]:
    """job-0 … job-4, a minute apart; the odd ones have failed an hour later."""
    made = []
    for number in range(5):
        request = transform_request(bucket, f"job-{number}")
        job = new_transform_job(request, {}, IDENTITY, NOON + 60 * number)
        made.append(end(job, "Failed", NOON + 3600, "ClientError: x") if number % 2 else job)
    return made


def names(jobs: list[Record], **request: Any) -> list[str]:
    answer = list_records(jobs, request, TRANSFORM_JOBS)
    return [entry["TransformJobName"] for entry in answer["TransformJobSummaries"]]


def test_the_newest_come_first_unless_asked_otherwise(jobs: list[Record]) -> None:
    newest_first = ["job-4", "job-3", "job-2", "job-1", "job-0"]

    assert names(jobs) == newest_first
    assert names(jobs, SortOrder="Ascending") == newest_first[::-1]
    assert names(jobs, SortBy="Name", SortOrder="Ascending") == newest_first[::-1]
    assert names(jobs, SortBy="Status") == ["job-4", "job-2", "job-0", "job-3", "job-1"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"NameContains": "-3"}, ["job-3"]),
        ({"NameContains": "nothing"}, []),
        ({"StatusEquals": "Failed"}, ["job-3", "job-1"]),
        ({"CreationTimeAfter": NOON + 120}, ["job-4", "job-3"]),
        ({"CreationTimeBefore": NOON + 60}, ["job-0"]),
        ({"LastModifiedTimeAfter": NOON + 1000}, ["job-3", "job-1"]),
        ({"LastModifiedTimeBefore": NOON + 1000, "NameContains": "0"}, ["job-0"]),
        ({"CreationTimeBefore": "2001-01-01T00:00:00Z"}, []),
    ],
)
def test_filters(jobs: list[Record], filters: dict[str, Any], expected: list[str]) -> None:
    assert names(jobs, **filters) == expected


def test_pages_follow_each_other_even_if_records_come_in_between(jobs: list[Record]) -> None:
    first = list_records(jobs, {"MaxResults": 2}, TRANSFORM_JOBS)
    newer = replace(jobs[0], name="newer", description={**jobs[0].description})
    newer = newer.describing(NOON, TransformJobName="newer", CreationTime=NOON + 9999)
    token = first["NextToken"]
    second = list_records([newer, *jobs], {"MaxResults": 2, "NextToken": token}, TRANSFORM_JOBS)
    last = list_records(jobs, {"MaxResults": 2, "NextToken": second["NextToken"]}, TRANSFORM_JOBS)

    pages = [page["TransformJobSummaries"] for page in (first, second, last)]
    assert [[entry["TransformJobName"] for entry in page] for page in pages] == [
        ["job-4", "job-3"],
        ["job-2", "job-1"],
        ["job-0"],
    ]
    assert "NextToken" not in last


def test_ten_are_a_page_by_default(jobs: list[Record]) -> None:
    many = [replace(jobs[0], name=f"n{number}") for number in range(11)]

    assert len(names(many)) == 10


@pytest.mark.parametrize("token", ["x", "%", base64.urlsafe_b64encode(b"[1]").decode()])
def test_a_token_that_is_not_ours_is_refused(jobs: list[Record], token: str) -> None:
    with pytest.raises(ValidationError, match="Invalid NextToken"):
        names(jobs, NextToken=token)


def test_the_event_of_a_failed_transform_job(bucket: Bucket) -> None:
    request = transform_request(bucket, Tags=[{"Key": "project", "Value": "tomodrop"}])
    job = start(new_transform_job(request, {}, IDENTITY, NOON), NOON + 1)
    job = end(job, "Failed", NOON + 2, "ClientError: See job logs for more information")

    event = state_change(job, IDENTITY, "some-id", NOON + 2)

    arn = "arn:aws:sagemaker:eu-central-1:123456789012:transform-job/job"
    tags = request.pop("Tags")
    assert event == {
        "version": "0",
        "id": "some-id",
        "detail-type": "SageMaker Transform Job State Change",
        "source": "aws.sagemaker",
        "account": "123456789012",
        "time": "2026-11-18T11:06:42Z",
        "region": "eu-central-1",
        "resources": [arn],
        "detail": {
            **request,
            "TransformJobArn": arn,
            "TransformJobStatus": "Failed",
            "FailureReason": "ClientError: See job logs for more information",
            "Environment": {},
            "CreationTime": 1_795_000_000_250,
            "TransformStartTime": 1_795_000_001_250,
            "TransformEndTime": 1_795_000_002_250,
            "Tags": {tags[0]["Key"]: tags[0]["Value"]},
        },
    }


def test_the_event_of_a_training_job_in_progress(bucket: Bucket) -> None:
    request = training_request(bucket, hyperparameters={"epochs": "5"})
    job = enter(new_training_job(request, IDENTITY, NOON), "Downloading", NOON + 1)

    event = state_change(job, IDENTITY, "some-id", NOON + 1)

    assert event["detail-type"] == "SageMaker Training Job State Change"
    detail = event["detail"]
    assert {key: detail[key] for key in request} == request
    assert (detail["TrainingJobStatus"], detail["SecondaryStatus"]) == ("InProgress", "Downloading")
    assert detail["LastModifiedTime"] == detail["TrainingStartTime"] == 1_795_000_001_250
    assert [
        (stage["Status"], stage["StartTime"], stage.get("EndTime"))
        for stage in detail["SecondaryStatusTransitions"]
    ] == [
        ("Starting", 1_795_000_000_250, 1_795_000_001_250),
        ("Downloading", 1_795_000_001_250, None),
    ]
    assert "ModelArtifacts" not in detail
    assert "TrainingEndTime" not in detail


def test_an_event_stays_with_its_record_until_it_is_delivered(jobs: list[Record]) -> None:
    job = announced(announced(jobs[0], IDENTITY, "1", NOON), IDENTITY, "2", NOON)

    assert [event["id"] for event in delivered(job, "1").undelivered] == ["2"]


def test_a_failure_reason_is_never_longer_than_the_api_allows(bucket: Bucket) -> None:
    transform = new_transform_job(transform_request(bucket), {}, IDENTITY, NOON)
    training = new_training_job(training_request(bucket), IDENTITY, NOON)

    for job in (
        end(transform, "Failed", NOON, "x" * 5000),
        end_training(training, "Failed", NOON, failure_reason="x" * 5000),
    ):
        assert len(job.description["FailureReason"]) == 1024
