"""Soft shapes, textures and vessels on a pixel grid: what the synthetic phantoms are drawn with.

Lengths are in units of half the image: x runs from -1 to 1 towards the viewer's right (the
patient's left), y from -1 at the sternum's side to 1 at the spine's. Every shape is a soft mask in
0..1, so that edges have the partial-volume look of a scanner's at any image size.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, cos, hypot, pi, sin

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]

IN_PLANE = 0.42


@dataclass(frozen=True)
class Grid:
    """The pixel centres of a square image, `size` pixels wide."""

    x: Field
    y: Field

    @classmethod
    def of(cls, size: int) -> "Grid":
        """A grid of `size` x `size` pixels."""
        axis = (np.arange(size, dtype=np.float32) + 0.5) * np.float32(2 / size) - np.float32(1)
        x, y = np.meshgrid(axis, axis)
        return cls(x, y)

    @property
    def size(self) -> int:
        """Width and height in pixels."""
        return len(self.x)

    @property
    def pixel(self) -> float:
        """Width of a pixel in half images."""
        return 2 / self.size


@dataclass(frozen=True)
class Oval:
    """A super-ellipse with an uneven edge: `wobble` holds (lobes, amplitude, phase)."""

    x: float
    y: float
    width: float
    height: float
    turn: float = 0.0
    power: float = 2.0
    wobble: tuple[tuple[int, float, float], ...] = ()

    def distance(self, grid: Grid) -> Field:
        """Roughly the signed distance to the edge, negative inside."""
        dx, dy = grid.x - np.float32(self.x), grid.y - np.float32(self.y)
        c, s = np.float32(cos(self.turn)), np.float32(sin(self.turn))
        u, v = (c * dx + s * dy) / self.width, (c * dy - s * dx) / self.height
        radius = (np.abs(u) ** self.power + np.abs(v) ** self.power) ** (1 / self.power)
        if self.wobble:
            angle = np.arctan2(v, u)
            for lobes, amplitude, phase in self.wobble:
                radius = radius * (1 + amplitude * np.cos(lobes * angle + phase))
        result: Field = ((radius - 1) * min(self.width, self.height)).astype(np.float32)
        return result

    def mask(self, grid: Grid, softness: float = 0.0) -> Field:
        """1 inside, 0 outside; the edge is `softness` wide, and at least 1.5 pixels."""
        edge = max(softness, 1.5 * grid.pixel)
        result: Field = np.clip(0.5 - self.distance(grid) / np.float32(edge), 0, 1)
        return result


def blend(image: Field, mask: Field, value: float | Field) -> None:
    """Paint `value` (HU) over `image`, in place, as strongly as `mask` (0..1) says."""
    image += mask * (value - image)


def smooth_noise(rng: np.random.Generator, size: int, scale: float) -> Field:
    """Random texture of mean 0 and spread 1 whose grains are `scale` wide (half-image units)."""
    white = rng.standard_normal((size, size), dtype=np.float32)
    field = np.fft.irfft2(np.fft.rfft2(white) * _low_pass(size, scale), s=(size, size))
    result: Field = ((field - field.mean()) / max(float(field.std()), 1e-9)).astype(np.float32)
    return result


@lru_cache(maxsize=16)
def _low_pass(size: int, scale: float) -> Field:
    """How much of each spatial frequency a Gaussian of width `scale` lets through."""
    frequency_y = np.fft.fftfreq(size)[:, None] * size / 2
    frequency_x = np.fft.rfftfreq(size)[None, :] * size / 2
    gain = np.exp(-2 * (pi * scale) ** 2 * (frequency_x**2 + frequency_y**2))
    result: Field = gain.astype(np.float32)
    return result


def draw_line(
    mask: Field, grid: Grid, start: tuple[float, float], end: tuple[float, float], width: float
) -> None:
    """Raise `mask` to 1 along a line of `width`; only the pixels near the line are touched."""
    size, edge = grid.size, max(width, 1.2 * grid.pixel)
    low_x, high_x = sorted((start[0], end[0]))
    low_y, high_y = sorted((start[1], end[1]))
    columns = slice(*(_index(v, size) for v in (low_x - edge, high_x + edge)))
    rows = slice(*(_index(v, size) for v in (low_y - edge, high_y + edge)))
    x, y = grid.x[rows, columns], grid.y[rows, columns]
    along_x, along_y = end[0] - start[0], end[1] - start[1]
    length2 = max(along_x**2 + along_y**2, 1e-9)
    share = np.clip(((x - start[0]) * along_x + (y - start[1]) * along_y) / length2, 0, 1)
    distance = np.hypot(x - start[0] - share * along_x, y - start[1] - share * along_y)
    strength = min(1.0, width / grid.pixel)  # thinner than a pixel: paler, not wider
    line = strength * np.clip(0.5 - (distance - edge / 2) / np.float32(grid.pixel), 0, 1)
    mask[rows, columns] = np.maximum(mask[rows, columns], line)


def _index(position: float, size: int) -> int:
    return min(max(ceil((position + 1) * size / 2), 0), size)


def vessel_tree(
    rng: np.random.Generator, grid: Grid, root: tuple[float, float], side: int, reach: float
) -> Field:
    """A tree of vessels that fans out from the hilum at `root` to the `side` (-1 or 1).

    `reach` is how far the tree runs; each generation is shorter and thinner. A slice cuts a tree:
    only some of the branches lie in it.
    """
    mask = np.zeros_like(grid.x)
    centre = 0.0 if side > 0 else pi
    stack = [
        (root, centre + fan, reach * rng.uniform(0.16, 0.30), rng.uniform(0.018, 0.030))
        for fan in np.linspace(-1.25, 1.25, 6) + rng.uniform(-0.25, 0.25, 6)
    ]
    while stack:
        start, angle, length, width = stack.pop()
        end = (start[0] + length * cos(angle), start[1] + length * sin(angle))
        if rng.random() < IN_PLANE:
            draw_line(mask, grid, start, end, width)
        if width < 0.006 or hypot(end[0] - root[0], end[1] - root[1]) > reach:
            continue
        for turn in (rng.uniform(-0.65, -0.05), rng.uniform(0.05, 0.65)):
            if rng.random() < 0.85:
                shrink = rng.uniform(0.62, 0.88)
                stack.append((end, angle + turn, length * rng.uniform(0.7, 0.95), width * shrink))
    return mask


def cross_sections(rng: np.random.Generator, grid: Grid, count: int) -> Field:
    """Vessels that run through the slice: bright dots all over, most of them small."""
    mask = np.zeros_like(grid.x)
    for _ in range(count):
        x, y = rng.uniform(-0.85, 0.85, 2)
        shift = rng.normal(0, 0.008, 2)
        width = 0.008 + 0.016 * rng.random() ** 3
        draw_line(mask, grid, (x, y), (x + shift[0], y + shift[1]), width)
    return mask
