"""Reads Pipe mode: one FIFO per pass over a channel, a stream of RecordIO.

SageMaker makes ``<channel>_<n>`` when it is ready to feed pass n, so a reader polls for it. Every
wait is bounded, and ends early when the job is told to stop. What can go wrong has one error each:

* the FIFO never appears: :class:`PipeAbsentError`
* it is there and stays silent: :class:`PipeLateError`
* it ends inside a record: :class:`TruncatedRecordError`
* its bytes are not RecordIO: :class:`NotRecordIOError` (RecordWrapperType)
"""

import io
import os
import select
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from training.algorithm.failure import (
    NotRecordIOError,
    PipeAbsentError,
    PipeLateError,
    StoppedError,
    TruncatedRecordError,
)
from training.algorithm.records import read_records

_POLL_S = 0.05
_BUFFER_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a wait may last, and the events that end it at once."""

    timeout_s: float
    stops: tuple[threading.Event, ...] = ()

    def or_until(self, stop: threading.Event) -> "Patience":
        """Return the same patience with one more reason to end."""
        return Patience(self.timeout_s, (*self.stops, stop))

    def check_stop(self) -> None:
        """:raises StoppedError: when the wait is no longer wanted."""
        if any(stop.is_set() for stop in self.stops):
            raise StoppedError("told to stop while waiting for data")


def read_pipe(path: Path, patience: Patience, advice: str) -> Generator[bytes, None, None]:
    """Yield each record of the FIFO at ``path`` until its writer closes it.

    Closing the generator early closes the FIFO, which the feeder takes as "this pass is over".
    ``advice`` says which setting to look at when the bytes are not RecordIO.

    :raises JobFailedError: one of the errors listed at the top of this module.
    """
    with _open_fifo(path, patience) as stream:
        try:
            yield from read_records(stream)
        except NotRecordIOError as error:
            raise NotRecordIOError(f"{path.name}: {error}. {advice}") from error
        except TruncatedRecordError as error:
            raise TruncatedRecordError(f"{path.name}: {error}") from error


def _open_fifo(path: Path, patience: Patience) -> io.BufferedReader:
    deadline = time.monotonic() + patience.timeout_s
    while True:
        try:
            # Non-blocking, or open() would wait for a writer without a limit.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            break
        except FileNotFoundError:
            patience.check_stop()
            if time.monotonic() > deadline:
                raise PipeAbsentError(
                    f"no FIFO {path} after {patience.timeout_s:g} s: the channel's InputMode is "
                    "not Pipe, or nothing feeds it"
                ) from None
            time.sleep(_POLL_S)
    return io.BufferedReader(_FifoBytes(descriptor, path, patience), _BUFFER_BYTES)


class _FifoBytes(io.RawIOBase):
    """The bytes of a FIFO; ends when the last writer closes it, not before the first came."""

    def __init__(self, descriptor: int, path: Path, patience: Patience) -> None:
        self._descriptor = descriptor
        self._path = path
        self._patience = patience
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # RawIOBase's own call
        # poll() reports nothing until a writer has come; a bare read() would report the end.
        deadline = time.monotonic() + self._patience.timeout_s
        while not self._poll.poll(_POLL_S * 1000):
            self._patience.check_stop()
            if time.monotonic() > deadline:
                raise PipeLateError(f"{self._path} gave no data for {self._patience.timeout_s:g} s")
        return os.readv(self._descriptor, [buffer])

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()
