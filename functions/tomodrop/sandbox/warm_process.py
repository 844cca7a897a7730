"""The function's side of the warm process: hands its children uploads, and takes their answers."""

import json
import os
import socket
import subprocess
import sys
import time

from tomodrop.errors import SandboxError
from tomodrop.sandbox import wire
from tomodrop.sandbox.bounds import MIB, Setup
from tomodrop.sandbox.confinement import hide_from_others

# A cold, busy machine needs long to read the decoders from its disk.
_STARTING_S = 60.0
# What the warm process may take beyond a child's time, to end it.
_GRACE_S = 15.0
# What an interpreter needs to find its libraries; no credentials, no addresses, no settings.
_KEPT_VARIABLES = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TZ")
# One upload has one processor. A library's own threads would only make forking unsafe.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
# For GNU's allocator: a child lives too short to give memory back, and large pages (where the
# library is new enough) spare it most of the faults of memory that it touches first.
_ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(64 * MIB),
    "MALLOC_TRIM_THRESHOLD_": str(128 * MIB),
    "MALLOC_TOP_PAD_": str(MIB),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}


class WarmProcessGone(Exception):
    """The warm process ended, or does not answer and is to be ended."""


class WarmProcess:
    """One warm process and the socket to it."""

    def __init__(self, setup: Setup) -> None:
        hide_from_others()
        self._setup = setup
        self._channel, its_end = socket.socketpair()
        # -s -P: neither the user's packages nor the working directory are on its path.
        command = [sys.executable, "-s", "-P", "-m", "tomodrop.sandbox.zygote", setup.to_json()]
        with its_end:
            self._process = subprocess.Popen(
                command,
                stdin=its_end.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_environment(),
            )
        self._is_warm = False

    @property
    def process(self) -> int:
        """Its process id."""
        return self._process.pid

    def decode(self, body: bytes, seconds: float) -> tuple[str, bytes]:
        """How the child for this upload ended ("0", "timeout", …), and all that it wrote.

        Raises
        ------
        SandboxError
            The warm process cannot be started.
        WarmProcessGone
            Another may be.
        """
        upload, answer = self._child()
        deadline = time.monotonic() + seconds + _GRACE_S
        try:
            wire.send(self._channel, wire.BEGIN, json.dumps(seconds).encode())
            is_taken = _hand_over(body, upload, deadline)
            how, said = self._answer(answer, deadline)
        except (EOFError, OSError):  # TimeoutError and ConnectionError are OSErrors
            raise WarmProcessGone from None
        finally:
            os.close(answer)
        if not is_taken and not said and how != "timeout":
            # It was ended while it waited for something to do.
            raise WarmProcessGone
        return how, said

    def _child(self) -> tuple[int, int]:
        """The pipes to the child that waits."""
        limit_s = _GRACE_S if self._is_warm else _STARTING_S
        try:
            kind, text, pipes = wire.receive(self._channel, time.monotonic() + limit_s)
        except (EOFError, OSError):
            if self._is_warm:
                raise WarmProcessGone from None
            kind, text, pipes = wire.FAILED, b"it ended, or took too long", ()
        if kind != wire.CHILD:
            message = (
                f"the decoders' process does not start ({text.decode(errors='replace')}): "
                f"'{self._setup.decode}' cannot be imported; check what the bundle holds"
            )
            raise SandboxError(message)
        self._is_warm = True
        upload, answer = pipes
        return upload, answer

    def _answer(self, pipe: int, deadline: float) -> tuple[str, bytes]:
        try:
            said = wire.read_answer(pipe, self._setup.max_answer_bytes, deadline)
        except OverflowError:
            wire.send(self._channel, wire.STOP)
            said = b""
        _, how, _ = wire.receive(self._channel, deadline)
        return how.decode(), said

    def close(self) -> None:
        """End it, whatever it is doing, and its children with it."""
        self._process.kill()
        self._process.wait()
        self._channel.close()


def _hand_over(body: bytes, pipe: int, deadline: float) -> bool:
    """Whether the child took all of it."""
    try:
        wire.write_upload(pipe, body, deadline)
    except BrokenPipeError:
        return False
    finally:
        os.close(pipe)
    return True


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return kept | _ONE_THREAD | _ALLOCATOR | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
