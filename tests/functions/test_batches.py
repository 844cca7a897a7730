"""The batch table: each move is made once, by one caller, and only from the right state."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.functions.builders import MODEL
from tests.functions.interference import refusing
from tomodrop.batches import Batches, Part, Progress, update_request
from tomodrop.clients import App

BATCH = "20261124T153900Z"
PART = Part(BATCH, "0000", "READY", 1, "slices/1")
RECORD = MODEL.model_dump(mode="json")
Move = Callable[[Batches], bool]


@pytest.fixture
def batches(stack: App) -> Batches:
    return Batches(stack.table)


def submitted(batches: Batches, job: str = "job-1") -> Part:
    batches.add_part(PART)
    batches.submit(PART, job, RECORD)
    part = batches.part(BATCH, "0000")
    assert part is not None
    return part


def item(stack: App, part: str) -> dict[str, Any]:
    return stack.table.get_item(Key={"batch_id": BATCH, "part": part})["Item"]


def test_a_window_waits_until_it_is_planned(batches: Batches) -> None:
    assert batches.open_window(BATCH)
    assert list(batches.windows()) == [BATCH]
    assert batches.close_window(BATCH, 2)
    assert list(batches.windows()) == []


def test_an_open_window_can_be_opened_by_every_invocation(batches: Batches) -> None:
    assert all(batches.open_window(BATCH) for _ in range(3))
    assert list(batches.windows()) == [BATCH]


def test_a_planned_window_cannot_be_opened_again(batches: Batches) -> None:
    batches.open_window(BATCH)
    batches.close_window(BATCH, 0)
    assert not batches.open_window(BATCH)
    assert list(batches.windows()) == []


def test_a_window_is_closed_once_and_only_when_it_is_open(batches: Batches) -> None:
    assert not batches.close_window(BATCH, 1)
    batches.open_window(BATCH)
    assert [batches.close_window(BATCH, 1) for _ in range(2)] == [True, False]


def test_the_oldest_window_comes_first(batches: Batches) -> None:
    names = [f"20261124T15{minute}00Z" for minute in (45, 30, 40, 35)]
    for name in names:
        batches.open_window(name)
    assert list(batches.windows()) == sorted(names)


def test_a_part_goes_its_way(batches: Batches) -> None:
    assert batches.add_part(PART)
    (ready,) = batches.ready()
    assert (ready.state, ready.attempt, ready.slices_key, ready.job) == ("READY", 1, "slices/1", "")
    assert batches.submit(ready, "job-1", RECORD)
    assert list(batches.ready()) == []
    (waiting,) = batches.submitted()
    assert (waiting.state, waiting.job) == ("SUBMITTED", "job-1")
    assert MODEL.model_validate_json(waiting.model) == MODEL
    assert batches.retry(waiting, "slices/2", left=1)
    (again,) = batches.ready()
    assert (again.attempt, again.slices_key) == (2, "slices/2")
    assert batches.submit(again, "job-2", RECORD)
    (waiting,) = batches.submitted()
    assert batches.finish(waiting)
    assert list(batches.ready()) == list(batches.submitted()) == []
    done = batches.part(BATCH, "0000")
    assert done is not None
    assert (done.state, done.job) == ("DONE", "job-2")


def test_progress_counts_parts_and_slices(batches: Batches) -> None:
    batches.open_window(BATCH)
    assert batches.progress(BATCH) == Progress(BATCH, 0, 0, 0, 0)
    parts = [replace(PART, part=f"000{number}", slices=10) for number in range(3)]
    for part in parts:
        batches.add_part(part)
    batches.close_window(BATCH, 3)
    assert batches.progress(BATCH) == Progress(BATCH, 0, 3, 0, 30)
    for part in parts[:2]:
        batches.submit(part, "job", RECORD)
    batches.finish(replace(parts[0], job="job"))
    batches.retry(replace(parts[1], job="job"), "slices/2", left=4)
    assert batches.progress(BATCH) == Progress(BATCH, 1, 3, 10 + 6, 30)
    assert [part.left for part in batches.ready()] == [4, 10]


def test_parts_that_were_planned_before_slices_were_counted_are_read(
    stack: App, batches: Batches
) -> None:
    batches.add_part(PART)
    old = {"batch_id": BATCH, "part": "0000"}
    stack.table.update_item(
        Key=old,
        UpdateExpression="REMOVE #s, #l",
        ExpressionAttributeNames={"#s": "slices", "#l": "left"},
    )
    assert batches.progress(BATCH) == Progress(BATCH, 0, 1, 0, 0)


@pytest.mark.parametrize(
    ("name", "move"),
    [
        ("add", lambda batches: batches.add_part(PART)),
        ("submit", lambda batches: batches.submit(PART, "job-1", RECORD)),
        ("drop", lambda batches: batches.drop(PART)),
    ],
)
def test_a_repeated_move_of_a_ready_part_is_no_move(
    stack: App, batches: Batches, name: str, move: Move
) -> None:
    batches.add_part(PART)
    assert move(batches) is (name != "add")
    before = item(stack, "0000")
    assert move(batches) is False
    assert item(stack, "0000") == before


@pytest.mark.parametrize(
    ("name", "move"),
    [
        ("retry", lambda batches, part: batches.retry(part, "slices/2", left=1)),
        ("finish", lambda batches, part: batches.finish(part)),
    ],
)
def test_a_repeated_move_of_a_submitted_part_is_no_move(
    stack: App, batches: Batches, name: str, move: Callable[[Batches, Part], bool]
) -> None:
    part = submitted(batches)
    assert move(batches, part) is True
    before = item(stack, "0000")
    assert move(batches, part) is False
    assert item(stack, "0000") == before


@pytest.mark.parametrize(
    ("name", "move"),
    [
        ("submit", lambda batches: batches.submit(PART, "j", RECORD)),
        ("retry", lambda batches: batches.retry(replace(PART, job="j"), "s", left=1)),
        ("finish", lambda batches: batches.finish(replace(PART, job="j"))),
        ("drop", lambda batches: batches.drop(PART)),
        ("close", lambda batches: batches.close_window(BATCH, 1)),
    ],
)
def test_what_does_not_exist_cannot_move(
    stack: App, batches: Batches, name: str, move: Move
) -> None:
    assert move(batches) is False
    assert stack.table.scan()["Items"] == []


def test_a_job_of_an_earlier_attempt_moves_nothing(batches: Batches) -> None:
    first = submitted(batches, "job-1")
    batches.retry(first, "slices/2", left=1)
    (again,) = batches.ready()
    assert not batches.submit(first, "job-1", RECORD)
    assert not batches.drop(first)
    batches.submit(again, "job-2", RECORD)
    assert not batches.finish(first)
    assert not batches.retry(first, "slices/3", left=1)
    (waiting,) = batches.submitted()
    assert (waiting.job, waiting.attempt) == ("job-2", 2)


def test_a_part_that_was_submitted_cannot_be_dropped(batches: Batches) -> None:
    part = submitted(batches)
    assert not batches.drop(part)


def test_a_dropped_part_waits_no_more(batches: Batches) -> None:
    batches.add_part(PART)
    assert batches.drop(PART)
    assert list(batches.ready()) == []


def test_parts_do_not_touch_one_another(batches: Batches) -> None:
    other = replace(PART, part="0001")
    batches.add_part(PART)
    batches.add_part(other)
    batches.submit(PART, "job-1", RECORD)
    assert [part.part for part in batches.ready()] == ["0001"]


def test_a_part_that_is_not_there_is_none(batches: Batches) -> None:
    assert batches.part(BATCH, "0000") is None


@pytest.mark.parametrize("waits", [True, False])
def test_only_what_is_done_expires(stack: App, batches: Batches, waits: bool) -> None:
    part = submitted(batches)
    if not waits:
        batches.finish(part)
    found = item(stack, "0000")
    assert ("expires_at" in found) is not waits
    assert ("pending" in found) is waits


def test_a_move_is_one_update() -> None:
    now = datetime(2026, 11, 24, 15, 39, tzinfo=UTC)
    assert update_request("b", "p", {"state": "DONE"}, now) == {
        "Key": {"batch_id": "b", "part": "p"},
        "UpdateExpression": "SET #state = :state, #state_since = :state_since, "
        "#expires_at = :expires_at REMOVE #pending",
        "ExpressionAttributeNames": {
            "#state": "state",
            "#state_since": "state_since",
            "#expires_at": "expires_at",
            "#pending": "pending",
        },
        "ExpressionAttributeValues": {
            ":state": "DONE",
            ":state_since": "2026-11-24T15:39:00+00:00",
            ":expires_at": int((now + timedelta(days=90)).timestamp()),
        },
    }
    waiting = update_request("b", "p", {"state": "READY", "pending": "ready"}, now)
    assert "REMOVE" not in waiting["UpdateExpression"]
    assert ":expires_at" not in waiting["ExpressionAttributeValues"]


@pytest.mark.parametrize(
    "code", ["ProvisionedThroughputExceededException", "AccessDeniedException"]
)
def test_a_refusal_of_another_kind_is_no_lost_race(stack: App, batches: Batches, code: str) -> None:
    client = stack.table.meta.client
    with refusing(client, "UpdateItem", code), pytest.raises(ClientError, match=code):
        batches.open_window(BATCH)


def test_every_page_of_what_waits_is_read(stack: App, batches: Batches) -> None:
    big = "s" * 300_000  # a page has at most a megabyte
    for number in range(8):
        batches.add_part(Part(BATCH, f"{number:04d}", "READY", 1, big))
    assert [part.part for part in batches.ready()] == [f"{number:04d}" for number in range(8)]
