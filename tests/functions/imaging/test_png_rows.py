"""A PNG whose stream of pixels ends too soon is damaged, however orderly it ends."""

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.functions.test_pictures import SIGNATURE, chunk
from tomodrop.errors import UploadRejected
from tomodrop.imaging.limits import Limits
from tomodrop.imaging.pictures import decode

# Adam7: first row, first column, steps (PNG specification, section 8.1).
PASSES = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
PASSES += [(1, 0, 2, 1)]
# Colour type and depth, and bytes per pixel; 1 bit by itself.
KINDS = {
    "grey": (0, 8, 1),
    "deep grey": (0, 16, 2),
    "colour": (2, 8, 3),
    "deep colour": (2, 16, 6),
    "palette": (3, 8, 1),
    "grey and alpha": (4, 8, 2),
    "colour and alpha": (6, 8, 4),
}


def rows_of(samples: NDArray[np.uint8], *, interlaced: bool) -> bytes:
    """Samples (height, width, bytes per pixel) without a filter."""
    passes = PASSES if interlaced else [(0, 0, 1, 1)]
    parts = [samples[row::down, column::across] for row, column, down, across in passes]
    return b"".join(b"\0" + row.tobytes() for part in parts if part.size for row in part)


def png_of(kind: str, size: tuple[int, int], stream: bytes, *, interlaced: bool) -> bytes:
    colour, depth, _ = KINDS[kind]
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, interlaced)
    palette = chunk(b"PLTE", bytes(grey for index in range(256) for grey in [index] * 3))
    return (
        SIGNATURE
        + chunk(b"IHDR", header)
        + (palette if kind == "palette" else b"")
        + b"".join(chunk(b"IDAT", stream[place : place + 1000]) for place in (0, 1000, 2000))
        + chunk(b"IDAT", stream[3000:])
        + chunk(b"IEND", b"")
    )


def samples_of(kind: str, size: tuple[int, int], *, white: bool) -> NDArray[np.uint8]:
    shape = (size[1], size[0], KINDS[kind][2])
    if white:
        return np.full(shape, 255, np.uint8)
    grey: Any = np.random.default_rng(3).integers(16, 240, (size[1], size[0], 1))
    return np.broadcast_to(grey, shape).astype(np.uint8)


@pytest.mark.parametrize("white", [False, True], ids=["any", "white"])
@pytest.mark.parametrize("interlaced", [False, True], ids=["plain", "interlaced"])
@pytest.mark.parametrize("size", [(40, 33), (33, 40)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_read_if_it_is_whole(
    kind: str, size: tuple[int, int], *, interlaced: bool, white: bool
) -> None:
    rows = rows_of(samples_of(kind, size, white=white), interlaced=interlaced)

    def read(pixels: bytes) -> tuple[int, ...]:
        picture = png_of(kind, size, zlib.compress(pixels), interlaced=interlaced)
        return decode(picture, Limits()).pages[0].shape

    assert read(rows) == size[::-1]
    assert read(rows + b"more") == size[::-1]
    for kept in (len(rows) - 1, len(rows) - 50, len(rows) // 2, 100, 0):
        with pytest.raises(UploadRejected, match="damaged_image"):
            read(rows[:kept])


@given(st.integers(33, 70), st.integers(33, 70), st.booleans(), st.data())
def test_no_row_is_missed(width: int, height: int, interlaced: bool, data: st.DataObject) -> None:
    rows = rows_of(samples_of("grey", (width, height), white=False), interlaced=interlaced)
    kept = data.draw(st.integers(0, len(rows) - 1))
    cut = png_of("grey", (width, height), zlib.compress(rows[:kept]), interlaced=interlaced)
    with pytest.raises(UploadRejected, match="damaged_image"):
        decode(cut, Limits())
