"""Dispatch: settled windows are cut into parts, and each part's job is made once."""

import json
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

import dispatch as step
from tests.functions.builders import MODEL, go_live, lines_of, source
from tests.functions.conftest import Context
from tests.functions.interference import Crash, before_call, losing_reply, refusing
from tomodrop import keys, objects
from tomodrop.batches import Batches
from tomodrop.clients import App
from tomodrop.dispatching import Dispatched, dispatch, pack, plan_window
from tomodrop.errors import EventError
from tomodrop.keys import parse_job_name
from tomodrop.slices import IndexLine, read_lines, write_lines
from tomodrop.windows import window_start

BATCH = "20261124T154000Z"
SETTLED = window_start(BATCH) + timedelta(seconds=300 + 61)
UPLOADS = st.lists(st.integers(1, 12), max_size=25).map(
    lambda counts: [
        line
        for number, count in enumerate(counts)
        for line in lines_of(source(f"incoming/{number}"), count)
    ]
)


def fill(stack: App, *counts: int, batch: str = BATCH) -> list[IndexLine]:
    """A window with uploads of so many slices, as intake leaves it."""
    lines = [
        line
        for number, count in enumerate(counts)
        for line in lines_of(source(f"incoming/{batch}/{number}"), count)
    ]
    assert Batches(stack.table).open_window(batch)
    key = f"{keys.batch_index(batch)}part.jsonl"
    objects.write(stack.s3, stack.settings.work_bucket, key, write_lines(lines), "text/plain")
    return lines


def jobs(stack: App) -> list[str]:
    found = stack.sagemaker.list_transform_jobs()["TransformJobSummaries"]
    return sorted(job["TransformJobName"] for job in found)


def manifest(stack: App, job: str) -> list[Any]:
    key = keys.job_manifest(parse_job_name(job, "tomodrop"))
    read: list[Any] = json.loads(objects.read(stack.s3, stack.settings.work_bucket, key))
    return read


# Packing


@given(UPLOADS, st.integers(1, 15), st.randoms(use_true_random=False))
def test_every_upload_is_packed_whole_into_bounded_parts(
    lines: list[IndexLine], max_slices: int, random: Any
) -> None:
    shuffled = [*lines, *lines[:3]]
    random.shuffle(shuffled)
    parts = pack(shuffled, max_slices)
    packed = [line.slice_id for part in parts for line in part]
    assert sorted(packed) == sorted(line.slice_id for line in lines)
    homes = [{line.source.key for line in part} for part in parts]
    assert sum(map(len, homes)) == len(set().union(*homes))
    assert all(
        len(part) <= max_slices or len(home) == 1 for part, home in zip(parts, homes, strict=True)
    )
    assert all(parts)


@given(UPLOADS, st.integers(1, 15), st.randoms(use_true_random=False))
def test_the_parts_do_not_depend_on_the_order(
    lines: list[IndexLine], max_slices: int, random: Any
) -> None:
    shuffled = list(lines)
    random.shuffle(shuffled)
    assert pack(shuffled, max_slices) == pack(lines, max_slices)


@given(UPLOADS, st.integers(1, 15))
def test_two_neighbouring_parts_would_not_fit_into_one(
    lines: list[IndexLine], max_slices: int
) -> None:
    parts = pack(lines, max_slices)
    for one, other in pairwise(parts):
        first_upload = [line for line in other if line.source == other[0].source]
        assert len(one) + len(first_upload) > max_slices


def test_nothing_is_packed_into_no_part() -> None:
    assert pack([], 5) == []


# Planning


def test_a_window_is_planned_once_it_has_settled(stack: App) -> None:
    lines = fill(stack, 1, 1)
    assert dispatch(stack, SETTLED - timedelta(seconds=1)) == Dispatched(0, 0, 0)
    assert dispatch(stack, SETTLED) == Dispatched(windows=1, jobs=0, waiting=1)
    (part,) = Batches(stack.table).ready()
    key = f"batches/{BATCH}/parts/0000/1.jsonl"
    assert (part.part, part.attempt, part.slices_key) == ("0000", 1, key)
    planned = list(read_lines(objects.read(stack.s3, stack.settings.work_bucket, key)))
    assert sorted(planned, key=str) == sorted(lines, key=str)


def test_a_window_without_slices_has_no_part(stack: App) -> None:
    Batches(stack.table).open_window(BATCH)
    assert dispatch(stack, SETTLED) == Dispatched(windows=1, jobs=0, waiting=0)
    assert dispatch(stack, SETTLED) == Dispatched(windows=0, jobs=0, waiting=0)


