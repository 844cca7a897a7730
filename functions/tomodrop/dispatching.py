"""Dispatch: plan the windows that have settled, and make a transform job for each waiting part."""

from dataclasses import asdict, dataclass, field
from datetime import datetime

from aws_lambda_powertools import Logger, Tracer
from botocore.exceptions import ClientError

from tomodrop import keys, objects
from tomodrop.attempts import Scored
from tomodrop.batches import Batches, Part
from tomodrop.clients import App
from tomodrop.instances import Choice, choose_instance, expect
from tomodrop.keys import JobName
from tomodrop.live_model import LiveModel, read_live_model, read_model_record
from tomodrop.objects import error_code
from tomodrop.references import Expected
from tomodrop.settings import Settings
from tomodrop.slices import IndexLine, by_upload, read_lines, write_lines
from tomodrop.transform_jobs import transform_manifest, transform_request
from tomodrop.windows import is_settled

logger, tracer = Logger(child=True), Tracer()

# Of so many waiting batches the log says how far they are.
_MOST_SAID = 10
# The account's quota is used up, or the API is busy: the part stays READY and waits its turn.
_WAIT_CODES = frozenset({"ResourceLimitExceeded", "ThrottlingException", "Throttling"})


@dataclass(frozen=True)
class Dispatched:
    """What one invocation did: counts of windows planned, jobs made, parts still waiting.

    `slices_waiting`: how many slices of the waiting parts still lack an answer.
    `expected_usd`: what the jobs made are expected to cost, as far as their instance types are
    known. It is an estimate, so it does not tell two invocations apart.
    """

    windows: int = 0
    jobs: int = 0
    waiting: int = 0
    slices_waiting: int = field(default=0, compare=False)
    expected_usd: float = field(default=0.0, compare=False)


def dispatch(app: App, now: datetime) -> Dispatched:
    """Plan settled windows, then make jobs while there is a live model and quota."""
    batches = Batches(app.table)
    settled = [batch for batch in batches.windows() if _is_settled(app, batch, now)]
    for batch in settled:
        plan_window(app, batches, batch)
    ready = list(batches.ready())
    model = read_live_model(app) if ready else None
    made, waiting = _submit_all(app, batches, ready, model) if model else ([], ready)
    if model:
        _say_progress(batches, waiting)
    done = Dispatched(
        windows=len(settled),
        jobs=len(made),
        waiting=len(waiting),
        slices_waiting=sum(part.left for part in waiting),
        expected_usd=round(sum(choice.usd or 0.0 for choice in made), 6),
    )
    logger.info("dispatched", extra=asdict(done) | {"has_model": bool(model or not ready)})
    return done


def _say_progress(batches: Batches, waiting: list[Part]) -> None:
    """How far the oldest batches are that wait for room."""
    for batch in list(dict.fromkeys(part.batch for part in waiting))[:_MOST_SAID]:
        logger.info("a batch waits for room", extra=asdict(batches.progress(batch)))


def _is_settled(app: App, batch: str, now: datetime) -> bool:
    settings = app.settings
    return is_settled(batch, now, settings.window_seconds, settings.intake_timeout_seconds)


@tracer.capture_method(capture_response=False)
def plan_window(app: App, batches: Batches, batch: str) -> int:
    """Cut a settled window into parts. Its index cannot change, so a repeat plans the same."""
    tracer.put_annotation("batch", batch)
    work = app.settings.work_bucket
    lines: list[IndexLine] = []
    for key in objects.keys_under(app.s3, work, keys.batch_index(batch)):
        lines.extend(read_lines(objects.read(app.s3, work, key)))
    parts = pack(lines, app.settings.max_slices_per_job)
    for number, part_lines in enumerate(parts):
        part = f"{number:04d}"
        slices_key = keys.part_slices(batch, part, attempt=1)
        objects.write(app.s3, work, slices_key, write_lines(part_lines), "application/jsonl")
        planned = Part(batch, part, "READY", 1, slices_key, slices=len(part_lines))
        batches.add_part(planned)
    batches.close_window(batch, len(parts))
    return len(parts)


