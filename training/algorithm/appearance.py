"""How a picture looks, whatever it shows: its greys, its texture, its layout.

A network learns to see past window, sharpness and framing, so its features alone miss a slice
that differs in these. The measures are those of any image size, from pixels as the network gets
them, and each is a vector with a meaning of its own.
"""

from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Levels: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float32]

_LEVELS = 16
_RINGS = 12
_CELLS = 8
_LEAST_POWER = 1e-3


def grey(images: Levels) -> Floats:
    """Return the mean over channels as 0…1, (N, H, W), of images (N, H, W, C)."""
    means: Floats = images.mean(axis=3, dtype=np.float32)
    return means / np.float32(255)


def level_shares(pictures: Floats) -> Floats:
    """Return the root of the share of pixels in each of 16 bands of grey, (N, 16).

    The root (as in Hellinger's distance) keeps the rare bands from vanishing beside the black.
    """
    bands = np.minimum((pictures * _LEVELS).astype(np.int64), _LEVELS - 1)
    flat = bands.reshape(len(bands), -1)
    counts = np.stack([np.bincount(row, minlength=_LEVELS) for row in flat])
    return np.sqrt(counts / flat.shape[1]).astype(np.float32)


def texture(pictures: Floats) -> Floats:
    """Return the mean power in 12 rings of spatial frequency, as log10, (N, 12).

    The rings go from one wave per picture to one in two pixels, each as much wider than the last.
    In small pictures a ring may be without a frequency, and has the least power.
    """
    window, rings = _window(*pictures.shape[1:]), _rings(*pictures.shape[1:])
    flat = pictures - pictures.mean(axis=(1, 2), keepdims=True)
    power = np.square(np.abs(np.fft.fft2(flat * window)))
    means = power.reshape(len(power), -1) @ rings
    return np.asarray(np.log10(np.maximum(means, _LEAST_POWER)), dtype=np.float32)


def layout(pictures: Floats) -> Floats:
    """Return the mean grey of 8 x 8 cells, (N, 64)."""
    down, across = (_cells(length) for length in pictures.shape[1:])
    return np.asarray(down @ pictures @ across.T, dtype=np.float32).reshape(len(pictures), -1)


@lru_cache
def _window(height: int, width: int) -> Floats:
    """Fade the edges, which would look like texture."""
    return np.outer(np.hanning(height), np.hanning(width)).astype(np.float32)


@lru_cache
def _cells(length: int) -> Floats:
    """Return what each pixel of a side (columns) adds to the mean of each cell (rows)."""
    shares = np.zeros((_CELLS, length), np.float32)
    for cell in range(_CELLS):
        start, end = cell * length // _CELLS, -(-(cell + 1) * length // _CELLS)
        shares[cell, start:end] = 1 / (end - start)
    return shares


@lru_cache
def _rings(height: int, width: int) -> Floats:
    """Return what each frequency (rows) adds to the mean of each ring (columns)."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    lowest = 1 / max(height, width)
    edges = lowest * (0.5 / lowest) ** (np.arange(_RINGS + 1) / _RINGS)
    flat = frequency.reshape(-1, 1)
    # The lowest frequency must not be rounded out of its ring.
    rings = (flat >= edges[:-1] * (1 - 5e-7)) & (flat < edges[1:])
    shares: Floats = (rings / np.maximum(rings.sum(axis=0), 1)).astype(np.float32)
    return shares
