"""Death and doubling at every call: whatever step dies or runs twice where, the end is the same.

Each step is run with a process that dies before its n-th AWS call and is then run again, for every
n; and with a second invocation that runs whole between two calls of the first.
"""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from moto import mock_aws

from tests.functions.builders import (
    go_live,
    png,
    put_answers,
    results,
    upload,
)
from tests.functions.conftest import create_resources
from tests.functions.interference import before_call, clients_of, dies_before, unique_names
from tomodrop import keys, objects
from tomodrop.batches import Batches
from tomodrop.clients import App
from tomodrop.collecting import collect
from tomodrop.dispatching import dispatch
from tomodrop.errors import WindowClosedError
from tomodrop.events import JobEnded, parse_s3_message
from tomodrop.slices import read_lines
from tomodrop.sweeping import sweep
from tomodrop.uploads import Intake

NOW = datetime(2026, 11, 24, 15, 41, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
JOB = "tomodrop-20261124T154000Z-0000-1"
SECOND = "tomodrop-20261124T154000Z-0000-2"
Step = Callable[[App], Any]
UPLOADS = {
    "incoming/a.png": png(grey=1),
    "incoming/b.png": png(grey=2),
    "incoming/bad.png": b"no picture",
    "labelled/covid/p1/c.png": png(grey=3),
}


def announce(app: App) -> list[str]:
    return [json.dumps({"Records": [upload(app, key, body)]}) for key, body in UPLOADS.items()]


def intake_of(messages: list[str]) -> Step:
    def take_in(app: App) -> None:
        work = Intake(app, NOW)
        for message in messages:
            for event in parse_s3_message(message):
                work.take_in(event)
        work.write_index()

    return take_in


def dispatch_later(app: App) -> None:
    dispatch(app, LATER)


def collect_job(app: App) -> None:
    collect(app, JobEnded(JOB, "Failed", "one object failed"))


def answer_one(app: App) -> None:
    """The job answers the first of its two uploads."""
    (part,) = Batches(app.table).submitted()
    body = objects.read(app.s3, app.settings.work_bucket, part.slices_key)
    first = next(line for line in read_lines(body) if line.source.key == "incoming/a.png")
    put_answers(app, keys.parse_job_name(JOB, "tomodrop"), [first], b"[0.9, 0.1]")


def state(app: App) -> dict[str, Any]:
    """Everything that is stored, but for times and for what a repeat names anew."""
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
        "parts": len(objects.keys_under(app.s3, work, "batches/20261124T154000Z/parts/")),
        "items": sorted(
            (item["part"], item["state"], int(item.get("attempt", 0)), item.get("job", ""))
            for item in items
        ),
        "jobs": sorted(
            job["TransformJobName"]
            for job in app.sagemaker.list_transform_jobs()["TransformJobSummaries"]
        ),
    }


@pytest.fixture
def worlds(connected: App) -> Iterator[Callable[[str], tuple[App, Step]]]:
    """Fresh stacks, one after the other, each brought to where a step is due: `worlds("collect")`."""
    with mock_aws() as moto, unique_names(connected.sagemaker):

        def world(step: str) -> tuple[App, Step]:
            moto.reset()
            create_resources(connected)
            intake = intake_of(announce(connected))
            if step == "intake":
                return connected, intake
            intake(connected)
            go_live(connected)
            if step == "dispatch":
                return connected, dispatch_later
            dispatch_later(connected)
            answer_one(connected)
            return connected, collect_job

        yield world


STEPS = ("intake", "dispatch", "collect")
EXPECTED = {
    "intake": {"results": ["rejected/bad.png.json"], "items": [("window", "OPEN", 0, "")]},
    "dispatch": {
        "results": ["rejected/bad.png.json"],
        "items": [("0000", "SUBMITTED", 1, JOB), ("window", "PLANNED", 0, "")],
    },
    "collect": {
        "results": ["predictions/a.png.json", "rejected/bad.png.json"],
        "items": [("0000", "READY", 2, JOB), ("window", "PLANNED", 0, "")],
    },
}


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_dies_at_any_call_and_is_run_again_ends_the_same(
    worlds: Callable[[str], tuple[App, Step]], step: str
) -> None:
    app, run = worlds(step)
    run(app)
    expected = state(app)
    assert list(expected["results"]) == EXPECTED[step]["results"]
    assert expected["items"] == EXPECTED[step]["items"]
    number = 0
    while True:
        app, run = worlds(step)
        died = dies_before(number, app, lambda run=run, app=app: run(app))
        if not died:
            break
        run(app)
        assert state(app) == expected, f"died before call {number}"
        number += 1
    assert number > 5


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_runs_twice_at_once_ends_the_same(
    worlds: Callable[[str], tuple[App, Step]], step: str
) -> None:
    app, run = worlds(step)
    run(app)
    expected = state(app)
    number, calls = 0, 1
    while number < calls:
        app, run = worlds(step)
        with before_call(number, lambda run=run, app=app: run(app), *clients_of(app)) as seen:
            run(app)
        calls = len(seen)
        assert state(app) == expected, f"the other ran before call {number}"
        number += 1
    assert number > 5


def test_dispatch_at_any_call_of_an_intake_loses_nothing(
    worlds: Callable[[str], tuple[App, Step]],
) -> None:
    """An intake that outlives its time limit by far: it notices, or its slices are in the job."""
    number, calls = 0, 1
    while number < calls:
        app, run = worlds("intake")
        go_live(app)
        with before_call(number, lambda app=app: dispatch(app, LATER), *clients_of(app)) as seen:
            try:
                run(app)
            except WindowClosedError:
                # The messages return, and find another window.
                assert number > 0
        calls = len(seen)
        number += 1
    assert number > 5


def test_sweep_at_any_call_of_a_collect_ends_the_same(
    worlds: Callable[[str], tuple[App, Step]],
) -> None:
    app, run = worlds("collect")
    run(app)
    expected = state(app)
    number, calls = 0, 1
    while number < calls:
        app, run = worlds("collect")
        with before_call(number, lambda app=app: sweep(app, NOW), *clients_of(app)) as seen:
            run(app)
        calls = len(seen)
        assert state(app) == expected, f"the sweep came before call {number}"
        number += 1
    assert number > 5
