"""What goes between the function's process, the warm process and a child. Nobody waits for ever.

Messages (a kind, a length, a short text, perhaps descriptors) go over a Unix socket between the
function and the warm process. Bytes of uploads and answers go over pipes between the function and
the child alone.
"""

import contextlib
import fcntl
import os
import select
import socket
import struct
import time

_HEADER = struct.Struct(">cI")
_SIZE = struct.Struct(">Q")
_MOST_AT_ONCE = 1024 * 1024
_MOST_DESCRIPTORS = 2

# The warm process says: a child waits (with the pipes to it), it ended, there will be none.
CHILD, END, FAILED = b"C", b"E", b"F"
# The function says: an upload comes, with so many seconds; end the child.
BEGIN, STOP = b"B", b"S"


def widen(descriptor: int) -> None:
    """Let a pipe hold much, so that its ends seldom wait for each other."""
    with contextlib.suppress(AttributeError, OSError):  # only Linux, and not beyond a quota
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _MOST_AT_ONCE)


def wait(descriptor: int, event: int, deadline: float | None) -> None:
    """Until a descriptor can be read (POLLIN) or written (POLLOUT).

    `deadline`: on the monotonic clock; None waits for ever. Raises TimeoutError.
    """
    left_ms = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
    poll = select.poll()
    poll.register(descriptor, event)
    if not poll.poll(left_ms):
        raise TimeoutError


def send(channel: socket.socket, kind: bytes, text: bytes = b"", *descriptors: int) -> None:
    """Send one message; it is short, so that a socket takes it at once."""
    socket.send_fds(channel, [_HEADER.pack(kind, len(text)) + text], descriptors)


def receive(
    channel: socket.socket, deadline: float | None = None
) -> tuple[bytes, bytes, tuple[int, ...]]:
    """The next message's kind, text and descriptors.

    Raises TimeoutError, and EOFError when the other end is gone.
    """
    wait(channel.fileno(), select.POLLIN, deadline)
    header, descriptors, _, _ = socket.recv_fds(channel, _HEADER.size, _MOST_DESCRIPTORS)
    if len(header) < _HEADER.size:
        raise EOFError
    kind, length = _HEADER.unpack(header)
    text = channel.recv(length, socket.MSG_WAITALL) if length else b""
    return kind, text, tuple(descriptors)


def write_upload(pipe: int, body: bytes, deadline: float) -> None:
    """Write an upload into a pipe. Raises TimeoutError, and BrokenPipeError if nobody reads."""
    os.set_blocking(pipe, False)
    for part in (_SIZE.pack(len(body)), body):
        left = memoryview(part)
        while left:
            try:
                left = left[os.write(pipe, left[:_MOST_AT_ONCE]) :]
            except BlockingIOError:
                wait(pipe, select.POLLOUT, deadline)


def read_upload(pipe: int) -> bytes:
    """What `write_upload` wrote; waits until it comes. Raises EOFError if it does not all come."""
    # A buffered reader fills one object of the right size, so that nothing is copied twice.
    with open(pipe, "rb", buffering=8192, closefd=False) as stream:
        size = stream.read(_SIZE.size)
        body = stream.read(*_SIZE.unpack(size)) if len(size) == _SIZE.size else b""
        if len(size) < _SIZE.size or len(body) < _SIZE.unpack(size)[0]:
            raise EOFError
        return body


def read_answer(pipe: int, most: int, deadline: float) -> bytes:
    """All that a child writes until it closes its pipe.

    Raises TimeoutError, and OverflowError when there are more than `most` bytes.
    """
    parts: list[bytes] = []
    while True:
        wait(pipe, select.POLLIN, deadline)
        part = os.read(pipe, _MOST_AT_ONCE)
        if not part:
            # What came in one part is not copied.
            return b"".join(parts)
        parts.append(part)
        most -= len(part)
        if most < 0:
            raise OverflowError


def write_all(pipe: int, body: bytes) -> None:
    """Write everything; waits as long as that takes."""
    left = memoryview(body)
    while left:
        left = left[os.write(pipe, left) :]
