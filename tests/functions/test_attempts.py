"""Attempts: what was answered once is not scored again, and how far a batch is can be told."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

import dispatch as step
from tests.functions.builders import MODEL, go_live, png, put_answers, results
from tests.functions.conftest import Context
from tests.functions.interference import refusing
from tests.functions.test_dispatching import BATCH, SETTLED, fill, jobs, manifest
from tomodrop import keys, objects
from tomodrop.batches import Batches, Part
from tomodrop.clients import App
from tomodrop.collecting import Collected, collect
from tomodrop.dispatching import dispatch
from tomodrop.events import JobEnded
from tomodrop.keys import JobName, parse_job_name
from tomodrop.slices import IndexLine

ANSWER = b"[0.9, 0.1]"
NEWER = MODEL.model_copy(
    update={"model_name": "tomodrop-train-2", "training_job": "tomodrop-train-2"}
)


def begin(stack: App, *counts: int) -> list[IndexLine]:
    """A window with uploads of so many slices, whose job was made."""
    lines = fill(stack, *counts)
    for line in lines:
        name = f"{keys.batch_slices(BATCH)}{line.slice_id}.png"
        objects.write(stack.s3, stack.settings.work_bucket, name, png((64, 64)), "image/png")
    go_live(stack)
    assert dispatch(stack, SETTLED).jobs == 1
    return lines


def job(attempt: int) -> JobName:
    return JobName("tomodrop", BATCH, "0000", attempt)


def end(stack: App, attempt: int, answered: list[IndexLine], body: bytes = ANSWER) -> Any:
    """The attempt's job answers these slices and fails at the rest."""
    put_answers(stack, job(attempt), answered, body)
    return collect(stack, JobEnded(str(job(attempt)), "Failed", "killed"))


def scored(stack: App, attempt: int) -> set[str]:
    """Ids of the slices that an attempt's job is to score."""
    _, *names = manifest(stack, str(job(attempt)))
    return {name.removesuffix(".png") for name in names}


def ids(lines: list[IndexLine]) -> set[str]:
    return {line.slice_id for line in lines}


def part(stack: App) -> Part:
    found = Batches(stack.table).part(BATCH, "0000")
    assert found is not None
    return found


def test_each_slice_of_a_volume_is_scored_once_across_a_job_that_was_killed(stack: App) -> None:
    lines = begin(stack, 5, 1)
    volume, single = lines[:5], lines[5:]
    assert end(stack, 1, [*volume[:3], *single]) == Collected(predicted=1, retried=1)
    assert (part(stack).slices, part(stack).left) == (6, 2)
    assert dispatch(stack, SETTLED).jobs == 1
    assert scored(stack, 1) == ids(lines)
    assert scored(stack, 2) == ids(volume[3:])
    assert end(stack, 2, volume[3:]) == Collected(predicted=1)
    document = results(stack)[f"predictions/{BATCH}/0.json"]
    assert [one["index"] for one in document["slices"]] == [0, 1, 2, 3, 4]
    assert (part(stack).state, part(stack).left) == ("DONE", 0)


def test_what_was_answered_twice_before_is_kept(stack: App, change: Callable[..., App]) -> None:
    app = change(max_attempts=3)
    volume = begin(app, 4)
    end(app, 1, volume[:1])
    dispatch(app, SETTLED)
    end(app, 2, volume[1:2])
    dispatch(app, SETTLED)
    assert scored(app, 3) == ids(volume[2:])
    assert end(app, 3, volume[2:]) == Collected(predicted=1)


def test_an_answer_that_cannot_be_read_is_asked_for_again(stack: App) -> None:
    volume = begin(stack, 3)
    put_answers(stack, job(1), volume[:1], b"<html>")
    end(stack, 1, volume[1:2])
    dispatch(stack, SETTLED)
    assert scored(stack, 2) == ids([volume[0], volume[2]])
    assert end(stack, 2, [volume[0], volume[2]]) == Collected(predicted=1)


