"""The function's side: hand an upload to the warm process, and judge what comes back."""

import os
from dataclasses import replace
from typing import Self

from aws_lambda_powertools import Logger

from tomodrop.errors import SandboxError, UploadRejected
from tomodrop.imaging.formats import Family, family_of
from tomodrop.imaging.limits import Limits
from tomodrop.imaging.normalised import NormalisedSlice
from tomodrop.sandbox.bounds import NORMALISE, Bounds, Setup
from tomodrop.sandbox.judging import BadAnswer, DecoderFailed, parse
from tomodrop.sandbox.warm_process import WarmProcess, WarmProcessGone

logger = Logger(child=True)

# What pictures are called mostly.
_PICTURE_NAMES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".jp2", ".webp")


class Sandbox:
    """Decodes uploads in limited processes. For one thread at a time.

    A warm process starts with the first call of `start` or `normalise` for uploads of its family,
    and again whenever it is found dead. `close` ends all; they also end when the process that
    started them does.
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
        self._warm: dict[Family, WarmProcess] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def processes(self) -> dict[Family, int]:
        """The process ids of the warm processes."""
        return {family: warm.process for family, warm in self._warm.items()}

    def start(self, name: str) -> None:
        """Start the warm process that a file of this name needs, without waiting until it is warm.

        A wrong name does no harm: content decides which process is used.
        """
        self._started(Family.PICTURES if name.lower().endswith(_PICTURE_NAMES) else Family.ALL)

    def _started(self, family: Family) -> WarmProcess:
        if family not in self._warm:
            setup = replace(self._setup, family=family, parent=os.getpid())
            self._warm[family] = WarmProcess(setup)
        return self._warm[family]

    def close(self) -> None:
        """End the warm processes. They can be started again."""
        while self._warm:
            self._warm.popitem()[1].close()

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
        except WarmProcessGone:
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
        except WarmProcessGone:
            logger.warning("the warm process was gone and is started again")
            return self._decoded_once(body, seconds)

    def _decoded_once(self, body: bytes, seconds: float) -> tuple[str, bytes]:
        family = family_of(body)
        try:
            return self._started(family).decode(body, seconds)
        except (SandboxError, WarmProcessGone):
            self._warm.pop(family).close()
            raise


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
