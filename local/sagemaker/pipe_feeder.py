"""Pipe mode: one FIFO per channel and epoch, `<channel>_<epoch>`, fed while the program reads.

What a reader can rely on: epoch 0's FIFO is there before the program starts; epoch n+1's is there
when epoch n ends; one FIFO is one full pass, and its end of file means the pass is complete. A
reader may close early or never open a FIFO.
"""

import contextlib
import errno
import fcntl
import itertools
import os
import select
import threading
from collections.abc import Callable, Generator
from pathlib import Path

from local.sagemaker.errors import InternalJobError, JobError

OPEN_RETRY_S = 0.02
WRITE_WAIT_MS = 200
PIPE_BYTES = 1024 * 1024


class _EndedError(Exception):
    """`close` was called."""


class PipeFeeder(threading.Thread):
    """Feeds one channel until it is closed.

    Writers are never blocked for good: they open and write without blocking, and look whether they
    are still wanted.
    """

    def __init__(
        self, folder: Path, channel: str, epoch: Callable[[int], Generator[bytes]]
    ) -> None:
        super().__init__(name=f"pipe-{channel}", daemon=True)
        self.fault: JobError | None = None
        self._folder = folder
        self.channel = channel
        self._epoch = epoch
        self._ended = threading.Event()
        self._descriptor: int | None = None
        os.mkfifo(self._fifo(0))

    def run(self) -> None:
        """Feed epoch after epoch; a fault is kept in `fault`.

        After a fault the FIFO stays open: an end of file would tell the reader that a broken
        pass was a whole one.
        """
        try:
            for number in itertools.count():
                self._feed(number)
        except _EndedError:
            return
        except JobError as error:
            self.fault = error
        except Exception as error:  # noqa: BLE001 (a thread's edge: unsaid, the reader hangs)
            self.fault = InternalJobError(f"{type(error).__name__}: {error}")

    def close(self) -> None:
        """Stop feeding. The program must have ended, or be about to be killed."""
        self._ended.set()
        if self.is_alive():
            self.join()
        self._release()

    def _feed(self, number: int) -> None:
        fifo = self._fifo(number)
        self._descriptor = self._open(fifo)
        with (
            contextlib.closing(self._epoch(number)) as chunks,
            contextlib.suppress(BrokenPipeError),
        ):
            for chunk in chunks:
                self._write(self._descriptor, chunk)
        os.mkfifo(self._fifo(number + 1))
        self._release()
        # Nothing writes to it any more: who opened it now would wait for ever.
        fifo.unlink()

    def _open(self, fifo: Path) -> int:
        while not self._ended.is_set():
            try:
                descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                self._ended.wait(OPEN_RETRY_S)
                continue
            _widen(descriptor)
            return descriptor
        raise _EndedError

    def _write(self, descriptor: int, chunk: bytes) -> None:
        poller = select.poll()
        poller.register(descriptor, select.POLLOUT)
        rest = memoryview(chunk)
        while rest:
            if self._ended.is_set():
                raise _EndedError
            if not poller.poll(WRITE_WAIT_MS):
                continue
            with contextlib.suppress(BlockingIOError):
                rest = rest[os.write(descriptor, rest) :]

    def _release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _fifo(self, number: int) -> Path:
        return self._folder / f"{self.channel}_{number}"


def _widen(descriptor: int) -> None:
    """Fewer wake-ups for large records, where the system allows it (Linux, in a user's share)."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
