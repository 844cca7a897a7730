"""Mixes a stream through a buffer that is bounded in number and bytes, and starts at once.

A buffer that is filled before the first sample leaves it would make the first batch wait for all
of it. This one gives after a small fill, and then reads several records for each one it gives
until it is full: the first batch costs a fixed number of records, whatever the size of the data
set, and the rest is read while the network computes. How many it reads for one it gives is fixed,
not "as many as are there", so that the same seed gives the same order.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np


class Sized(Protocol):
    """What the buffer holds."""

    @property
    def size_bytes(self) -> int:
        """Return what it keeps in memory, roughly."""


S = TypeVar("S", bound=Sized)


@dataclass(frozen=True, slots=True)
class ShuffleLimits:
    """``first``: records before the first one leaves; ``growth``: records read for each given."""

    records: int = 16_384
    size_bytes: int = 96 * 1024 * 1024
    first: int = 256
    growth: int = 4


def shuffle(
    samples: Iterator[S], random: np.random.Generator, limits: ShuffleLimits
) -> Iterator[S]:
    """Yield every sample once, each drawn from all that are in the buffer."""
    buffer: list[S] = []
    size_bytes, wanted = 0, limits.first
    for sample in samples:
        buffer.append(sample)
        size_bytes += sample.size_bytes
        while len(buffer) >= min(wanted, limits.records) or size_bytes >= limits.size_bytes:
            taken = _take_any(buffer, random)
            size_bytes -= taken.size_bytes
            wanted = len(buffer) + limits.growth
            yield taken
    while buffer:
        yield _take_any(buffer, random)


def _take_any(buffer: list[S], random: np.random.Generator) -> S:
    chosen = int(random.integers(len(buffer)))
    buffer[chosen], buffer[-1] = buffer[-1], buffer[chosen]
    return buffer.pop()
