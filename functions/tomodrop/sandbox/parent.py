"""The function's side: hand an upload to the zygote, and judge what comes back."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from typing import Self

from aws_lambda_powertools import Logger

from tomodrop.errors import SandboxError, UploadRejected
from tomodrop.imaging.limits import Limits
from tomodrop.imaging.normalised import NormalisedSlice
from tomodrop.sandbox import wire
from tomodrop.sandbox.answers import BadAnswer, DecoderFailed, parse
from tomodrop.sandbox.bounds import NORMALISE, Bounds, Setup
from tomodrop.sandbox.confinement import hide_from_others

logger = Logger(child=True)

# A cold, busy machine needs long to read the decoders from its disk.
_STARTING_S = 60.0
# What the zygote may take beyond a child's time, to take an upload and to end the child.
_GRACE_S = 15.0
# What an interpreter needs to find its libraries; no credentials, no addresses, no settings.
_KEPT_VARIABLES = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TZ")
# One upload has one processor. A library's own threads would only make forking unsafe.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class _ZygoteGone(Exception):
    """The warm process ended, or does not answer and was ended."""


class Sandbox:
    """Decodes uploads in limited processes. For one thread at a time.

    The warm process starts with the first call of `start` or `normalise`, and again whenever it is
    found dead. `close` ends it; it also ends when the process that started it does.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        limits: Limits | None = None,
        bounds: Bounds | None = None,
        decode: str = NORMALISE,
    ) -> None:
        self._setup = Setup(
            image_shape=image_shape,
            parent=os.getpid(),
            decode=decode,
            limits=limits or Limits(),
            bounds=bounds or Bounds(),
        )
        self._zygote: _Zygote | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the warm process, without waiting until it is warm."""
        if self._zygote is None:
            self._zygote = _Zygote(replace(self._setup, parent=os.getpid()))

    def close(self) -> None:
        """End the warm process. It can be started again."""
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None

    def normalise(self, body: bytes, seconds: float | None = None) -> list[NormalisedSlice]:
        """Every slice in an upload, as `imaging.normaliser.normalise` makes them.

        `seconds`: how long it may take, if not as long as the bounds say.

        Raises
        ------
        UploadRejected
            What the normaliser says, or `decoder_crashed`, `decode_timeout`, `decode_memory`.
        SandboxError
            The warm process does not start: nothing is known of the upload.
        """
        given_s = self._setup.bounds.seconds if seconds is None else seconds
        try:
            how, answer = self._decoded(body, given_s)
        except _ZygoteGone:
            how, answer = "gone", b""
        if how == "timeout":
            raise timed_out(given_s)
        if how == "memory":
            raise out_of_memory(self._setup.bounds)
        return self._judged(how, answer)

    def _judged(self, how: str, answer: bytes) -> list[NormalisedSlice]:
        setup = self._setup
        try:
            if how != "0":
                raise BadAnswer(f"the child ended with {how}")
            return parse(answer, setup.image_shape, setup.limits.max_planes)
        except BadAnswer as fault:
            logger.warning("a decoder broke down", extra={"reason": str(fault)})
            raise crashed() from None
        except DecoderFailed as fault:
            if fault.kind == "memory":
                raise out_of_memory(setup.bounds) from None
            logger.warning("a decoder broke down", extra={"reason": fault.kind})
            raise crashed() from None

    def _decoded(self, body: bytes, seconds: float) -> tuple[str, bytes]:
        """How the child ended, and what it wrote. A dead warm process is replaced once."""
        try:
            return self._decoded_once(body, seconds)
        except _ZygoteGone:
            logger.warning("the warm process was gone and is started again")
            return self._decoded_once(body, seconds)

    def _decoded_once(self, body: bytes, seconds: float) -> tuple[str, bytes]:
        self.start()
        assert self._zygote is not None
        try:
            return self._zygote.decode(body, seconds)
        except (SandboxError, _ZygoteGone):
            self.close()
            raise


class _Zygote:
    """One warm process and the pipes to it."""

    def __init__(self, setup: Setup) -> None:
        hide_from_others()
        self._setup = setup
        self._is_warm = False
        # -s -P: neither the user's packages nor the working directory are on its path.
        command = [sys.executable, "-s", "-P", "-m", "tomodrop.sandbox.zygote", setup.to_json()]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._replies = self._process.stdin, self._process.stdout
        wire.prepare(self._requests.fileno(), self._replies.fileno())

    def decode(self, body: bytes, seconds: float) -> tuple[str, bytes]:
        """How the child for this upload ended ("0", "timeout", …), and all that it wrote."""
        self._wait_until_warm()
        deadline = time.monotonic() + seconds + _GRACE_S
        try:
            given = json.dumps(seconds).encode()
            wire.send(self._requests.fileno(), wire.SECONDS, given, deadline)
            wire.send(self._requests.fileno(), wire.UPLOAD, body, deadline)
            return self._receive(deadline)
        except (EOFError, OSError):  # TimeoutError and BrokenPipeError are OSErrors
            raise _ZygoteGone from None

    def _receive(self, deadline: float) -> tuple[str, bytes]:
        parts: list[bytes] = []
        while True:
            kind, part = wire.receive(self._replies.fileno(), deadline)
            if kind == wire.END:
                return str(json.loads(part)["how"]), b"".join(parts)
            parts.append(part)

    def _wait_until_warm(self) -> None:
        if self._is_warm:
            return
        try:
            kind, text = wire.receive(self._replies.fileno(), time.monotonic() + _STARTING_S)
        except (EOFError, TimeoutError):
            kind, text = wire.FAILED, b"it ended, or took too long"
        if kind != wire.READY:
            message = (
                f"the decoders' process does not start ({text.decode(errors='replace')}): "
                f"'{self._setup.decode}' cannot be imported; check what the bundle holds"
            )
            raise SandboxError(message)
        self._is_warm = True

    def close(self) -> None:
        """End it, whatever it is doing, and its child with it."""
        self._process.kill()
        self._process.wait()
        self._requests.close()
        self._replies.close()


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return kept | _ONE_THREAD | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def crashed() -> UploadRejected:
    """Why an upload that broke its decoder is not classified."""
    return UploadRejected(
        "decoder_crashed",
        "The file broke the program that decodes it.",
        "The file is damaged, or made to do harm. Export the image anew and upload that.",
    )


def timed_out(seconds: float) -> UploadRejected:
    """Why an upload whose decoding did not end is not classified."""
    return UploadRejected(
        "decode_timeout",
        f"Decoding the file was stopped after {seconds:g} seconds.",
        "Upload fewer slices in one file, or raise the parameter DecodeSeconds.",
    )


def out_of_memory(bounds: Bounds) -> UploadRejected:
    """Why an upload that takes too much memory is not classified."""
    return UploadRejected(
        "decode_memory",
        f"Decoding the file takes more than {bounds.memory_mb} MiB of memory.",
        "Upload fewer slices in one file, or raise the parameter DecodeMemoryMb.",
    )