def test_a_planner_that_died_is_made_good_by_the_next(
    stack: App, change: Callable[..., App]
) -> None:
    fill(stack, *[1] * 5)
    app, batches = change(max_slices_per_job=2), Batches(stack.table)
    calls: list[str] = []
    for number in range(20):
        try:
            with before_call(number, _die, app.s3, app.table.meta.client) as calls:
                plan_window(app, batches, BATCH)
        except Crash:
            continue
        break
    assert len(calls) <= number  # the last one came to its end
    assert [part.part for part in batches.ready()] == ["0000", "0001", "0002"]
    assert list(batches.windows()) == []


def _die() -> None:
    raise Crash


def test_the_oldest_window_goes_first(stack: App) -> None:
    for batch in ("20261124T150000Z", "20261124T140000Z"):
        fill(stack, 1, batch=batch)
    go_live(stack)
    with refusing(stack.sagemaker, "CreateTransformJob", "ResourceLimitExceeded"):
        assert dispatch(stack, SETTLED).waiting == 2
    assert [part.batch for part in Batches(stack.table).ready()] == [
        "20261124T140000Z",
        "20261124T150000Z",
    ]


# Submitting


def test_a_part_s_job_names_its_slices(stack: App) -> None:
    lines = fill(stack, 2, 1)
    go_live(stack)
    assert dispatch(stack, SETTLED) == Dispatched(windows=1, jobs=1, waiting=0)
    (job,) = jobs(stack)
    assert job == f"tomodrop-{BATCH}-0000-1"
    prefix, *names = manifest(stack, job)
    assert prefix == {"prefix": f"s3://tomodrop-work-123456789012/batches/{BATCH}/slices/"}
    assert sorted(names) == sorted(f"{line.slice_id}.png" for line in lines)
    (part,) = Batches(stack.table).submitted()
    assert (part.job, MODEL.model_validate_json(part.model)) == (job, MODEL)
    made = stack.sagemaker.describe_transform_job(TransformJobName=job)
    assert made["ModelName"] == MODEL.model_name


@pytest.mark.parametrize(
    ("target_minutes", "instance_type", "minutes"),
    [(60.0, "ml.m5.large", 5.5), (0.1, "ml.g5.xlarge", 5.5)],
    ids=["cheapest", "quickest"],
)
def test_the_size_of_a_part_decides_where_it_runs(
    stack: App,
    change: Callable[..., App],
    target_minutes: float,
    instance_type: str,
    minutes: float,
) -> None:
    fill(stack, 1)
    go_live(stack)
    types = ("ml.g5.xlarge", "ml.m5.large", "ml.c5.xlarge")
    app = change(transform_instance_types=types, transform_target_minutes=target_minutes)
    dispatch(app, SETTLED)
    (job,) = jobs(stack)
    made = stack.sagemaker.describe_transform_job(TransformJobName=job)
    assert made["TransformResources"] == {"InstanceType": instance_type, "InstanceCount": 1}
    (part,) = Batches(stack.table).submitted()
    expected = json.loads(part.expected)
    assert (expected["instance_type"], expected["minutes"]) == (instance_type, minutes)
    assert 0 < expected["usd"] < 1


def test_an_instance_type_that_nothing_is_known_of_is_used_all_the_same(
    stack: App, change: Callable[..., App]
) -> None:
    fill(stack, 1)
    go_live(stack)
    dispatch(change(transform_instance_type="ml.p9.xlarge"), SETTLED)
    (part,) = Batches(stack.table).submitted()
    assert json.loads(part.expected) == {
        "instance_type": "ml.p9.xlarge",
        "instance_count": 1,
        "minutes": None,
        "usd": None,
    }


def test_without_a_model_parts_wait(stack: App) -> None:
    fill(stack, 1)
    for _ in range(3):
        assert dispatch(stack, SETTLED).waiting == 1
    assert jobs(stack) == []


def test_a_second_dispatch_makes_no_second_job(stack: App) -> None:
    fill(stack, 1)
    go_live(stack)
    dispatch(stack, SETTLED)
    assert dispatch(stack, SETTLED) == Dispatched(0, 0, 0)
    assert len(jobs(stack)) == 1


