"""Run one training job: lay out /opt/ml, feed it, watch the program, bring its output to S3."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from local.sagemaker import training_record
from local.sagemaker.archives import pack
from local.sagemaker.channels import (
    Channel,
    channels_of,
    download_channel,
    load_items,
    stream_epoch,
)
from local.sagemaker.checkpoints import CheckpointSync
from local.sagemaker.container import JobFolder, training_config
from local.sagemaker.errors import ClientJobError, JobError, StopRequestedError
from local.sagemaker.job import Job
from local.sagemaker.metrics import final_metrics
from local.sagemaker.objects import Address
from local.sagemaker.pipe_feeder import PipeFeeder
from local.sagemaker.processes import Program
from local.sagemaker.progress import LogFollower
from local.sagemaker.records import Json, Record
from local.sagemaker.settings import MAX_FAILURE_REASON
from local.sagemaker.training_record import Secondary

FETCHERS = 4
KNOWN_BLAMES = ("ClientError:", "AlgorithmError:", "InternalServerError:", "Customer Error:")


@dataclass(frozen=True)
class Ending:
    """How the program's part of a job ended."""

    secondary: Secondary
    failure_reason: str | None = None


def ending_of_exit(exit_code: int, failure_text: str) -> Ending:
    """What an exit code and /opt/ml/output/failure mean.

    A program may say itself whom the failure is on ("ClientError: …"); otherwise it is its own.
    """
    if exit_code == 0:
        return Ending("Completed")
    text = failure_text or "the program left no /opt/ml/output/failure; see the job's log"
    if not text.startswith(KNOWN_BLAMES):
        text = f"AlgorithmError: {text}"
    suffix = f", exit code: {exit_code}"
    return Ending("Failed", text[: MAX_FAILURE_REASON - len(suffix)] + suffix)


def run_training(job: Job) -> None:
    """Run the job to one of its ends. Raises ServerClosingError when the server ends first.

    A job whose program had ended before a restart goes on with the upload.
    """
    noted = job.record.notes.get("ending")
    try:
        ending = Ending(**noted) if noted else _train(job)
    except StopRequestedError:
        ending = Ending("Stopped")
    except JobError as failure:
        # While the server closes, storage may go first: that is not the job's failure.
        job.control.check_closing()
        ending = Ending("Failed", str(failure))
    job.change(lambda record: record.noting(ending=asdict(ending)))
    try:
        artifacts = _bring_home(job, ending)
    except JobError as failure:
        job.control.check_closing()
        ending, artifacts = Ending("Failed", str(failure)), None
    _end(job, ending, artifacts)
    job.folder.clear()


def _train(job: Job) -> Ending:
    job.folder.lay_out()
    description = job.record.description
    job.change(lambda record: record.noting(log_offset=_size(job.folder.log)))
    for name, content in training_config(description, job.folder).items():
        job.folder.write_config(name, content)
    _enter(job, "Downloading")
    checkpoints = _checkpoints(job, description)
    with ExitStack() as stack:
        pool = stack.enter_context(_fetchers())
        feeders = _open_channels(job, channels_of(description), pool, stack)
        job.control.check()
        _enter(job, "Training")
        program = stack.enter_context(_start_program(job, job.record))
        ending = _watch(job, program, feeders, checkpoints)
    if checkpoints:
        checkpoints.sync()
    return ending


@contextmanager
def _fetchers() -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(FETCHERS, thread_name_prefix="fetch")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _checkpoints(job: Job, description: Json) -> CheckpointSync | None:
    config = description.get("CheckpointConfig")
    if config is None:
        return None
    target = Address.parse(config["S3Uri"])
    checkpoints = CheckpointSync(job.folder.checkpoints, target, job.tools.objects)
    job.progress.note("restoring checkpoints")
    checkpoints.restore()
    return checkpoints


def _open_channels(
    job: Job, channels: list[Channel], pool: ThreadPoolExecutor, stack: ExitStack
) -> list[PipeFeeder]:
    """Files are there, and FIFOs are fed, when this returns. Raises JobError."""
    feeders = []
    for channel in channels:
        job.control.check()
        job.progress.note(f"reading channel {channel.name}")
        try:
            if channel.streams:
                items = load_items(channel, job.tools.objects)
                epoch = partial(stream_epoch, channel, items, objects=job.tools.objects, pool=pool)
                feeders.append(PipeFeeder(job.folder.data, channel.name, epoch))
                stack.callback(feeders[-1].close)
                feeders[-1].start()
            else:
                folder = job.folder.data / channel.name
                download_channel(channel, folder, job.tools.objects, job.control.check)
        except ClientJobError as fault:
            raise _download_fault(channel.name, fault) from fault
    return feeders


