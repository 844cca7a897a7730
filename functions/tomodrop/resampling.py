"""Intervals of shares over slices that come in groups: the percentile bootstrap, by group.

Slices of one patient resemble each other. Drawing slices one by one takes them for independent, and
the interval comes out too narrow; drawing whole groups does not (Field and Welsh 2007). All figures
are taken of the same resamples, so that the difference of two models is a paired one. Plain Python:
the functions that use it carry no numpy.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor
from operator import mul

RESAMPLES = 2000
LEVEL = 0.95
TAIL = (1 - LEVEL) / 2
# More groups than these are first put together at random: unions of independent groups are
# independent too, and the spread of hundreds is known to a few percent.
MOST_UNITS = 400

Column = list[float]


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % interval; no bounds where there is no telling."""

    value: float
    low: float | None
    high: float | None

    def as_json(self) -> dict[str, float | None]:
        """Rounded for people."""
        return {"value": rounded(self.value), "low": rounded(self.low), "high": rounded(self.high)}


def rounded(value: float | None) -> float | None:
    """To six digits, where there is a value."""
    return None if value is None else round(value, 6)


def units_of(groups: Sequence[str], seed: str) -> list[int]:
    """Which unit each group belongs to, counted from 0; a unit is a group if there are few."""
    if len(groups) <= MOST_UNITS:
        return list(range(len(groups)))
    places = list(range(len(groups)))
    random.Random(seed).shuffle(places)  # noqa: S311 - an order, not a secret
    units = [0] * len(groups)
    for number, place in enumerate(places):
        units[place] = number % MOST_UNITS
    return units


def resample(units: int, seed: str) -> Iterator[Column]:
    """How often each unit is drawn, `RESAMPLES` times: as many draws as units, with replacement."""
    draw = random.Random(seed)  # noqa: S311 - statistics, not a secret
    everyone = range(units)
    for _ in range(RESAMPLES):
        times = [0.0] * units
        for unit in draw.choices(everyone, k=units):
            times[unit] += 1
        yield times


def weighted(times: Column, column: Column) -> float:
    """Sum of a column of unit totals in one resample."""
    return float(sum(map(mul, times, column)))


def quantile(values: list[float], share: float) -> float:
    """The value below which a share of the sorted values lies, between neighbours linearly."""
    place = share * (len(values) - 1)
    low, high = values[floor(place)], values[ceil(place)]
    return low + (high - low) * (place - floor(place))


def exact(value: float, units: int) -> Interval:
    """Of a share that is 0 or 1 in all units (Clopper and Pearson 1934, a unit an observation).

    Every resample is the same there, which would tell of certainty.
    """
    bound: float = TAIL ** (1 / units)
    return Interval(value, bound, 1.0) if value == 1 else Interval(value, 0.0, 1 - bound)
