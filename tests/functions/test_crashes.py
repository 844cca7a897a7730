"""Death and doubling at every call: whatever step dies or runs twice where, the end is the same.

Each step is run with a process that dies before its n-th AWS call and is then run again, for every
n; and with a second invocation that runs whole between two calls of the first.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from moto import mock_aws

from tests.functions.builders import (
    CHOICE,
    MODEL,
    lines_of,
    png,
    put_answers,
    results,
    source,
    upload,
)
from tests.functions.conftest import create_resources
from tests.functions.interference import before_call, clients_of, crash, dies_before, unique_names
from tomodrop import keys, objects
from tomodrop.batches import Batches, Part
from tomodrop.clients import App
from tomodrop.collecting import collect
from tomodrop.decoding import sandbox
from tomodrop.dispatching import dispatch
from tomodrop.errors import WindowClosedError
from tomodrop.events import JobEnded, parse_s3_message
from tomodrop.keys import JobName
from tomodrop.live_model import write_live_model
from tomodrop.slices import read_lines, write_lines
from tomodrop.sweeping import sweep
from tomodrop.transform_jobs import transform_request
from tomodrop.uploads import Intake

NOW = datetime(2026, 11, 24, 15, 41, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
BATCH = "20261124T154000Z"
JOB = JobName("tomodrop", BATCH, "0000", 1)
Step = Callable[[App], Any]
UPLOADS = {
    "incoming/a.png": png((32, 32)),
    "incoming/bad.png": b"no picture",
    "labelled/covid/p1/c.png": png((32, 32)),
}


def before_intake(app: App) -> Step:
    """Of the labelled upload an earlier version was rejected: it is taken in now."""
    damaged = json.dumps({"Records": [upload(app, "labelled/covid/p1/c.png", b"x", "0050")]})
    Intake(app, NOW, sandbox()).take_in(*parse_s3_message(damaged))
    bodies = [json.dumps({"Records": [upload(app, *drop)]}) for drop in UPLOADS.items()]

    def intake(app: App) -> None:
        work = Intake(app, NOW, sandbox())
        for body in bodies:
            for event in parse_s3_message(body):
                work.take_in(event)
        work.write_index()

    return intake


def before_dispatch(app: App) -> Step:
    Batches(app.table).open_window(BATCH)
    lines = [*lines_of(source("incoming/a.png")), *lines_of(source("incoming/b.png"))]
    key, work = f"{keys.batch_index(BATCH)}part.jsonl", app.settings.work_bucket
    objects.write(app.s3, work, key, write_lines(lines), "application/jsonl")
    write_live_model(app, MODEL)
    return lambda app: dispatch(app, LATER)


def before_collect(app: App) -> Step:
    """A job that answers the first of its two uploads."""
    work = app.settings.work_bucket
    first, second = lines_of(source("incoming/a.png")), lines_of(source("incoming/b.png"))
    key = keys.part_slices(BATCH, JOB.part, 1)
    objects.write(app.s3, work, key, write_lines([*first, *second]), "application/jsonl")
    name = f"{keys.batch_slices(BATCH)}{first[0].slice_id}.png"
    objects.write(app.s3, work, name, png((32, 32)), "image/png")
    part = Part(BATCH, JOB.part, "READY", 1, key)
    Batches(app.table).add_part(part)
    Batches(app.table).submit(part, str(JOB), MODEL.model_dump(mode="json"))
    app.sagemaker.create_transform_job(**transform_request(app.settings, JOB, "m", CHOICE))
    put_answers(app, JOB, first, b"[0.9, 0.1]")
    return lambda app: collect(app, JobEnded(str(JOB), "Failed", "one object failed"))


def state(app: App) -> dict[str, Any]:
    """Everything that is stored, but for times and version ids."""
    work = app.settings.work_bucket
    items = app.table.scan()["Items"]
    documents = results(app)
    for document in documents.values():
        del document["created_at"]
        document["source"] = document["source"]["key"]
    return {
        "results": documents,
        "slices": {
            line.source.key
            for folder in (keys.BATCHES, keys.DATASET_INDEX)
            for key in objects.keys_under(app.s3, work, folder)
            if "/index/" in key
            for line in read_lines(objects.read(app.s3, work, key))
        },
        "parts": len(objects.keys_under(app.s3, work, f"{keys.BATCHES}{BATCH}/parts/")),
        "items": sorted(
            (item["part"], item["state"], int(str(item.get("attempt", 0))), item.get("job", ""))
            for item in items
        ),
        "jobs": sorted(
            job["TransformJobName"]
            for job in app.sagemaker.list_transform_jobs()["TransformJobSummaries"]
        ),
    }


@dataclass(frozen=True)
class Case:
    """How a stack is brought to where a step is due, and what the step leaves."""

    prepare: Callable[[App], Step]
    results: list[str]
    items: list[tuple[str, str, int, str]]


CASES = {
    "intake": Case(before_intake, ["rejected/bad.png.json"], [("window", "OPEN", 0, "")]),
    "dispatch": Case(
        before_dispatch, [], [("0000", "SUBMITTED", 1, str(JOB)), ("window", "PLANNED", 0, "")]
    ),
    "collect": Case(before_collect, ["predictions/a.png.json"], [("0000", "READY", 2, str(JOB))]),
}
every_step = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
World = Callable[[Case], tuple[App, Step]]


@pytest.fixture
def world(connected: App) -> Iterator[World]:
    """Fresh stacks, one after the other, each brought to where a step is due."""
    with mock_aws() as moto, unique_names(connected.sagemaker):

        def prepared(case: Case) -> tuple[App, Step]:
            moto.reset()
            create_resources(connected)
            return connected, case.prepare(connected)

        yield prepared


def left_by(world: World, case: Case) -> dict[str, Any]:
    """What a step leaves that nothing disturbs."""
    app, step = world(case)
    step(app)
    left = state(app)
    assert (list(left["results"]), left["items"]) == (case.results, case.items)
    return left


def intruded(
    world: World, case: Case, intruder: Callable[[App, Step], Any]
) -> Iterator[tuple[int, App]]:
    """Stacks after a step that an intruder came into, before every third of its calls."""
    app, step = world(case)
    with before_call(-1, crash, *clients_of(app)) as calls:
        step(app)
    assert len(calls) > 5
    for number in range(0, len(calls), 3):
        app, step = world(case)
        action = partial(intruder, app, step)
        with before_call(number, action, *clients_of(app)), suppress(WindowClosedError):
            step(app)
        yield number, app


@every_step
def test_a_step_that_dies_at_any_call_and_is_run_again_ends_the_same(
    world: World, case: Case
) -> None:
    expected = left_by(world, case)
    for number in range(100):
        app, step = world(case)
        if not dies_before(number, app, partial(step, app)):
            break
        step(app)
        assert state(app) == expected, f"died before call {number}"
    assert 5 < number < 99


@every_step
def test_a_step_that_runs_twice_at_once_ends_the_same(world: World, case: Case) -> None:
    expected = left_by(world, case)
    for number, app in intruded(world, case, lambda app, step: step(app)):
        assert state(app) == expected, f"the other ran before call {number}"


def test_sweep_at_any_call_of_a_collect_ends_the_same(world: World) -> None:
    expected = left_by(world, CASES["collect"])
    for number, app in intruded(world, CASES["collect"], lambda app, _: sweep(app, NOW)):
        assert state(app) == expected, f"the sweep came before call {number}"


def test_an_intake_that_outlives_its_time_limit_loses_nothing(world: World) -> None:
    """Dispatch planned its window meanwhile: it notices, it was in time, or sweep finds it."""
    for number, app in intruded(world, CASES["intake"], lambda app, _: dispatch(app, LATER)):
        dispatch(app, LATER)
        planned = {
            line.source.key
            for part in Batches(app.table).ready()
            for line in read_lines(objects.read(app.s3, app.settings.work_bucket, part.slices_key))
        }
        swept = sweep(app, datetime.now(UTC) + timedelta(hours=2))
        expected = {"incoming/a.png"} if swept.sent_again == 0 else set()
        assert planned == expected, f"dispatch came before call {number}"
