"""Score a model on held-out slices: one transform job, and what it leaves open once more.

Nothing is noted anywhere: the jobs' names are made from the model, the held-out set and the
attempt, so whoever comes next asks SageMaker for them and goes on from there. That makes every
event repeatable, and a crash costs nothing.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from tomodrop import keys, objects
from tomodrop.answers import Answer, find_outputs, read_answers
from tomodrop.clients import THREADS, App
from tomodrop.errors import EvaluationError
from tomodrop.events import TERMINAL_STATUSES
from tomodrop.held_out import HeldOut
from tomodrop.instances import choose_instance
from tomodrop.keys import EvaluationName, evaluation_name
from tomodrop.objects import error_code
from tomodrop.transform_jobs import transform_manifest, transform_request

logger = Logger(child=True)

CHALLENGER, CHAMPION = "challenger", "champion"
# The account's quota is used up, or the API is busy: the next event or sweep tries again.
_WAIT_CODES = frozenset({"ResourceLimitExceeded", "ThrottlingException", "Throttling"})
# SageMaker's word for a job that does not exist (its API model names the second only).
_ABSENT_CODES = frozenset({"ValidationException", "ValidationError", "ResourceNotFound"})


@dataclass(frozen=True)
class Contender:
    """A model to be scored, `role` challenger or champion, for the decision on a training."""

    role: str
    model_name: str
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Scores:
    """A model's answers by slice id, for every held-out slice, and the jobs that gave them."""

    answers: dict[str, Answer]
    jobs: list[str]


def first_job(
    app: App, training_job: str, held_out: HeldOut, contender: Contender
) -> EvaluationName:
    """The name of the job that scores a contender first."""
    subject = f"{contender.model_name} {held_out.digest} {len(held_out.slices)}"
    prefix = app.settings.job_name_prefix
    return evaluation_name(training_job, prefix, contender.role, subject)


def describe_job(app: App, job: EvaluationName) -> dict[str, Any] | None:
    """DescribeTransformJob's answer, or None when there is no such job."""
    try:
        return dict(app.sagemaker.describe_transform_job(TransformJobName=str(job)))
    except ClientError as error:
        if error_code(error) in _ABSENT_CODES:
            return None
        raise


def score_model(
    app: App,
    first: EvaluationName,
    held_out: HeldOut,
    contender: Contender,
) -> Scores | None:
    """A contender's answers; None while a job is to give them. Makes the next job, if one is due.

    Raises
    ------
    EvaluationError
        After the last attempt some slices still have no usable answer.
    """
    answers: dict[str, Answer] = {}
    jobs: list[str] = []
    ended = ""
    for attempt in range(1, app.settings.max_attempts + 1):
        job = replace(first, attempt=attempt)
        described = describe_job(app, job)
        open_ids = [one for one in held_out.slice_ids if one not in answers]
        if described is None:
            _make_job(app, job, contender.model_name, open_ids)
            return None
        if described["TransformJobStatus"] not in TERMINAL_STATUSES:
            return None
        answers |= _answers(app, job, contender.classes, open_ids)
        jobs.append(str(job))
        if len(answers) == len(held_out.slices):
            return Scores(answers, jobs)
        ended = f"{described['TransformJobStatus']} {described.get('FailureReason') or ''}".strip()
    missing = len(held_out.slices) - len(answers)
    raise EvaluationError(
        f"the {contender.role} {contender.model_name} gave no usable answer for {missing} of "
        f"{len(held_out.slices)} held-out slices in {len(jobs)} attempts (the last job, "
        f"{jobs[-1]}, ended {ended})"
    )


def _answers(
    app: App, job: EvaluationName, classes: tuple[str, ...], wanted: list[str]
) -> dict[str, Answer]:
    with ThreadPoolExecutor(THREADS) as pool:
        return read_answers(app, pool, find_outputs(app, job), classes, wanted)


def _make_job(app: App, job: EvaluationName, model_name: str, slice_ids: list[str]) -> None:
    settings = app.settings
    body = transform_manifest(settings.work_bucket, keys.DATASET_SLICES, slice_ids)
    objects.write(app.s3, settings.work_bucket, keys.job_manifest(job), body, "application/json")
    choice = choose_instance(
        len(slice_ids),
        settings.allowed_instance_types,
        settings.transform_target_minutes,
        settings.transform_instance_count,
    )
    try:
        app.sagemaker.create_transform_job(**transform_request(settings, job, model_name, choice))
    except ClientError as error:
        code = error_code(error)
        if code in _WAIT_CODES:
            logger.info("no room for an evaluation yet", extra={"job": str(job), "code": code})
            return
        if code != "ResourceInUse":  # somebody made it just now
            raise
    logger.info("evaluation started", extra={"job": str(job), "slices": len(slice_ids)})


def stop_late(app: App, now: datetime) -> int:
    """Stop evaluation jobs past `MaxJobMinutes`: SageMaker sets transform jobs no limit of time.

    All that run are looked at, also those that no decision waits for any more.
    """
    limit = timedelta(minutes=app.settings.max_job_minutes)
    prefix = f"{app.settings.job_name_prefix}-eval-"
    pages = app.sagemaker.get_paginator("list_transform_jobs").paginate(
        NameContains=prefix, StatusEquals="InProgress"
    )
    late = [
        job["TransformJobName"]
        for page in pages
        for job in page["TransformJobSummaries"]
        if job["TransformJobName"].startswith(prefix) and now - job["CreationTime"] > limit
    ]
    return sum(_stop(app, name) for name in late)


def _stop(app: App, name: str) -> bool:
    try:
        app.sagemaker.stop_transform_job(TransformJobName=name)
    except ClientError:
        # It ended in between: its event or the next sweep sees to it.
        described = app.sagemaker.describe_transform_job(TransformJobName=name)
        if described["TransformJobStatus"] == "InProgress":
            raise
        return False
    logger.warning("stopped an evaluation past its time", extra={"job": name})
    return True
