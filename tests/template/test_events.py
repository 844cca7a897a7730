"""events/: each file is what its function gets from AWS, and what its function understands."""

import hashlib
import json
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from tests.template.deployed import ACCOUNT, ROOT, deploy
from tomodrop.events import (
    RollbackAsked,
    asks_for_audit,
    parse_promote_event,
    parse_s3_message,
    parse_schedule_event,
    parse_training_event,
    parse_transform_event,
)

EVENTS = ROOT / "events"
QUEUED = sorted(path.name for path in EVENTS.glob("s3-*.json"))
JOBS = sorted(path.name for path in EVENTS.glob("t*.json"))
SCHEDULED = sorted(path.name for path in EVENTS.glob("schedule-*.json"))
BY_HAND = ["audit.json", "rollback.json"]


def load(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / name).read_text(encoding="utf-8"))
    return event


def uploads(name: str) -> list[str]:
    return [
        upload.key
        for record in load(name)["Records"]
        for upload in parse_s3_message(record["body"])
    ]


def test_the_readme_names_each_file() -> None:
    named = re.findall(r"^\| `([^`]+)` \|", (EVENTS / "README.md").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(path.name for path in EVENTS.glob("*.json"))
    assert sorted(named) == sorted([*QUEUED, *JOBS, *SCHEDULED, *BY_HAND])


@pytest.mark.parametrize("name", QUEUED)
def test_a_queued_message_is_whole(name: str) -> None:
    for record in load(name)["Records"]:
        assert record["md5OfBody"] == hashlib.md5(record["body"].encode()).hexdigest()
        assert record["eventSource"] == "aws:sqs"
        assert f":{ACCOUNT}:tomodrop-" in record["eventSourceARN"]


def test_one_upload() -> None:
    assert uploads("s3-put.json") == ["incoming/ward-3/slice-017.png"]


def test_odd_keys_are_decoded() -> None:
    assert uploads("s3-put-odd-keys.json") == [
        "incoming/red flower.png",
        "incoming/C++ and 50%.png",
        "incoming/患者 一/胸部CT.png",
        "incoming/Müller, Jörg (2).png",
        "labelled/covid/p 01/slice+1.png",
    ]


def test_two_records_in_one_message_are_two_uploads() -> None:
    assert len(load("s3-two-records.json")["Records"]) == 1
    assert uploads("s3-two-records.json") == [
        "incoming/ward-3/slice-017.png",
        "incoming/ward-3/volume.png",
    ]


def test_the_test_event_is_no_upload() -> None:
    assert uploads("s3-test-event.json") == []


def test_uploads_are_put_into_the_stacks_bucket() -> None:
    bucket = deploy().outputs["UploadsBucket"]
    buckets = {
        upload.bucket
        for name in QUEUED
        for record in load(name)["Records"]
        for upload in parse_s3_message(record["body"])
    }
    assert buckets == {bucket}


@pytest.mark.parametrize("name", JOBS)
def test_a_job_event_passes_the_rule_of_its_step(name: str) -> None:
    rule = (
        "CollectFunctionTransformJobEnded"
        if name.startswith("transform-")
        else "PromoteFunctionTrainingJobEnded"
    )
    assert matches(deploy().properties(rule)["EventPattern"], load(name))


def test_a_training_event_does_not_wake_collect() -> None:
    pattern = deploy().properties("CollectFunctionTransformJobEnded")["EventPattern"]
    assert not matches(pattern, load("training-completed.json"))


def test_an_evaluation_wakes_promote_and_not_collect() -> None:
    event = load("transform-completed.json")
    event["detail"]["TransformJobName"] = "tomodrop-eval-20261122T030000Z-challenger-0a1b2c-1"
    rules = ("CollectFunctionTransformJobEnded", "PromoteFunctionEvaluationJobEnded")
    assert [matches(deploy().properties(rule)["EventPattern"], event) for rule in rules] == [
        False,
        True,
    ]
    batch = load("transform-completed.json")
    assert not matches(deploy().properties(rules[1])["EventPattern"], batch)


def test_a_rollback_names_a_training_job() -> None:
    asked = parse_promote_event(load("rollback.json"))
    assert asked == RollbackAsked("tomodrop-train-20261122T030000Z")


def test_a_job_that_still_runs_wakes_nobody() -> None:
    event = load("transform-completed.json")
    event["detail"]["TransformJobStatus"] = "InProgress"
    pattern = deploy().properties("CollectFunctionTransformJobEnded")["EventPattern"]
    assert not matches(pattern, event)


def test_job_events_are_understood() -> None:
    done = parse_transform_event(load("transform-completed.json"))
    failed = parse_transform_event(load("transform-failed.json"))
    trained = parse_training_event(load("training-completed.json"))
    broken = parse_training_event(load("training-failed.json"))
    assert (done.name, done.status) == ("tomodrop-20261124T153900Z-0001-1", "Completed")
    assert (failed.status, failed.failure_reason[:14]) == ("Failed", "AlgorithmError")
    assert (trained.name, trained.status) == ("tomodrop-train-20261122T030000Z", "Completed")
    assert (broken.status, broken.failure_reason[:11]) == ("Failed", "ClientError")


@pytest.mark.parametrize("name", JOBS)
def test_times_are_milliseconds_and_arns_lower_case(name: str) -> None:
    event = load(name)
    times = [value for key, value in event["detail"].items() if key.endswith("Time")]
    [arn] = event["resources"]
    assert times
    assert all(isinstance(value, int) and value > 1_700_000_000_000 for value in times)
    assert arn == arn.lower()


@pytest.mark.parametrize("name", SCHEDULED)
def test_a_scheduled_call_has_the_shape_of_the_schedules_input(name: str) -> None:
    step = Path(name).stem.removeprefix("schedule-")
    given = json.loads(
        deploy().properties(f"{step.capitalize()}FunctionSchedule")["Target"]["Input"]
    )
    assert load(name).keys() == given.keys()
    assert parse_schedule_event(load(name)).year == 2026


def matches(pattern: dict[str, Any], event: dict[str, Any]) -> bool:
    """EventBridge's matching, as far as the rules here use it."""
    for key, wanted in pattern.items():
        value = event.get(key)
        if isinstance(wanted, dict):
            if not isinstance(value, dict) or not matches(wanted, value):
                return False
        elif not any(
            fnmatchcase(str(value), f"{choice['prefix']}*")
            if isinstance(choice, dict)
            else value == choice
            for choice in wanted
        ):
            return False
    return True


def test_an_audit_is_asked_for() -> None:
    assert asks_for_audit(load("audit.json"))
    assert not asks_for_audit(load("schedule-sweep.json"))
