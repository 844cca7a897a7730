"""Sweep: what events alone do not promise. Nothing is lost, however an event was.

Events can be lost, doubled and late, and jobs can hang. So every so often: uploads without a result
go round again, jobs past their time are stopped, and jobs whose end nobody heard of are collected.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from tomodrop import keys, objects
from tomodrop.batches import Batches, Part
from tomodrop.clients import App
from tomodrop.collecting import collect
from tomodrop.dataset import index_parts, is_current
from tomodrop.errors import EventError
from tomodrop.events import TERMINAL_STATUSES, JobEnded, UploadEvent, s3_message
from tomodrop.promotion import decision_key, promote
from tomodrop.slices import read_lines
from tomodrop.training_jobs import training_jobs_of

logger = Logger(child=True)


@dataclass(frozen=True)
class Swept:
    """Counts of one sweep."""

    sent_again: int
    jobs_stopped: int
    jobs_collected: int
    trainings_decided: int


def sweep(app: App, now: datetime) -> Swept:
    """Find what got stuck and set it going again."""
    stopped, collected = _see_to_jobs(app, now)
    done = Swept(
        sent_again=_send_again(app, now),
        jobs_stopped=stopped,
        jobs_collected=collected,
        trainings_decided=_see_to_trainings(app),
    )
    logger.info("swept", extra=asdict(done))
    return done


def _see_to_jobs(app: App, now: datetime) -> tuple[int, int]:
    stopped = collected = 0
    limit = timedelta(minutes=app.settings.max_job_minutes)
    for part in list(Batches(app.table).submitted()):
        described = app.sagemaker.describe_transform_job(TransformJobName=part.job)
        status = described["TransformJobStatus"]
        if status in TERMINAL_STATUSES:
            ended = JobEnded(part.job, status, described.get("FailureReason", ""))
            collected += collect(app, ended) is not None
        elif status == "InProgress" and now - described["CreationTime"] > limit:
            stopped += _stop(app, part)
    return stopped, collected


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


def _see_to_trainings(app: App) -> int:
    """Decide on the newest ended training if its event was lost."""
    newest = next(training_jobs_of(app, SortBy="CreationTime", SortOrder="Descending"), None)
    if not newest or newest["TrainingJobStatus"] not in TERMINAL_STATUSES:
        return 0
    job = newest["TrainingJobName"]
    bucket = app.settings.predictions_bucket
    if objects.read_if_there(app.s3, bucket, decision_key(job)) is not None:
        return 0
    try:
        return int(promote(app, job) is not None)
    except EventError as fault:
        # Started by hand under our prefix: there is nothing to decide.
        logger.info("a training that is not ours: %s", fault)
        return 0


def _send_again(app: App, now: datetime) -> int:
    oldest = now - timedelta(minutes=app.settings.overdue_minutes)
    waiting = _keys_on_their_way(app)
    answered = _answered(app, keys.INCOMING, (keys.prediction_key, keys.rejection_key))
    overdue = [
        *_overdue(app, keys.INCOMING, answered, waiting, oldest),
        *_overdue(app, keys.LABELLED, _labelled_results(app), frozenset(), oldest),
    ]
    for upload in overdue:
        message = s3_message(upload, event_name="ObjectCreated:Put", event_time=now)
        app.sqs.send_message(QueueUrl=app.settings.intake_queue_url, MessageBody=message)
    return len(overdue)


def _overdue(
    app: App,
    prefix: str,
    answered: dict[str, datetime],
    waiting: frozenset[tuple[str, str]],
    oldest: datetime,
) -> Iterator[UploadEvent]:
    """Uploads older than `oldest` that have no result, or one from before they were put."""
    bucket = app.settings.uploads_bucket
    for found in objects.listing(app.s3, bucket, prefix):
        key, etag = found["Key"], found["ETag"].strip('"')
        if keys.is_folder_marker(key, found["Size"]):
            continue
        if found["LastModified"] > oldest or (key, etag) in waiting:
            continue
        if key in answered and answered[key] >= found["LastModified"]:
            continue
        upload = _current_version(app, key)
        if upload:
            yield upload


def _current_version(app: App, key: str) -> UploadEvent | None:
    """What a message says of an upload; None when it was deleted since it was listed."""
    try:
        head = app.s3.head_object(Bucket=app.settings.uploads_bucket, Key=key)
    except ClientError as error:
        if objects.is_absent(error):
            return None
        raise
    return UploadEvent(
        bucket=app.settings.uploads_bucket,
        key=key,
        version_id=head.get("VersionId", ""),
        etag=head["ETag"].strip('"'),
        sequencer="",
        size_bytes=head["ContentLength"],
    )


def _answered(
    app: App, prefix: str, names_of: tuple[Callable[[str], str], ...]
) -> dict[str, datetime]:
    """When each upload under a prefix was answered with a JSON of one of these names, by its key.

    The result's name is made from the upload's and not always the other way (longest keys are cut),
    so results are kept by their own path and looked up by what an upload's would be.
    """
    bucket = app.settings.predictions_bucket
    found = {
        item["Key"]: item["LastModified"]
        for folder in (keys.PREDICTIONS, keys.REJECTED, keys.REJECTED_LABELLED)
        for item in objects.listing(app.s3, bucket, folder)
    }
    uploads = objects.keys_under(app.s3, app.settings.uploads_bucket, prefix)
    times = {key: [found.get(name_of(key)) for name_of in names_of] for key in uploads}
    return {key: max(filter(None, of_key)) for key, of_key in times.items() if any(of_key)}


def _labelled_results(app: App) -> dict[str, datetime]:
    """When each labelled upload was taken in or rejected, by upload key.

    One whose slices are of an earlier normaliser or image shape counts as never taken in, so that
    it goes round again.
    """
    answered = _answered(app, keys.LABELLED, (keys.rejection_key,))
    taken_in: dict[str, datetime] = {}
    for modified, lines in index_parts(app):
        for line in lines:
            if is_current(line, app.settings):
                taken_in[line.source.key] = modified
            else:
                taken_in.pop(line.source.key, None)
    for key, modified in taken_in.items():
        answered[key] = max(answered.get(key, modified), modified)
    return answered


def _keys_on_their_way(app: App) -> frozenset[tuple[str, str]]:
    """(key, ETag) of the uploads in windows and parts that are not done: they wait, rightly."""
    batches, work = Batches(app.table), app.settings.work_bucket
    parts = [
        key
        for batch in batches.windows()
        for key in objects.keys_under(app.s3, work, keys.batch_index(batch))
    ]
    parts += [part.slices_key for part in (*batches.ready(), *batches.submitted())]
    # What has expired while it waited for a model is not on its way any more.
    bodies = (objects.read_if_there(app.s3, work, key) for key in parts)
    return frozenset(
        (line.source.key, line.source.etag) for body in bodies for line in read_lines(body or b"")
    )
