"""Post every object of a transform job to its container; one that fails never harms the others.

The container is kept full: as many requests are under way as it takes, while the next objects are
fetched and the last answers written by other threads.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from local.sagemaker.errors import AlgorithmJobError, ClientJobError, JobError
from local.sagemaker.job import Job
from local.sagemaker.manifests import Entry
from local.sagemaker.model_server import Answer, ModelServer, NoAnswerError
from local.sagemaker.objects import Address, TooLargeError
from local.sagemaker.processes import Program
from local.sagemaker.records import Json
from local.sagemaker.settings import Timing
from local.sagemaker.stages import ReadAhead, WriteBehind
from local.sagemaker.transform_record import (
    BYTES_PER_MB,
    DEFAULT_INVOCATION_RETRIES,
    DEFAULT_INVOCATION_TIMEOUT_S,
    DEFAULT_PAYLOAD_MB,
)

SEE_LOGS = "See job logs for more information"
MAX_MESSAGE = 500
TOO_MANY_REQUESTS = 429
# Storage answers in milliseconds: two threads keep ahead of any model, and leave it the cores.
STORAGE_THREADS = 2


@dataclass(frozen=True)
class Terms:
    """How objects are sent and results written."""

    headers: dict[str, str]
    concurrent: int
    payload_mb: int
    timeout_s: float
    retries: int
    output: Address
    line_ends: bool

    @property
    def payload_bytes(self) -> int | None:
        """The largest object that is sent; None for no limit (MaxPayloadInMB 0)."""
        return self.payload_mb * BYTES_PER_MB or None


def agree_terms(description: Json, offered: Json) -> Terms:
    """The request's settings, else what the container offers, else SageMaker's defaults."""
    concurrent = description.get("MaxConcurrentTransforms") or _count(
        offered.get("MaxConcurrentTransforms"), default=1
    )
    payload_mb = description.get("MaxPayloadInMB")
    if payload_mb is None:
        payload_mb = _count(offered.get("MaxPayloadInMB"), default=DEFAULT_PAYLOAD_MB)
    client = description.get("ModelClientConfig", {})
    output = description["TransformOutput"]
    types = {
        "Content-Type": description["TransformInput"].get("ContentType"),
        "Accept": output.get("Accept"),
    }
    return Terms(
        headers={name: value for name, value in types.items() if value},
        concurrent=concurrent,
        payload_mb=payload_mb,
        timeout_s=client.get("InvocationsTimeoutInSeconds", DEFAULT_INVOCATION_TIMEOUT_S),
        retries=client.get("InvocationsMaxRetries", DEFAULT_INVOCATION_RETRIES),
        output=Address.parse(output["S3OutputPath"]),
        line_ends=output.get("AssembleWith") == "Line",
    )


def _count(value: object, default: int) -> int:
    return value if isinstance(value, int) and value > 0 else default


def result_address(entry: Entry, output: Address) -> Address:
    """`<S3OutputPath>/<relative key>.out`."""
    folder = output.key.rstrip("/")
    name = f"{entry.relative}.out"
    return Address(output.bucket, f"{folder}/{name}" if folder else name)


def result_body(answer: Answer, terms: Terms) -> bytes:
    """What is written for an answer; AssembleWith Line ends it with a newline."""
    if terms.line_ends and not answer.body.endswith(b"\n"):
        return answer.body + b"\n"
    return answer.body


class _ObjectError(Exception):
    """One object gets no result; `lines` go to the data log, `on_client` says whose fault it is."""

    def __init__(self, *lines: str, on_client: bool) -> None:
        super().__init__(*lines)
        self.lines = lines
        self.on_client = on_client


class _AbandonedError(Exception):
    """The job ends before this object is done: no result, no reason."""


class DataLog:
    """The job's data log, in the wording of SageMaker's. Thread-safe."""

    def __init__(self, path: Path, terms: Terms, strategy: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._write(
            f"MaxConcurrentTransforms={terms.concurrent}, MaxPayloadInMB={terms.payload_mb}, "
            f"BatchStrategy={strategy}"
        )

    def failed(self, address: Address, lines: Sequence[str]) -> None:
        """Say why one object has no result."""
        self._write(*(f"{address.bucket}/{address.key}: {line}" for line in lines))

    def _write(self, *lines: str) -> None:
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.writelines(f"{stamp}:[sagemaker logs]: {line}\n" for line in lines)


class Invocations:
    """One pass over the objects of a job."""

    def __init__(self, job: Job, server: ModelServer, program: Program, terms: Terms) -> None:
        self._job = job
        self._server = server
        self._program = program
        self._terms = terms
        self._abandon = threading.Event()
        self._lock = threading.Lock()
        self._blames: set[type[JobError]] = set()
        strategy = job.record.description.get("BatchStrategy", "MultiRecord")
        wording = {"SingleRecord": "SINGLE_RECORD"}.get(strategy, "MULTI_RECORD")
        self._log = DataLog(job.folder.data_log, terms, wording)

    def run(self, entries: Sequence[Entry]) -> None:
        """Send them all. Raises JobError if one failed or the server ended; and as `check` does."""
        senders = max(1, min(self._terms.concurrent, len(entries)))
        with (
            WriteBehind(depth=2 * senders, threads=STORAGE_THREADS) as written,
            ReadAhead(self._payload, entries, depth=senders, threads=STORAGE_THREADS) as ahead,
            ThreadPoolExecutor(senders, thread_name_prefix="invoke") as pool,
        ):
            try:
                self._wait(
                    [pool.submit(self._work, ahead, written) for _ in range(senders)], written
                )
            except BaseException:
                # End the requests that are under way, instead of waiting for their time-out.
                self._abandon.set()
                self._program.kill()
                raise
        _raise(written.fault)
        if self._blames:
            blame = AlgorithmJobError if AlgorithmJobError in self._blames else ClientJobError
            raise blame(SEE_LOGS)

    def _wait(self, senders: list[Future[None]], written: WriteBehind) -> None:
        while True:
            ended, working = wait(senders, timeout=self._job.tools.timing.poll_s)
            for sender in ended:
                sender.result()
            _raise(written.fault)
            if not working:
                return
            self._job.control.check()
            exit_code = self._program.exit_code()
            if exit_code is not None:
                raise AlgorithmJobError(f"Model container ended, exit code: {exit_code}")

    def _work(self, ahead: ReadAhead[Entry, bytes], written: WriteBehind) -> None:
        while not self._abandon.is_set():
            taken = ahead.take()
            if taken is None:
                return
            entry, payload = taken
            try:
                answer = self._answer(payload.result())
            except _ObjectError as failure:
                self._log.failed(entry.address, failure.lines)
                self._blames.add(ClientJobError if failure.on_client else AlgorithmJobError)
                self._job.progress.count_one()
            except (_AbandonedError, CancelledError):
                return
            else:
                written.put(partial(self._write, entry, answer))

    def _write(self, entry: Entry, answer: Answer) -> None:
        address = result_address(entry, self._terms.output)
        self._job.tools.objects.write(address, result_body(answer, self._terms))
        self._job.progress.count_one()

    def _payload(self, entry: Entry) -> bytes:
        try:
            return self._job.tools.objects.read(entry.address, self._terms.payload_bytes)
        except TooLargeError as fault:
            reason = f"ClientError: 413, {fault.text}, MaxPayloadInMB is {self._terms.payload_mb}"
            raise _ObjectError(reason, on_client=True) from fault
        except ClientJobError as fault:
            raise _ObjectError(str(fault), on_client=True) from fault

    def _answer(self, payload: bytes) -> Answer:
        """The container's answer; 5xx, 429 and silence are tried again, a refusal (4xx) is not."""
        failure, asked_to_wait_s = _ObjectError(on_client=False), None
        for attempt in range(self._terms.retries + 1):
            if attempt:
                self._abandon.wait(wait_before(attempt, asked_to_wait_s, self._job.tools.timing))
            if self._abandon.is_set():
                raise _AbandonedError
            try:
                answer = self._server.invoke(payload, self._terms.headers, self._terms.timeout_s)
            except NoAnswerError as silence:
                failure, asked_to_wait_s = _unanswered(silence, self._terms), None
                continue
            if answer.status < 300:
                return answer
            failure, asked_to_wait_s = _refused(answer), answer.retry_after_s
            if answer.status < 500 and answer.status != TOO_MANY_REQUESTS:
                raise failure
        if self._abandon.is_set() or self._job.control.interrupted:
            raise _AbandonedError
        raise failure


def wait_before(attempt: int, asked_s: float | None, timing: Timing) -> float:
    """Seconds before the retry of this number (from 1): as the container asks, or doubling.

    Never longer than `timing.retry_most_s`.
    """
    doubling = timing.retry_first_s * 2.0 ** (attempt - 1)
    return min(doubling if asked_s is None else asked_s, timing.retry_most_s)


def _raise(fault: BaseException | None) -> None:
    if fault is not None:
        raise fault


def _refused(answer: Answer) -> _ObjectError:
    if answer.status < 500:
        return _ObjectError(
            f"ClientError: {answer.status}", "Message:", _one_line(answer), on_client=True
        )
    reason = f"Bad HTTP status received from algorithm: {answer.status}"
    return _ObjectError(reason, on_client=False)


def _unanswered(silence: NoAnswerError, terms: Terms) -> _ObjectError:
    if silence.timed_out:
        return _ObjectError(
            "Model server did not respond to /invocations request within "
            f"{terms.timeout_s:g} seconds",
            on_client=False,
        )
    return _ObjectError("Unable to get response from algorithm", on_client=False)


def _one_line(answer: Answer) -> str:
    return " ".join(answer.body.decode("utf-8", errors="replace").split())[:MAX_MESSAGE]