def pack(lines: list[IndexLine], max_slices: int) -> list[list[IndexLine]]:
    """Parts of at most `max_slices` slices; the slices of one upload stay together.

    An upload with more slices than that is a part of its own.
    """
    parts: list[list[IndexLine]] = []
    for slices in by_upload(lines).values():
        if not parts or len(parts[-1]) + len(slices) > max_slices:
            parts.append([])
        parts[-1].extend(slices)
    return parts


def _submit_all(
    app: App, batches: Batches, ready: list[Part], model: LiveModel
) -> tuple[list[Choice], list[Part]]:
    """What the jobs that were made run on, and which parts still wait."""
    made: list[Choice] = []
    for place, part in enumerate(ready):
        try:
            choice = submit_part(app, batches, part, model)
        except ClientError as error:
            if error_code(error) not in _WAIT_CODES:
                raise
            logger.info("no room for another job yet", extra={"code": error_code(error)})
            return made, ready[place:]
        if choice:
            made.append(choice)
    return made, []


@tracer.capture_method(capture_response=False)
def submit_part(app: App, batches: Batches, part: Part, live: LiveModel) -> Choice | None:
    """Make the part's transform job: with the model it began with, at first the live one.

    Returns what it runs on. None: the part waited for a model until its slices expired
    (WorkRetentionDays).
    """
    tracer.put_annotation("batch", part.batch)
    body = objects.read_if_there(app.s3, app.settings.work_bucket, part.slices_key)
    if body is None:
        logger.warning("a part expired", extra={"batch": part.batch, "part": part.part})
        batches.drop(part)
        return None
    lines = list(read_lines(body))
    model = LiveModel.model_validate_json(part.model) if part.model else live
    try:
        return _submit_with(app, batches, part, lines, model)
    except ClientError as error:
        # SageMaker's code for a model that is not there any more, among other faults.
        if model == live or error_code(error) != "ValidationException":
            raise
        logger.warning("the live model goes on", extra={"batch": part.batch, "part": part.part})
        return _submit_with(app, batches, part, lines, live)


def _submit_with(
    app: App, batches: Batches, part: Part, lines: list[IndexLine], model: LiveModel
) -> Choice:
    """A job of that name exists already: that is success."""
    job = JobName(app.settings.job_name_prefix, part.batch, part.part, part.attempt)
    work = app.settings.work_bucket
    scored = Scored.before(app, part, model.model_name).outputs
    slice_ids = [line.slice_id for line in lines if line.slice_id not in scored]
    manifest = transform_manifest(work, keys.batch_slices(part.batch), slice_ids)
    objects.write(app.s3, work, keys.job_manifest(job), manifest, "application/json")
    choice = _choose(app.settings, len(slice_ids))
    request = transform_request(app.settings, job, model.model_name, choice)
    try:
        app.sagemaker.create_transform_job(**request)
    except ClientError as error:
        if error_code(error) != "ResourceInUse":
            raise
        # Made by an invocation that did not come to note it; it may run on an earlier model, and
        # on another instance than would be chosen now.
        made = app.sagemaker.describe_transform_job(TransformJobName=str(job))
        model = read_model_record(app, made["ModelName"])
        place = made["TransformResources"]
        choice = expect(len(slice_ids), place["InstanceType"], place["InstanceCount"])
    expected = Expected.of(choice).model_dump(mode="json")
    batches.submit(part, str(job), model.model_dump(mode="json"), expected)
    logger.info("submitted", extra={"batch": part.batch, "job": str(job)})
    return choice


def _choose(settings: Settings, slices: int) -> Choice:
    return choose_instance(
        slices,
        settings.allowed_instance_types,
        settings.transform_target_minutes,
        settings.transform_instance_count,
    )
