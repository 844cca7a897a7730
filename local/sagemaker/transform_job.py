"""Run one transform job: unpack the model, start the server, send every object, judge the whole."""

import time

from local.sagemaker import transform_record
from local.sagemaker.archives import unpack
from local.sagemaker.channels import list_entries
from local.sagemaker.errors import AlgorithmJobError, JobError, StopRequestedError
from local.sagemaker.invocations import Invocations, Terms, agree_terms, result_address
from local.sagemaker.job import Job
from local.sagemaker.manifests import Entry
from local.sagemaker.model_server import ModelServer, free_port
from local.sagemaker.objects import Address
from local.sagemaker.processes import Program
from local.sagemaker.records import Record


def run_transform(job: Job) -> None:
    """Run the job to one of its ends. Raises ServerClosingError when the server ends first."""
    status, reason = "Completed", None
    try:
        _transform(job)
    except StopRequestedError:
        status = "Stopped"
    except JobError as failure:
        # While the server closes, storage may go first: that is not the job's failure.
        job.control.check_closing()
        status, reason = "Failed", str(failure)
    job.change(lambda record: transform_record.end(record, status, job.clock(), reason))
    job.folder.clear()


def _transform(job: Job) -> None:
    job.control.check()
    job.folder.lay_out()
    record = job.change(lambda record: transform_record.start(record, job.clock()))
    source = record.description["TransformInput"]["DataSource"]["S3DataSource"]
    entries = list_entries(source["S3DataType"], Address.parse(source["S3Uri"]), job.tools.objects)
    _fetch_model(job, record)
    job.control.check()
    port = free_port()
    with _start_server(job, record, port) as program:
        _wait_until_ready(job, program, port)
        server = ModelServer(port, connections=1)
        terms = agree_terms(record.description, server.execution_parameters())
        server.close()
        remaining = _remaining(job, record, entries, terms)
        before = len(entries) - len(remaining)
        job.progress.note("transforming", done=before, total=len(entries), before=before)
        _send_all(job, program, port, terms, remaining)
        program.stop(job.tools.timing.server_stop_s)


def _fetch_model(job: Job, record: Record) -> None:
    job.progress.note("fetching the model")
    archive = job.folder.root / "model.tar.gz"
    job.tools.objects.download(Address.parse(record.notes["container"]["ModelDataUrl"]), archive)
    unpack(archive, job.folder.model)
    archive.unlink()


def _start_server(job: Job, record: Record, port: int) -> Program:
    job.progress.note("starting the model server")
    environment = {
        **job.tools.programs.base_environment(job.folder.root, job.tools.identity.region),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        **transform_record.environment(record),
    }
    argv = job.tools.programs.argv(record.notes["container"]["Image"], "serve")
    return Program(argv, job.tools.programs.working_directory, environment, job.folder.log)


def _wait_until_ready(job: Job, program: Program, port: int) -> None:
    """Wait for a 200 from /ping. Raises AlgorithmJobError when it cannot come any more."""
    server = ModelServer(port, connections=1)
    deadline = time.monotonic() + job.tools.timing.server_start_s
    try:
        while not server.ping(job.tools.timing.ping_timeout_s):
            job.control.check()
            exit_code = program.exit_code()
            if exit_code is not None:
                raise AlgorithmJobError(
                    f"Model container ended before it answered /ping, exit code: {exit_code}"
                )
            if time.monotonic() > deadline:
                raise AlgorithmJobError("Model container failed to respond to ping")
            job.control.wait(job.tools.timing.poll_s)
    finally:
        server.close()


def _remaining(job: Job, record: Record, entries: list[Entry], terms: Terms) -> list[Entry]:
    """What is left to do: all of it, or after a restart what has no result yet."""
    if record.notes["runs"] == 1:
        return entries
    present = set(job.tools.objects.list(terms.output))
    return [entry for entry in entries if result_address(entry, terms.output) not in present]


def _send_all(job: Job, program: Program, port: int, terms: Terms, entries: list[Entry]) -> None:
    server = ModelServer(port, connections=terms.concurrent)
    try:
        Invocations(job, server, program, terms).run(entries)
    finally:
        server.close()
