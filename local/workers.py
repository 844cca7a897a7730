"""Worker processes: one per concurrent invocation, kept warm between invocations.

A worker is `local/worker_main.py` under the leash, with nothing but the function's environment. It
records the function's AWS calls (`local/calls.py`) beside the log. A
handler that raises leaves its worker warm; one that runs past the time limit, or whose process
dies, costs the worker, as on Lambda.
"""

import json
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.errors import CloudStoppedError, FunctionFailedError
from local.functions import Function
from local.leash import KILLED_BY_SIGNAL, leashed

WORKER_MAIN = Path(__file__).with_name("worker_main.py")
# Lambda allows 10 s; a busy small machine needs longer to import boto3 and numpy.
INIT_LIMIT_S = 120.0
# Lambda keeps idle workers for some minutes.
IDLE_LIMIT_S = 120.0
LONGEST_READ = 1024 * 1024
LARGEST_LOG_BYTES = 20 * 1024 * 1024


@dataclass(frozen=True)
class Outcome:
    """How an invocation ended: `error` is Lambda's payload of a failure, None on success."""

    request_id: str
    result: Any = None
    error: dict[str, Any] | None = None


class _WorkerGoneError(Exception):
    """The worker's process ended. `timed_out`: because it was too slow, and we ended it."""

    def __init__(self, *, timed_out: bool) -> None:
        self.timed_out = timed_out
        super().__init__()


class Worker:
    """One process. Not safe for two threads at once: a pool lends it to one invocation."""

    def __init__(self, function: Function, environment: Mapping[str, str], log: Path) -> None:
        self._function = function
        self._log = log
        self._buffer = b""
        self.idle_since = time.monotonic()
        request_read, self._requests = os.pipe()
        self._answers, answer_write = os.pipe()
        ends = (request_read, answer_write)
        recorded = (str(calls_file(log)), function.account)
        # -s -P: neither the user's packages nor this file's folder are on a function's path.
        command = [sys.executable, "-s", "-P", str(WORKER_MAIN), *map(str, ends), *recorded]
        with log.open("ab") as log_file:
            self._process = subprocess.Popen(
                leashed(command),
                stdin=subprocess.PIPE,
                stdout=log_file,
                stderr=log_file,
                env=dict(environment),
                pass_fds=ends,
            )
        for end in ends:
            os.close(end)
        self._initialised = False

    def invoke(self, event: Any, request_id: str) -> Outcome:
        """Run the handler on an event. Never raises for what the function does."""
        limit_s = self._function.timeout_s
        try:
            if not self._initialised:
                started = self._receive(INIT_LIMIT_S)
                if "error" in started:
                    self.kill()
                    return Outcome(request_id, error=started["error"])
                self._initialised = True
            self._send(event, request_id, limit_s)
            answer = self._receive(limit_s)
        except _WorkerGoneError as gone:
            return Outcome(request_id, error=self._died(request_id, gone, limit_s))
        return Outcome(request_id, answer.get("result"), answer.get("error"))

    @property
    def alive(self) -> bool:
        """Whether it can take another invocation."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End the process and everything it started. Safe to call twice, and from any thread."""
        stdin = self._process.stdin
        assert stdin is not None
        stdin.close()  # the leash kills the group
        self._process.wait()

    def close(self) -> None:
        """Kill, and let go of the pipes. The thread that has the worker calls it, once."""
        self.kill()
        os.close(self._requests)
        os.close(self._answers)

    def _send(self, event: Any, request_id: str, limit_s: float) -> None:
        request = {
            "event": event,
            "request_id": request_id,
            "function_arn": self._function.arn,
            "deadline_s": time.time() + limit_s,
            # Not sampled: there is nobody to send traces to.
            "trace_header": f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)}"
            f";Parent={secrets.token_hex(8)};Sampled=0",
        }
        content = json.dumps(request).encode() + b"\n"
        try:
            while content:
                content = content[os.write(self._requests, content) :]
        except BrokenPipeError as error:
            raise _WorkerGoneError(timed_out=False) from error

    def _receive(self, limit_s: float) -> dict[str, Any]:
        """The next line of the worker; raises _WorkerGoneError at its end or the limit."""
        deadline = time.monotonic() + limit_s
        while b"\n" not in self._buffer:
            left_s = max(0.0, deadline - time.monotonic())
            readable, _, _ = select.select([self._answers], [], [], left_s)
            if not readable:
                self.kill()
                raise _WorkerGoneError(timed_out=True)
            part = os.read(self._answers, LONGEST_READ)
            if not part:
                self.kill()
                raise _WorkerGoneError(timed_out=False)
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _died(self, request_id: str, gone: _WorkerGoneError, limit_s: float) -> dict[str, Any]:
        """Lambda's words for a worker that did not answer; also written to its log."""
        if gone.timed_out:
            kind, what = "Sandbox.Timedout", f"Task timed out after {limit_s:.2f} seconds"
        else:
            kind = "Runtime.ExitError"
            what = f"Runtime exited with error: {_exit_text(self._process.returncode)}"
        message = f"RequestId: {request_id} Error: {what}"
        with self._log.open("a", encoding="utf-8") as log_file:
            log_file.write(message + "\n")
        return {"errorType": kind, "errorMessage": message}