def model_of(stack: App, attempt: int) -> str:
    described = stack.sagemaker.describe_transform_job(TransformJobName=str(job(attempt)))
    return described["ModelName"]


def test_a_batch_ends_on_the_model_that_it_began_with(stack: App) -> None:
    volume = begin(stack, 3)
    end(stack, 1, volume[:2])
    go_live(stack, NEWER)
    dispatch(stack, SETTLED)
    assert model_of(stack, 2) == MODEL.model_name
    assert scored(stack, 2) == ids(volume[2:])
    assert end(stack, 2, volume[2:]) == Collected(predicted=1)
    (document,) = results(stack).values()
    assert document["model"]["name"] == MODEL.model_name


def test_where_its_model_is_gone_the_live_one_scores_all_slices_itself(stack: App) -> None:
    """A volume's slices are never read by two models."""
    volume = begin(stack, 3)
    end(stack, 1, volume[:2])
    go_live(stack, NEWER)

    def refuse(params: dict[str, Any], **_: Any) -> None:
        if json.loads(params["body"])["ModelName"] == MODEL.model_name:
            raise ClientError({"Error": {"Code": "ValidationException"}}, "CreateTransformJob")

    event = "before-call.sagemaker.CreateTransformJob"
    stack.sagemaker.meta.events.register(event, refuse)
    try:
        dispatch(stack, SETTLED)
    finally:
        stack.sagemaker.meta.events.unregister(event, refuse)
    assert model_of(stack, 2) == NEWER.model_name
    assert scored(stack, 2) == ids(volume)
    assert end(stack, 2, volume[2:]) == Collected(rejected=1)
    (document,) = results(stack).values()
    assert document["rejection"]["code"] == "no_answer"


def test_single_pictures_leave_nothing_for_the_next_attempt(stack: App) -> None:
    lines = begin(stack, 1, 1)
    end(stack, 1, lines[:1])
    parts = objects.keys_under(stack.s3, stack.settings.work_bucket, f"batches/{BATCH}/parts/")
    assert [key.rpartition("/")[2] for key in parts] == ["1.jsonl", "2.jsonl"]


def test_a_batch_that_waits_for_quota_tells_how_far_it_is(
    stack: App, change: Callable[..., App], caplog: pytest.LogCaptureFixture
) -> None:
    lines = fill(stack, 2, 2, 2)
    go_live(stack)
    app = change(max_slices_per_job=2)
    dispatch(app, SETTLED)
    first, *_ = jobs(app)
    body = objects.read(app.s3, app.settings.work_bucket, f"batches/{BATCH}/parts/0000/1.jsonl")
    mine = [line for line in lines if line.slice_id.encode() in body]
    for line in mine:
        name = f"{keys.batch_slices(BATCH)}{line.slice_id}.png"
        objects.write(app.s3, app.settings.work_bucket, name, png((64, 64)), "image/png")
    put_answers(app, parse_job_name(first, "tomodrop"), mine, ANSWER)
    for name in jobs(app):
        collect(app, JobEnded(name, "Failed", ""))
    with refusing(app.sagemaker, "CreateTransformJob", "ResourceLimitExceeded"):
        done = dispatch(app, SETTLED + timedelta(minutes=1))
    assert (done.waiting, done.slices_waiting) == (2, 4)
    (told,) = [vars(line) for line in caplog.records if line.msg == "a batch waits for room"]
    shown = ("batch", "parts_done", "parts", "slices_done", "slices")
    assert tuple(told[name] for name in shown) == (BATCH, 1, 3, 2, 6)


def test_the_metric_counts_slices_that_wait(
    stack: App, load_event: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(stack, 3, batch="20200101T000000Z")
    go_live(stack)
    with refusing(stack.sagemaker, "CreateTransformJob", "ResourceLimitExceeded"):
        step.handler(load_event("schedule-dispatch"), Context())
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["Parts_waiting"], told["Slices_waiting"]) == ([1.0], [3.0])
