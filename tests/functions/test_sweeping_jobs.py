"""Sweep, the jobs: those that hang are stopped, and ends that nobody heard of are seen to."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count

import pytest
from botocore.exceptions import ClientError
from moto.sagemaker.models import sagemaker_backends

from tests.functions.builders import (
    ACCOUNT,
    CHOICE,
    JOB,
    MODEL,
    go_live,
    job_becomes,
    lines_of,
    png,
    put_answers,
    results,
    source,
    upload,
)
from tests.functions.evaluations import JOB as TRAINING
from tests.functions.evaluations import (
    NEXT_JOB,
    answer,
    evaluations,
    running_until_answered,
    stored,
    train,
)
from tests.functions.interference import answering, before_call, dies_before, refusing
from tests.functions.test_training_request import WHOLE
from tomodrop import keys, objects
from tomodrop.batches import Batches, Part
from tomodrop.clients import App
from tomodrop.evaluating import stop_late
from tomodrop.keys import JobName
from tomodrop.live_model import read_live_model
from tomodrop.promotion import promote
from tomodrop.slices import write_lines
from tomodrop.succession import LAST_DECISION
from tomodrop.sweeping import Swept, metrics_of, sweep
from tomodrop.transform_jobs import transform_request

HOUR = timedelta(hours=1)
NOTHING = Swept()


def now() -> datetime:
    return datetime.now(UTC)


# Transform jobs


def submit(stack: App, job: JobName = JOB) -> Part:
    """A part whose job runs: one upload, made by hand, that lies in no bucket."""
    key = keys.part_slices(job.batch, job.part, 1)
    work = stack.settings.work_bucket
    objects.write(stack.s3, work, key, write_lines(lines_of(source())), "application/jsonl")
    name = f"{keys.batch_slices(job.batch)}{lines_of(source())[0].slice_id}.png"
    objects.write(stack.s3, work, name, png(), "image/png")
    go_live(stack)
    request = transform_request(stack.settings, job, MODEL.model_name, CHOICE)
    stack.sagemaker.create_transform_job(**request)
    part = Part(job.batch, job.part, "READY", 1, key)
    batches = Batches(stack.table)
    batches.add_part(part)
    batches.submit(part, str(job), MODEL.model_dump(mode="json"))
    return part


@pytest.mark.parametrize("status", ["Completed", "Failed", "Stopped"])
def test_an_end_nobody_heard_of_is_collected(stack: App, status: str) -> None:
    submit(stack)
    job_becomes(str(JOB), transform_job_status=status, failure_reason="because")
    put_answers(stack, JOB, lines_of(source()), b"[0.9, 0.1]")
    done = sweep(stack, now())
    assert (done.jobs_collected, done.jobs_failed) == (1, int(status != "Completed"))
    told = {name: value for name, _, value in metrics_of(done)}
    assert told["TransformJobs_failed"] == done.jobs_failed
    assert list(results(stack)) == ["predictions/a.png.json"]
    assert sweep(stack, now()) == NOTHING


@pytest.mark.parametrize("status", ["InProgress", "Stopping"])
def test_a_job_within_its_time_goes_on(stack: App, status: str) -> None:
    submit(stack)
    job_becomes(str(JOB), transform_job_status=status)
    assert sweep(stack, now() + timedelta(minutes=239)) == NOTHING


def test_a_job_past_its_time_is_stopped(stack: App) -> None:
    submit(stack)
    job_becomes(str(JOB), transform_job_status="InProgress")
    with answering(stack.sagemaker, "StopTransformJob", {}) as asked:
        assert sweep(stack, now() + timedelta(minutes=241)).jobs_stopped == 1
    assert asked == [{"TransformJobName": str(JOB)}]
    # Its end is collected like any other.
    job_becomes(str(JOB), transform_job_status="Stopped")
    assert sweep(stack, now()).jobs_collected == 1
    (again,) = Batches(stack.table).ready()
    assert again.attempt == 2


def test_a_job_that_is_stopping_is_not_stopped_twice(stack: App) -> None:
    submit(stack)
    job_becomes(str(JOB), transform_job_status="Stopping")
    with answering(stack.sagemaker, "StopTransformJob", {}) as asked:
        assert sweep(stack, now() + 9 * HOUR) == NOTHING
    assert asked == []


def test_a_job_that_ends_while_it_is_stopped_is_no_error(stack: App) -> None:
    submit(stack)
    job_becomes(str(JOB), transform_job_status="InProgress")
    with refusing(stack.sagemaker, "StopTransformJob", "ValidationException") as refused:
        ended = partial(job_becomes, str(JOB), transform_job_status="Completed")
        with before_call(1, ended, stack.sagemaker):
            assert sweep(stack, now() + 9 * HOUR).jobs_stopped == 0
    assert len(refused) == 1
    assert sweep(stack, now()).jobs_collected == 1


def test_a_job_that_cannot_be_stopped_keeps_no_other_from_its_end(stack: App) -> None:
    submit(stack)
    other = replace(JOB, part="0001")
    submit(stack, other)
    job_becomes(str(JOB), transform_job_status="InProgress")
    put_answers(stack, other, lines_of(source()), b"[0.9, 0.1]")
    with refusing(stack.sagemaker, "StopTransformJob", "AccessDeniedException"):
        done = sweep(stack, now() + 9 * HOUR)
    assert (done.faults, done.jobs_stopped, done.jobs_collected) == (1, 0, 1)
    assert list(results(stack)) == ["predictions/a.png.json"]
    assert [part.part for part in Batches(stack.table).submitted()] == [JOB.part]


def test_a_training_that_cannot_be_seen_to_keeps_no_upload_from_its_way(stack: App) -> None:
    upload(stack, "incoming/a.png", png())
    with refusing(stack.sagemaker, "ListTrainingJobs", "AccessDeniedException"):
        done = sweep(stack, now() + 9 * HOUR)
    assert (done.faults, done.sent_again) == (1, 1)


def test_a_job_that_sagemaker_has_forgotten_is_tried_again(stack: App) -> None:
    submit(stack)
    del sagemaker_backends[ACCOUNT]["us-east-1"].transform_jobs[str(JOB)]
    # It may hear of a new job late, so at first that is no news.
    young = sweep(stack, now())
    assert (young.faults, young.jobs_collected) == (1, 0)
    assert sweep(stack, now() + 2 * HOUR).jobs_collected == 1
    (again,) = Batches(stack.table).ready()
    assert again.attempt == 2


def test_jobs_leave_half_of_the_time_to_uploads(stack: App) -> None:
    submit(stack)
    job_becomes(str(JOB), transform_job_status="Failed")
    upload(stack, "incoming/a.png", png())
    times = iter([900.0, 449.0])
    done = sweep(stack, now() + 2 * HOUR, lambda: next(times, 300.0))
    assert (done.jobs_collected, done.sent_again) == (0, 1)
    assert sweep(stack, now()).jobs_collected == 1


# Training jobs


def test_a_training_whose_end_nobody_heard_of_is_decided(stack: App) -> None:
    train(stack)
    with running_until_answered(stack):
        assert sweep(stack, now()) == NOTHING
        answer(stack)
    assert sweep(stack, now()).trainings_decided == 1
    live = read_live_model(stack)
    assert live is not None
    assert live.training_job == TRAINING
    assert sweep(stack, now()) == NOTHING


def test_every_training_is_decided_on_not_only_the_newest(stack: App) -> None:
    train(stack)
    train(stack, job=NEXT_JOB, status="InProgress")
    with running_until_answered(stack):
        sweep(stack, now())
        answer(stack)
    assert sweep(stack, now()).trainings_decided == 1
    assert stored(stack)["decision"] == "promoted"


def test_what_a_dead_process_left_of_a_decision_is_done(stack: App) -> None:
    train(stack)
    with running_until_answered(stack):
        sweep(stack, now())
        answer(stack)
    calls = count(25)
    while not objects.is_there(stack.s3, stack.settings.work_bucket, LAST_DECISION):
        assert dies_before(next(calls), stack, partial(promote, stack, TRAINING))
    assert read_live_model(stack) is None, "it is decided, and nobody knows"
    sweep(stack, now())
    live = read_live_model(stack)
    assert live is not None
    assert stored(stack)["decision"] == "promoted"


@pytest.mark.parametrize("minutes", [239, 241])
def test_an_evaluation_past_its_time_is_stopped_and_tried_again(stack: App, minutes: int) -> None:
    train(stack)
    with running_until_answered(stack):
        sweep(stack, now())
        with answering(stack.sagemaker, "StopTransformJob", {}) as asked:
            stopped = sweep(stack, now() + timedelta(minutes=minutes)).jobs_stopped
        (job,) = evaluations(stack)
        assert (stopped, asked) == (
            (1, [{"TransformJobName": str(job)}]) if minutes > 240 else (0, [])
        )
        job_becomes(str(job), transform_job_status="Stopped")
        sweep(stack, now())
        assert [job.attempt for job in evaluations(stack)] == [1, 2]


def test_an_evaluation_that_ends_while_it_is_stopped_is_no_error(stack: App) -> None:
    train(stack)
    with running_until_answered(stack):
        sweep(stack, now())
    (job,) = evaluations(stack)
    with refusing(stack.sagemaker, "StopTransformJob", "ValidationException") as refused:
        ended = partial(job_becomes, str(job), transform_job_status="Completed")
        with before_call(1, ended, stack.sagemaker):
            assert stop_late(stack, now() + 9 * HOUR) == 0
    assert len(refused) == 1
    job_becomes(str(job), transform_job_status="InProgress")
    with (
        refusing(stack.sagemaker, "StopTransformJob", "AccessDeniedException"),
        pytest.raises(ClientError, match="AccessDenied"),
    ):
        stop_late(stack, now() + 9 * HOUR)


def test_jobs_of_other_stacks_and_batches_are_not_stopped(stack: App) -> None:
    submit(stack)
    job_becomes(str(JOB), transform_job_status="InProgress")
    request = transform_request(stack.settings, JOB, MODEL.model_name, CHOICE)
    other = "my-tomodrop-eval-20261122T030000Z-champion-0a0a0a-1"
    stack.sagemaker.create_transform_job(**request | {"TransformJobName": other})
    job_becomes(other, transform_job_status="InProgress")
    assert stop_late(stack, now() + 9 * HOUR) == 0


def test_a_training_that_runs_is_left_alone(stack: App) -> None:
    train(stack, status="InProgress")
    assert sweep(stack, now()) == NOTHING


def test_trainings_of_other_makers_are_passed_over(stack: App) -> None:
    stack.sagemaker.create_training_job(**WHOLE | {"TrainingJobName": f"my-{TRAINING}"})
    stack.sagemaker.create_training_job(**WHOLE | {"TrainingJobName": "tomodrop-train-by-hand"})
    assert sweep(stack, now()) == NOTHING
    assert read_live_model(stack) is None
