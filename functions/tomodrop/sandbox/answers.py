"""A child's answer: a JSON header with its length before it, then the PNGs. Never a pickle.

Here it is written; `judging` reads it, in the function's process, with what a child does not load.
"""

import json
import struct
from collections.abc import Iterable
from typing import Any

from tomodrop.errors import UploadRejected
from tomodrop.imaging.normalised import NormalisedSlice

LENGTH = struct.Struct(">Q")


def of_slices(slices: Iterable[NormalisedSlice]) -> bytes:
    """The answer of a child that decoded its upload."""
    made = list(slices)
    described = [
        {
            "png_bytes": len(one.png),
            "processing": one.processing,
            "warnings": one.warnings,
            "index": one.index,
            "position_mm": one.position_mm,
            "has_lung": one.has_lung,
            "pixels": one.pixels and one.pixels.model_dump(),
        }
        for one in made
    ]
    return b"".join([_header(kind="slices", slices=described), *(one.png for one in made)])


def of_rejection(fault: UploadRejected) -> bytes:
    """The answer of a child whose upload cannot be classified."""
    return _header(kind="rejected", code=fault.code, message=fault.message, remedy=fault.remedy)


def of_failure(error: BaseException) -> bytes:
    """The answer of a child whose decoder raised something else: its class, never its text."""
    is_memory = isinstance(error, MemoryError)
    return _header(kind="failed", error="memory" if is_memory else type(error).__name__)


def _header(**answer: Any) -> bytes:
    text = json.dumps({"answer": answer}, allow_nan=False).encode()
    return LENGTH.pack(len(text)) + text