def _start_program(job: Job, record: Record) -> Program:
    description = record.description
    environment = {
        **job.tools.programs.base_environment(job.folder.root, job.tools.identity.region),
        "TRAINING_JOB_NAME": record.name,
        "TRAINING_JOB_ARN": record.arn,
        **description.get("Environment", {}),
    }
    epochs = description.get("HyperParameters", {}).get("epochs", "")
    total = int(epochs) if epochs.isdigit() else None
    offset = record.notes["log_offset"]
    job.folder.log.touch()
    job.progress.follow(LogFollower(job.folder.log, offset, total).look, total)
    image = description["AlgorithmSpecification"]["TrainingImage"]
    argv = job.tools.programs.argv(image, "train")
    return Program(argv, job.tools.programs.working_directory, environment, job.folder.log)


def _watch(
    job: Job, program: Program, feeders: list[PipeFeeder], checkpoints: CheckpointSync | None
) -> Ending:
    """Wait until the program ends by itself, by request or by its time limit."""
    deadline = time.monotonic() + training_record.max_runtime_s(job.record)
    next_sync = time.monotonic() + job.tools.timing.checkpoint_sync_s
    while (exit_code := program.exit_code()) is None:
        _raise_fault(feeders)
        try:
            job.control.check()
        except StopRequestedError:
            return _stop(job, program, "Stopped")
        if time.monotonic() > deadline:
            return _stop(job, program, "MaxRuntimeExceeded")
        if checkpoints and time.monotonic() > next_sync:
            checkpoints.sync()
            next_sync = time.monotonic() + job.tools.timing.checkpoint_sync_s
        job.control.wait(job.tools.timing.poll_s)
    _raise_fault(feeders)
    return ending_of_exit(exit_code, job.folder.read_failure())


def _stop(job: Job, program: Program, secondary: Secondary) -> Ending:
    """SIGTERM, a time to save what there is, SIGKILL. The channels stay open meanwhile."""
    _enter(job, "Stopping")
    job.progress.note("stopping")
    program.terminate()
    deadline = time.monotonic() + job.tools.timing.stop_grace_s
    while program.exit_code() is None and time.monotonic() < deadline:
        job.control.check_closing()
        time.sleep(job.tools.timing.poll_s)
    program.kill()
    return Ending(secondary)


def _raise_fault(feeders: list[PipeFeeder]) -> None:
    for feeder in feeders:
        if feeder.fault:
            raise _download_fault(feeder.channel, feeder.fault) from feeder.fault


def _download_fault(channel: str, fault: JobError) -> JobError:
    return type(fault)(f"Data download failed for channel {channel}: {fault.text}")


def _bring_home(job: Job, ending: Ending) -> str | None:
    """Upload what the program left; returns the address of the model, if there is one."""
    if ending.secondary == "Completed":
        _enter(job, "Uploading")
    output, model = job.folder.output_data, job.folder.model
    if output.is_dir() and any(output.iterdir()):
        _upload(job, output, "output.tar.gz")
    left_model = model.is_dir() and any(model.iterdir())
    if ending.secondary == "Completed" or (left_model and ending.secondary != "Failed"):
        return _upload(job, model, "model.tar.gz")
    return None


def _upload(job: Job, directory: Path, name: str) -> str:
    job.progress.note(f"uploading {name}")
    archive = job.folder.root / name
    pack(directory, archive)
    uri = training_record.output_uri(job.record, name)
    job.tools.objects.upload(archive, Address.parse(uri))
    archive.unlink()
    return uri


def _enter(job: Job, secondary: Secondary) -> None:
    job.change(lambda record: training_record.advance(record, secondary, job.clock()))


def _end(job: Job, ending: Ending, artifacts: str | None) -> None:
    record = job.record
    definitions = record.description["AlgorithmSpecification"].get("MetricDefinitions", [])
    now = job.clock()
    metrics = final_metrics(_log_lines(job.folder, record), definitions, now)
    job.change(
        lambda record: training_record.end(
            record,
            ending.secondary,
            now,
            failure_reason=ending.failure_reason,
            artifacts=artifacts,
            metrics=metrics,
        )
    )


def _log_lines(folder: JobFolder, record: Record) -> Iterator[str]:
    """The log of the last run, line by line."""
    if not folder.log.exists():
        return
    with folder.log.open(encoding="utf-8", errors="replace") as log:
        log.seek(record.notes.get("log_offset", 0))
        yield from log


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