def _exit_text(code: int) -> str:
    ended_by = signal.strsignal(code - KILLED_BY_SIGNAL) if code > KILLED_BY_SIGNAL else None
    return f"signal: {ended_by.lower()}" if ended_by else f"exit status {code}"


def calls_file(log: Path) -> Path:
    """Where a function's AWS calls are recorded, beside its log."""
    return log.with_suffix(".calls.jsonl")


class WorkerPool:
    """The workers of one function. At most `capacity` run at once; further invocations wait."""

    def __init__(
        self, function: Function, environment: Mapping[str, str], log: Path, capacity: int
    ) -> None:
        self.function = function
        self.environment = dict(environment)
        self._log = log
        self._capacity = capacity
        self._changed = threading.Condition()
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()
        self._stopping = False

    @property
    def running(self) -> int:
        """Invocations that run now."""
        with self._changed:
            return len(self._busy)

    def invoke(self, event: Any) -> Outcome:
        """Run the function on an event in a free worker, and wait for it.

        Raises CloudStoppedError if the pool stops before the function has answered.
        """
        worker = self._take()
        outcome = worker.invoke(event, str(uuid.uuid4()))
        self._give_back(worker)
        if outcome.error is not None and self._stopping and not worker.alive:
            raise CloudStoppedError(f"{self.function.logical_id} was ended with its cloud.")
        return outcome

    def call(self, event: Any) -> Any:
        """Like `invoke`, but returns the result; raises FunctionFailedError when there is none."""
        outcome = self.invoke(event)
        if outcome.error is not None:
            raise FunctionFailedError(self.function.logical_id, outcome.error)
        return outcome.result

    def end_idle(self, longer_than_s: float = IDLE_LIMIT_S) -> None:
        """End the workers that had nothing to do for so long."""
        now = time.monotonic()
        with self._changed:
            kept = [entry for entry in self._idle if now - entry.idle_since < longer_than_s]
            ended = [entry for entry in self._idle if entry not in kept]
            self._idle = kept
        for worker in ended:
            worker.close()

    def turn_log(self, largest_bytes: int = LARGEST_LOG_BYTES) -> None:
        """Set logs that have grown too large aside; those set aside before are dropped."""
        for log in (self._log, calls_file(self._log)):
            if log.exists() and log.stat().st_size > largest_bytes:
                shutil.copyfile(log, log.with_name(f"{log.name}.1"))
                os.truncate(log, 0)  # workers append to it, and go on doing so

    def stop(self, grace_s: float) -> None:
        """Start no more invocations, give running ones `grace_s`, then end every worker."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._busy, timeout=grace_s)
            unfinished = list(self._busy)
        for worker in unfinished:
            worker.kill()
        with self._changed:
            self._changed.wait_for(lambda: not self._busy)
        self.end_idle(longer_than_s=0.0)

    def _take(self) -> Worker:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or len(self._busy) < self._capacity)
            if self._stopping:
                raise CloudStoppedError(f"{self.function.logical_id}: the cloud is stopping.")
            while self._idle:
                worker = self._idle.pop()
                if worker.alive:
                    self._busy.add(worker)
                    return worker
                worker.close()
            worker = Worker(self.function, self.environment, self._log)
            self._busy.add(worker)
            return worker

    def _give_back(self, worker: Worker) -> None:
        worker.idle_since = time.monotonic()
        reusable = worker.alive
        if not reusable:
            worker.close()
        with self._changed:
            self._busy.discard(worker)
            if reusable:
                self._idle.append(worker)
            self._changed.notify_all()
