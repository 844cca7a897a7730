"""Collect: a transform job ended; publish what it answered, and see to what it did not."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from aws_lambda_powertools import Logger

from tomodrop import keys, objects
from tomodrop.answers import read_answers
from tomodrop.batches import Batches, Part
from tomodrop.clients import THREADS, App
from tomodrop.events import JobEnded
from tomodrop.keys import JobName, parse_job_name
from tomodrop.live_model import LiveModel
from tomodrop.predictions import (
    BatchReference,
    ModelReference,
    Rejection,
    Result,
    Rules,
    predicted,
    rejected,
)
from tomodrop.publishing import publish
from tomodrop.reports import write_report
from tomodrop.slices import IndexLine, by_upload, read_lines, write_lines

logger = Logger(child=True)


@dataclass(frozen=True)
class Collected:
    """Uploads of one job: with a prediction, given up, and left for the next attempt."""

    predicted: int = 0
    rejected: int = 0
    retried: int = 0


def collect(app: App, ended: JobEnded) -> Collected | None:
    """Publish a job's results and move its part on. None: nothing waits for this job.

    Every step can be repeated: a second event, or a second run after a crash, ends the same.

    Raises
    ------
    EventError
        The job was not made by this stack.
    """
    job = parse_job_name(ended.name, app.settings.job_name_prefix)
    batches = Batches(app.table)
    part = batches.part(job.batch, job.part)
    if part is None or part.state != "SUBMITTED" or part.job != str(job):
        logger.info("nothing waits for this job", extra={"job": str(job)})
        return None
    model = LiveModel.model_validate_json(part.model)
    work = app.settings.work_bucket
    uploads = by_upload(read_lines(objects.read(app.s3, work, part.slices_key)))
    results = _results(app, job, model, uploads)
    unanswered = {upload: slices for upload, slices in uploads.items() if upload not in results}
    gives_up = part.attempt >= app.settings.max_attempts
    if gives_up:
        results |= {
            upload: _no_answer(slices, job, part.attempt) for upload, slices in unanswered.items()
        }
    _publish_all(app, uploads, results)
    write_report(app, job, ended, uploads, results)
    _move_on(app, batches, part, {} if gives_up else unanswered)
    done = _count(results, retried=0 if gives_up else len(unanswered))
    logger.info("collected", extra={"job": str(job), "status": ended.status} | vars(done))
    return done


def _results(
    app: App, job: JobName, model: LiveModel, uploads: dict[str, list[IndexLine]]
) -> dict[str, Result]:
    wanted = [line.slice_id for slices in uploads.values() for line in slices]
    answers = read_answers(app, job, model.classes, wanted)
    reference = ModelReference(
        name=model.model_name,
        training_job=model.training_job,
        normaliser=model.normaliser,
        metrics=model.metrics,
    )
    batch = BatchReference(id=job.batch, job=str(job))
    rules = Rules(app.settings.volume_top_share, app.settings.minimum_typicality)
    return {
        upload: predicted(
            slices,
            [answers[line.slice_id] for line in slices],
            list(model.classes),
            reference,
            batch,
            rules,
        )
        for upload, slices in uploads.items()
        if all(line.slice_id in answers for line in slices)
    }


def _no_answer(slices: list[IndexLine], job: JobName, attempts: int) -> Result:
    rejection = Rejection(
        code="no_answer",
        message=f"The model gave no usable answer in {attempts} attempts.",
        remedy="Look for this job in the transform job logs; upload the file again to retry.",
    )
    return rejected(slices[0].source, rejection, BatchReference(id=job.batch, job=str(job)))


def _publish_all(app: App, uploads: dict[str, list[IndexLine]], results: dict[str, Result]) -> None:
    bucket = app.settings.predictions_bucket

    def publish_one(upload: str) -> bool:
        return publish(app.s3, bucket, uploads[upload][0].source, results[upload])

    with ThreadPoolExecutor(THREADS) as pool:
        # Drained, so that the first failure is raised here and the part stays as it is.
        list(pool.map(publish_one, results))


def _move_on(
    app: App, batches: Batches, part: Part, unanswered: dict[str, list[IndexLine]]
) -> None:
    if not unanswered:
        batches.finish(part)
        return
    lines = [line for slices in unanswered.values() for line in slices]
    slices_key = keys.part_slices(part.batch, part.part, part.attempt + 1)
    objects.write(
        app.s3, app.settings.work_bucket, slices_key, write_lines(lines), "application/jsonl"
    )
    batches.retry(part, slices_key)


def _count(results: dict[str, Result], retried: int) -> Collected:
    predictions = sum(result.status == "predicted" for result in results.values())
    return Collected(predictions, len(results) - predictions, retried)
