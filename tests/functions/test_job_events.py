"""What wakes the functions but uploads: jobs that ended, and schedules."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tomodrop.errors import EventError
from tomodrop.events import (
    JobEnded,
    parse_schedule_event,
    parse_training_event,
    parse_transform_event,
)

Load = Callable[[str], dict[str, Any]]

# Jobs that ended


def test_a_transform_job_that_ended(load_event: Load) -> None:
    name = "tomodrop-20261124T153900Z-0001-1"
    assert parse_transform_event(load_event("transform-completed")) == JobEnded(
        name, "Completed", ""
    )
    assert parse_transform_event(load_event("transform-failed")) == JobEnded(
        name, "Failed", "AlgorithmError: See job logs for more information"
    )


def test_a_training_job_that_ended(load_event: Load) -> None:
    ended = parse_training_event(load_event("training-completed"))
    assert ended == JobEnded("tomodrop-train-20261122T030000Z", "Completed", "")
    failed = parse_training_event(load_event("training-failed"))
    assert (failed.status, failed.failure_reason[:12]) == ("Failed", "ClientError:")


@pytest.mark.parametrize("parse", [parse_transform_event, parse_training_event])
@pytest.mark.parametrize("name", ["s3-put", "schedule-sweep"])
def test_another_event_is_no_job_event(
    load_event: Load, parse: Callable[[Any], JobEnded], name: str
) -> None:
    with pytest.raises(EventError, match="check the rule's pattern"):
        parse(load_event(name))


def test_jobs_of_one_kind_are_not_the_other_kind(load_event: Load) -> None:
    with pytest.raises(EventError, match="expected 'SageMaker Training Job State Change'"):
        parse_training_event(load_event("transform-completed"))
    with pytest.raises(EventError, match="expected 'SageMaker Transform Job State Change'"):
        parse_transform_event(load_event("training-completed"))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"source": "my.own"}, "check the rule's pattern"),
        ({"detail-type": None}, "check the rule's pattern"),
        ({"detail": None}, "names no job"),
        ({"detail": []}, "names no job"),
        ({"detail": {}}, "names no job"),
        ({"detail": {"TransformJobName": 7}}, "names no job"),
        ({"detail": {"TransformJobName": "j"}}, "'None', not at its end"),
        ({"detail": {"TransformJobName": "j", "TransformJobStatus": "InProgress"}}, "'InProgress'"),
        ({"detail": {"TransformJobName": "j", "TransformJobStatus": "Stopping"}}, "'Stopping'"),
        ({"detail": {"TransformJobName": "j", "TransformJobStatus": "completed"}}, "'completed'"),
    ],
)
def test_what_is_no_end_of_a_job_is_refused(
    load_event: Load, changes: dict[str, Any], fault: str
) -> None:
    with pytest.raises(EventError, match=fault):
        parse_transform_event(load_event("transform-completed") | changes)


# Schedules


@pytest.mark.parametrize(
    ("name", "time"),
    [
        ("schedule-dispatch", datetime(2026, 11, 24, 15, 46, tzinfo=UTC)),
        ("schedule-retrain", datetime(2026, 11, 22, 3, tzinfo=UTC)),
        ("schedule-sweep", datetime(2026, 11, 24, 15, 30, tzinfo=UTC)),
    ],
)
def test_a_schedule_says_when_it_was_due(load_event: Load, name: str, time: datetime) -> None:
    assert parse_schedule_event(load_event(name)) == time


@pytest.mark.parametrize(
    "text", ["2026-11-24T05:00:00+02:00", "2026-11-24T03:00:00.000Z", "2026-11-24T03:00Z"]
)
def test_times_are_turned_to_utc(text: str) -> None:
    time = parse_schedule_event({"scheduled_time": text})
    assert time == datetime(2026, 11, 24, 3, tzinfo=UTC)
    assert time.tzinfo is UTC


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"scheduled_time": None},
        {"scheduled_time": ""},
        {"scheduled_time": "<aws.scheduler.scheduled-time>"},
        {"scheduled_time": "2026-11-24T03:00:00"},
        {"scheduled_time": "2026-11-24"},
        {"scheduled_time": 1795534868},
        {"time": "2026-11-24T03:00:00Z"},
    ],
)
def test_a_schedule_without_its_time_is_refused(event: dict[str, Any]) -> None:
    with pytest.raises(EventError, match="scheduled_time is '"):
        parse_schedule_event(event)
