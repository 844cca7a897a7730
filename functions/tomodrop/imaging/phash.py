"""A perceptual hash of a slice, by which copies of it are found."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_HASH_SIDE = 16
_THUMBNAIL_SIDE = 4 * _HASH_SIDE


def _cosines() -> NDArray[np.float64]:
    """The lowest rows of the discrete cosine transform of type II, not normalised."""
    places = 2 * np.arange(_THUMBNAIL_SIDE) + 1
    frequencies = np.arange(_HASH_SIDE)[:, None]
    rows: NDArray[np.float64] = 2 * np.cos(math.pi * frequencies * places / (2 * _THUMBNAIL_SIDE))
    return rows


_COSINES = _cosines()


def phash(grey: Image.Image) -> str:
    """64 hex digits of an 8-bit grey picture (mode "L"), as imagehash's `phash(hash_size=16)`.

    Signs, about their median, of the lowest frequencies of the cosine transform of the picture at
    64 x 64. Which distance means a copy was measured for it, see `training/datasets`; imagehash
    itself would bring scipy into the bundle.
    """
    side = (_THUMBNAIL_SIDE, _THUMBNAIL_SIDE)
    small = np.asarray(grey.resize(side, Image.Resampling.LANCZOS), dtype=np.float64)
    # Rounded, or noise of the arithmetic would decide on what a plain picture has none of.
    lowest = (_COSINES @ small @ _COSINES.T).round(3)
    return np.packbits(lowest > np.median(lowest)).tobytes().hex()
