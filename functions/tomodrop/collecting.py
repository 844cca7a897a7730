"""Collect: a transform job ended; publish what it answered, and see to what it did not."""

from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field

from aws_lambda_powertools import Logger, Tracer

from tomodrop import keys, objects
from tomodrop.answers import Answer, find_outputs, read_answers
from tomodrop.attempts import Scored
from tomodrop.batches import Batches, Part
from tomodrop.clients import THREADS, App
from tomodrop.events import JobEnded
from tomodrop.keys import JobName, parse_job_name
from tomodrop.live_model import LiveModel
from tomodrop.predictions import Rejection, Rules, predicted, rejected
from tomodrop.publishing import Outcome, publish_all
from tomodrop.references import BatchReference, Expected, ModelReference
from tomodrop.reports import Tally, write_report
from tomodrop.slices import IndexLine, chunks_of_uploads, read_lines, write_lines

logger, tracer = Logger(child=True), Tracer()

# Outputs that are read and results that are held at a time.
CHUNK_SLICES = 500


@dataclass(frozen=True)
class Collected:
    """Uploads of one job: with a prediction, given up, and left for the next attempt."""

    predicted: int = 0
    rejected: int = 0
    retried: int = 0


@tracer.capture_method(capture_response=False)
def collect(app: App, ended: JobEnded) -> Collected | None:
    """Publish a job's results and move its part on. None: nothing waits for this job.

    Every step can be repeated: a second event, or a second run after a crash, ends the same.

    Raises
    ------
    EventError
        The job was not made by this stack.
    """
    job = parse_job_name(ended.name, app.settings.job_name_prefix)
    tracer.put_annotation("batch", job.batch)
    batches = Batches(app.table)
    part = batches.part(job.batch, job.part)
    if part is None or part.state != "SUBMITTED" or part.job != str(job):
        logger.info("nothing waits for this job", extra={"batch": job.batch, "job": str(job)})
        return None
    scored = _Scored(job, part, LiveModel.model_validate_json(part.model))
    gives_up = part.attempt >= app.settings.max_attempts
    tally = Tally(app.settings.minimum_typicality)
    with ThreadPoolExecutor(THREADS) as pool:
        left = _publish(app, pool, scored, tally, gives_up=gives_up)
        write_report(app, pool, scored.batch, ended, tally, scored.model)
    _move_on(app, batches, part, left)
    done = Collected(len(tally.shown), tally.rejected.total(), retried=tally.left)
    said = {"batch": job.batch, "job": str(job), "status": ended.status}
    logger.info("collected", extra=said | vars(done))
    return done


@dataclass(frozen=True)
class _Scored:
    """A part, the job that scored it, and the model that it was scored by."""

    job: JobName
    part: Part
    model: LiveModel

    @property
    def reference(self) -> ModelReference:
        model = self.model
        return ModelReference(
            name=model.model_name,
            training_job=model.training_job,
            normaliser=model.normaliser,
            metrics=model.metrics,
        )

    @property
    def batch(self) -> BatchReference:
        expected = self.part.expected
        return BatchReference(
            id=self.job.batch,
            job=str(self.job),
            expected=Expected.model_validate_json(expected) if expected else None,
        )


@dataclass
class _Left:
    """What is to be tried again: index lines, and those of their slices that were answered."""

    scored: Scored
    lines: bytearray = field(default_factory=bytearray)
    slices: int = 0

    def add(self, slices: list[IndexLine], outputs: dict[str, str]) -> None:
        """An upload; `outputs` are those of its slices that can be read."""
        self.lines += write_lines(slices)
        self.slices += len(slices)
        self.scored.outputs.update(outputs)


def _publish(app: App, pool: Executor, scored: _Scored, tally: Tally, *, gives_up: bool) -> _Left:
    """Publish what the job answered, and return what is to be tried again.

    It goes in chunks: a part may have a hundred thousand slices, and the function little memory.
    """
    lines = read_lines(objects.read(app.s3, app.settings.work_bucket, scored.part.slices_key))
    name = scored.model.model_name
    outputs = Scored.before(app, scored.part, name).outputs | find_outputs(app, scored.job)
    left = _Left(Scored(model=name))
    for uploads in chunks_of_uploads(lines, CHUNK_SLICES):
        wanted = [line.slice_id for slices in uploads.values() for line in slices]
        answers = read_answers(app, pool, outputs, scored.model.classes, wanted)
        outcomes = _outcomes(app, scored, uploads, answers)
        for upload in [upload for upload in uploads if upload not in outcomes]:
            slices = uploads[upload]
            if gives_up:
                outcomes[upload] = _no_answer(slices, scored)
            else:
                answered = [line.slice_id for line in slices if line.slice_id in answers]
                left.add(slices, {slice_id: outputs[slice_id] for slice_id in answered})
        publish_all(app.s3, app.settings.predictions_bucket, pool, list(outcomes.values()))
        for upload, slices in uploads.items():
            tally.count(slices, outcomes[upload].result if upload in outcomes else None)
    return left


def _outcomes(
    app: App,
    scored: _Scored,
    uploads: dict[str, list[IndexLine]],
    answers: dict[str, Answer],
) -> dict[str, Outcome]:
    return {
        upload: _outcome(app, scored, slices, [answers[line.slice_id] for line in slices])
        for upload, slices in uploads.items()
        if all(line.slice_id in answers for line in slices)
    }


def _outcome(app: App, scored: _Scored, slices: list[IndexLine], answers: list[Answer]) -> Outcome:
    rules = Rules(app.settings.volume_top_share, app.settings.minimum_typicality)
    classes = list(scored.model.classes)
    result = predicted(slices, answers, classes, scored.reference, scored.batch, rules)
    if not app.settings.keep_class_maps:
        return Outcome(slices[0].source, result)
    # Pillow is not in the bundles of steps that only import this module's own.
    from tomodrop.class_maps import with_class_maps  # noqa: PLC0415

    return Outcome(slices[0].source, *with_class_maps(result, slices, answers))


def _no_answer(slices: list[IndexLine], scored: _Scored) -> Outcome:
    rejection = Rejection(
        code="no_answer",
        message=f"The model gave no usable answer in {scored.part.attempt} attempts.",
        remedy="Look for this job in the transform job logs; upload the file again to retry.",
    )
    source = slices[0].source
    return Outcome(source, rejected(source, rejection, scored.batch))


def _move_on(app: App, batches: Batches, part: Part, left: _Left) -> None:
    if not left.lines:
        batches.finish(part)
        return
    if left.scored.outputs:
        left.scored.leave(app, part)
    slices_key = keys.part_slices(part.batch, part.part, part.attempt + 1)
    work = app.settings.work_bucket
    objects.write(app.s3, work, slices_key, bytes(left.lines), "application/jsonl")
    batches.retry(part, slices_key, left=left.slices - len(left.scored.outputs))