@pytest.mark.parametrize("code", ["ResourceLimitExceeded", "ThrottlingException", "Throttling"])
def test_a_refused_job_waits_its_turn(stack: App, change: Callable[..., App], code: str) -> None:
    fill(stack, 1, 1, 1)
    go_live(stack)
    app = change(max_slices_per_job=1)
    with refusing(stack.sagemaker, "CreateTransformJob", code) as refused:
        assert dispatch(app, SETTLED) == Dispatched(windows=1, jobs=0, waiting=3)
        assert dispatch(app, SETTLED) == Dispatched(windows=0, jobs=0, waiting=3)
    assert len(refused) == 2  # it does not go on knocking
    assert dispatch(app, SETTLED) == Dispatched(windows=0, jobs=3, waiting=0)


def test_the_quota_that_is_left_is_used(stack: App, change: Callable[..., App]) -> None:
    fill(stack, 1, 1, 1)
    go_live(stack)
    app = change(max_slices_per_job=1)
    made: list[str] = []

    def only_one(model: Any, **_: Any) -> None:
        made.append(model.name)
        if len(made) == 2:
            raise ClientError({"Error": {"Code": "ResourceLimitExceeded"}}, model.name)

    event = "before-call.sagemaker.CreateTransformJob"
    stack.sagemaker.meta.events.register(event, only_one)
    try:
        assert dispatch(app, SETTLED) == Dispatched(windows=1, jobs=1, waiting=2)
    finally:
        stack.sagemaker.meta.events.unregister(event, only_one)
    assert dispatch(app, SETTLED).jobs == 2


@pytest.mark.parametrize("code", ["ValidationException", "AccessDeniedException"])
def test_another_refusal_is_an_error_and_the_part_stays(stack: App, code: str) -> None:
    fill(stack, 1)
    go_live(stack)
    with (
        refusing(stack.sagemaker, "CreateTransformJob", code),
        pytest.raises(ClientError, match=code),
    ):
        dispatch(stack, SETTLED)
    assert dispatch(stack, SETTLED).jobs == 1


def test_a_job_whose_making_was_not_noted_is_adopted(
    stack: App, change: Callable[..., App]
) -> None:
    fill(stack, 1)
    go_live(stack)
    with losing_reply(stack.sagemaker, "CreateTransformJob"), pytest.raises(Crash):
        dispatch(stack, SETTLED)
    assert len(jobs(stack)) == 1
    # In between another model went live: the job still runs on the one it was made with.
    newer = MODEL.model_copy(
        update={"model_name": "tomodrop-train-2", "training_job": "tomodrop-train-2"}
    )
    go_live(stack, newer)
    elsewhere = change(transform_instance_types=("ml.c5.xlarge",))
    with refusing(stack.sagemaker, "CreateTransformJob", "ResourceInUse") as refused:
        assert dispatch(elsewhere, SETTLED).jobs == 1
    assert len(refused) == 1
    (part,) = Batches(stack.table).submitted()
    assert MODEL.model_validate_json(part.model) == MODEL
    assert json.loads(part.expected)["instance_type"] == "ml.g4dn.xlarge"


def test_parts_that_expired_before_there_was_a_model_are_no_hindrance(stack: App) -> None:
    fill(stack, 1)
    later = "20261124T154500Z"
    fill(stack, 1, batch=later)
    dispatch(stack, SETTLED + timedelta(hours=1))
    expired = f"batches/{BATCH}/parts/0000/1.jsonl"
    stack.s3.delete_object(Bucket=stack.settings.work_bucket, Key=expired)
    go_live(stack)
    assert dispatch(stack, SETTLED) == Dispatched(windows=0, jobs=1, waiting=0)
    assert jobs(stack) == [f"tomodrop-{later}-0000-1"]
    assert list(Batches(stack.table).ready()) == []


def test_the_handler_s_clock_is_its_own(stack: App, load_event: Any) -> None:
    fill(stack, 1, batch="20200101T000000Z")
    fill(stack, 1, batch="20990101T000000Z")
    go_live(stack)
    answer = step.handler(load_event("schedule-dispatch"), Context())
    assert answer == {
        "windows": 1,
        "jobs": 1,
        "waiting": 0,
        "slices_waiting": 0,
        "expected_usd": 0.067504,
    }
    assert jobs(stack) == ["tomodrop-20200101T000000Z-0000-1"]


@pytest.mark.filterwarnings("ignore:No application metrics:UserWarning")
def test_the_handler_refuses_another_event(stack: App, load_event: Any) -> None:
    with pytest.raises(EventError, match="scheduled_time"):
        step.handler(load_event("s3-put"), Context())
