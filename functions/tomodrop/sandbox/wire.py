"""Messages over pipes: a kind, a length, the bytes. Both ends wait no longer than they are told."""

import contextlib
import fcntl
import os
import select
import struct
import time

_HEADER = struct.Struct(">cQ")
_MOST_AT_ONCE = 1024 * 1024

READY, FAILED, SECONDS, UPLOAD, DATA, END = b"R", b"F", b"S", b"U", b"D", b"E"


def prepare(*descriptors: int) -> None:
    """Let no read or write on these pipes block (`wait` does, with a limit), and widen them."""
    for descriptor in descriptors:
        os.set_blocking(descriptor, False)
        with contextlib.suppress(AttributeError, OSError):  # only Linux, and not beyond a quota
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _MOST_AT_ONCE)


def wait(descriptor: int, event: int, deadline: float | None) -> None:
    """Until the pipe can be read (POLLIN) or written (POLLOUT).

    `deadline`: on the monotonic clock; None waits for ever. Raises TimeoutError.
    """
    left_ms = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
    poll = select.poll()
    poll.register(descriptor, event)
    if not poll.poll(left_ms):
        raise TimeoutError


def write_all(descriptor: int, body: bytes, deadline: float | None = None) -> None:
    """Write everything. Raises TimeoutError, and BrokenPipeError when nobody reads any more."""
    left = memoryview(body)
    while left:
        try:
            left = left[os.write(descriptor, left[:_MOST_AT_ONCE]) :]
        except BlockingIOError:
            wait(descriptor, select.POLLOUT, deadline)


def read_some(descriptor: int, deadline: float | None = None) -> bytes:
    """The next bytes, none at the end. Raises TimeoutError."""
    wait(descriptor, select.POLLIN, deadline)
    return os.read(descriptor, _MOST_AT_ONCE)


def send(descriptor: int, kind: bytes, body: bytes, deadline: float | None = None) -> None:
    """Send one message. Raises like `write_all`."""
    write_all(descriptor, _HEADER.pack(kind, len(body)), deadline)
    write_all(descriptor, body, deadline)


def receive(descriptor: int, deadline: float | None = None) -> tuple[bytes, bytes]:
    """The next message's kind and bytes. Raises TimeoutError, and EOFError at the end."""
    kind, length = _HEADER.unpack(_read_exactly(descriptor, _HEADER.size, deadline))
    return kind, _read_exactly(descriptor, length, deadline)


def _read_exactly(descriptor: int, length: int, deadline: float | None) -> bytes:
    parts: list[bytes] = []
    while length:
        try:
            part = os.read(descriptor, min(length, _MOST_AT_ONCE))
        except BlockingIOError:
            wait(descriptor, select.POLLIN, deadline)
            continue
        if not part:
            raise EOFError
        parts.append(part)
        length -= len(part)
    # What came in one part is not copied.
    return b"".join(parts)
