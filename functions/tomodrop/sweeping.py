"""Sweep: what events alone do not promise. Nothing is lost, however an event was.

Events can be lost, doubled and late, and jobs can hang. So every so often: uploads without a result
go round again, jobs past their time are stopped, and jobs whose end nobody heard of are collected.
One that cannot be seen to never keeps the others from it.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import MetricUnit
from botocore.exceptions import ClientError

from tomodrop import keys, objects
from tomodrop.batches import Batches, Part
from tomodrop.clients import THREADS, App
from tomodrop.collecting import collect
from tomodrop.errors import EventError
from tomodrop.evaluating import stop_late
from tomodrop.events import TERMINAL_STATUSES, JobEnded
from tomodrop.faults import Faults
from tomodrop.objects import error_code
from tomodrop.overdue import send_again
from tomodrop.promotion import promote
from tomodrop.succession import settle_last_decision
from tomodrop.training_jobs import training_jobs_of

logger = Logger(child=True)

# Lambda's longest invocation, for callers that do not say how much time is left.
LONGEST_S = 900.0
# Those before have long been decided on; each costs a look.
_TRAININGS_LOOKED_AT = 20
# SageMaker says so of a job that it does not know, and boto3 checks all else before it asks.
_UNKNOWN_JOB = frozenset({"ResourceNotFound", "ValidationException"})


@dataclass(frozen=True)
class Swept:
    """Counts of one sweep.

    `jobs_failed`: of those collected. `faults`: what could not be seen to, as the log says.
    `uploads_overdue`: uploads older than promised without a result, `oldest_minutes`: the age of
    the oldest, 0 when there is none; both None when the comparison of uploads with results goes on
    next time.
    """

    sent_again: int = 0
    jobs_stopped: int = 0
    jobs_collected: int = 0
    jobs_failed: int = 0
    trainings_decided: int = 0
    faults: int = 0
    uploads_overdue: int | None = 0
    oldest_minutes: float | None = 0.0


def sweep(app: App, now: datetime, left_s: Callable[[], float] = lambda: LONGEST_S) -> Swept:
    """Find what got stuck and set it going again. `left_s`: seconds left of the invocation.

    Jobs are seen to for half of that time, so that uploads are always compared.
    """
    faults = Faults()
    stopped, collected, failed = _see_to_jobs(app, now, left_s, faults)
    with faults.noted("evaluations past their time"):
        stopped += stop_late(app, now)
    decided = 0
    with faults.noted("trainings"):
        decided = _see_to_trainings(app, faults)
    with ThreadPoolExecutor(THREADS) as pool:
        overdue = send_again(app, pool, now, left_s, faults)
    done = Swept(
        sent_again=overdue.sent_again,
        jobs_stopped=stopped,
        jobs_collected=collected,
        jobs_failed=failed,
        trainings_decided=decided,
        faults=faults.count,
        uploads_overdue=overdue.count,
        oldest_minutes=overdue.oldest_minutes,
    )
    logger.info("swept", extra=asdict(done))
    return done


def metrics_of(done: Swept) -> list[tuple[str, MetricUnit, float]]:
    """What CloudWatch is told of a sweep: name, unit, value.

    Overdue uploads are told of when all were compared: half a count would look like good news.
    """
    counted = ("sent_again", "jobs_stopped", "jobs_collected", "trainings_decided", "faults")
    told: list[tuple[str, MetricUnit, float]] = [
        (f"Sweep_{what}", MetricUnit.Count, getattr(done, what)) for what in counted
    ]
    # Under collect's name: it is one count, whoever heard of the job's end.
    told.append(("TransformJobs_failed", MetricUnit.Count, done.jobs_failed))
    if done.uploads_overdue is not None and done.oldest_minutes is not None:
        told.append(("UploadsOverdue", MetricUnit.Count, done.uploads_overdue))
        told.append(("OldestUploadMinutes", MetricUnit.NoUnit, done.oldest_minutes))
    return told


def _see_to_jobs(
    app: App, now: datetime, left_s: Callable[[], float], faults: Faults
) -> tuple[int, int, int]:
    """How many jobs were stopped, how many collected, and how many of these had failed."""
    stopped = collected = failed = 0
    half_s = left_s() / 2
    for part in list(Batches(app.table).submitted()):
        if left_s() < half_s:
            logger.warning("no time is left for further jobs: the next sweep sees to them")
            break
        with faults.noted(f"job {part.job}"):
            described = _describe(app, part, now)
            status = described["TransformJobStatus"]
            if status in TERMINAL_STATUSES:
                ended = JobEnded(part.job, status, described.get("FailureReason", ""))
                is_ours = collect(app, ended) is not None
                collected += is_ours
                failed += is_ours and status != "Completed"
            elif status == "InProgress" and now - described["CreationTime"] > _limit(app):
                stopped += _stop(app, part)
    return stopped, collected, failed


def _limit(app: App) -> timedelta:
    return timedelta(minutes=app.settings.max_job_minutes)


def _describe(app: App, part: Part, now: datetime) -> dict[str, Any]:
    """What SageMaker says of a part's job. One that it has forgotten counts as failed.

    It may hear of a job only some moments after it was made.
    """
    try:
        return dict(app.sagemaker.describe_transform_job(TransformJobName=part.job))
    except ClientError as error:
        overdue = timedelta(minutes=app.settings.overdue_minutes)
        is_old = now - datetime.fromisoformat(part.state_since) > overdue
        if error_code(error) not in _UNKNOWN_JOB or not is_old:
            raise
        return {"TransformJobStatus": "Failed", "FailureReason": "SageMaker knows no such job"}


def _stop(app: App, part: Part) -> bool:
    try:
        app.sagemaker.stop_transform_job(TransformJobName=part.job)
    except ClientError:
        # It ended in between: the next sweep or its event collects it.
        described = app.sagemaker.describe_transform_job(TransformJobName=part.job)
        if described["TransformJobStatus"] not in TERMINAL_STATUSES:
            raise
        return False
    logger.warning("stopped a job past its time", extra={"job": part.job})
    return True


def _see_to_trainings(app: App, faults: Faults) -> int:
    """Go on with the newest ended trainings that are not decided on, in case an event was lost."""
    settle_last_decision(app)
    newest = training_jobs_of(app, SortBy="CreationTime", SortOrder="Descending")
    decided = 0
    for job in islice(newest, _TRAININGS_LOOKED_AT):
        if job["TrainingJobStatus"] in TERMINAL_STATUSES:
            with faults.noted(f"training {job['TrainingJobName']}"):
                decided += _decide(app, job["TrainingJobName"])
    return decided


def _decide(app: App, job: str) -> bool:
    if objects.is_there(app.s3, app.settings.predictions_bucket, keys.decision(job)):
        return False
    try:
        return promote(app, job) is not None
    except EventError as fault:
        # Started by hand under our prefix: there is nothing to decide.
        logger.info("a training that is not ours: %s", fault)
        return False
