from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from training.algorithm.shuffle import ShuffleLimits, shuffle

LIMITS = ShuffleLimits(records=1000, size_bytes=10_000_000, first=50, growth=4)


@dataclass(frozen=True)
class Item:
    number: int
    size_bytes: int = 1000


class Stream:
    """Counts what was read of it."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.given = 0

    def __iter__(self) -> Iterator[Item]:
        for number in range(self.count):
            self.given += 1
            yield Item(number)


def mix(stream: Stream, limits: ShuffleLimits = LIMITS, seed: int = 1) -> Iterator[Item]:
    return shuffle(iter(stream), np.random.default_rng(seed), limits)


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 3000])
def test_every_sample_comes_once(count: int) -> None:
    assert sorted(item.number for item in mix(Stream(count))) == list(range(count))


def test_the_first_sample_needs_the_first_few_only() -> None:
    stream = Stream(3000)
    next(mix(stream))
    assert stream.given == LIMITS.first


def test_the_buffer_grows_with_what_is_given_and_stops_at_its_limit() -> None:
    stream = Stream(30_000)
    held = [stream.given - given for given, _ in enumerate(mix(stream), start=1)]
    assert held[:3] == [49, 52, 55]
    assert max(held) == LIMITS.records - 1
    assert held[20_000] == LIMITS.records - 1


def test_the_buffer_is_bounded_in_bytes_too() -> None:
    stream = Stream(3000)
    limits = ShuffleLimits(records=1000, size_bytes=20_000, first=50, growth=4)
    held = [stream.given - given for given, _ in enumerate(mix(stream, limits), start=1)]
    assert max(held) < 20


def test_a_sample_larger_than_the_buffer_passes() -> None:
    limits = ShuffleLimits(records=1000, size_bytes=10, first=50, growth=4)
    assert len(list(mix(Stream(5), limits))) == 5


def test_the_seed_decides_the_order() -> None:
    orders = [[item.number for item in mix(Stream(500), seed=seed)] for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_a_stream_sorted_by_class_comes_out_mixed() -> None:
    """Two classes of 500 each, one after the other: all but the first batches hold both."""
    classes = [item.number >= 500 for item in mix(Stream(1000))]
    batches = [classes[at : at + 32] for at in range(0, 1000, 32)]
    assert sum(len(set(batch)) == 2 for batch in batches) >= 0.85 * len(batches)
    assert all(item.number < 500 for item in list(mix(Stream(1000)))[:32])
