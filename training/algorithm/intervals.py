"""95 % intervals by the percentile bootstrap (Efron 1979), which draws whole groups.

Slices of one patient resemble each other. Drawing slices one by one takes them for independent, and
the interval comes out too narrow; drawing patients does not (Field and Welsh 2007). Where all are
right, or none, every resample is the same: a share's interval is then the exact one (Clopper and
Pearson 1934) with each group as one observation.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

RESAMPLES = 2000
LEVEL = 0.95
_TAIL = (1 - LEVEL) / 2
_WEIGHTS_AT_ONCE = 400_000
"""Arrays of 3 MB stay near the processor: larger ones take half as long again."""
_LEAST_DEFINED = 0.5
"""Of the resamples; below it an interval would describe a selection of them."""

Floats: TypeAlias = npt.NDArray[np.float64]
Statistic: TypeAlias = Callable[[Floats], Floats]
"""Weights of the samples (R, N) to R values; NaN where the statistic is not defined."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its interval; ``low`` and ``high`` are None where resamples hardly define it."""

    value: float
    low: float | None
    high: float | None

    def as_json(self) -> dict[str, float | None]:
        """Return a JSON object."""
        return asdict(self)

    def __str__(self) -> str:
        """Return such as "0.912 (0.871 to 0.944)"."""
        if self.low is None or self.high is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def estimate(
    statistics: Mapping[str, Statistic],
    unit_of: npt.NDArray[np.int64],
    seed: int,
    resamples: int = RESAMPLES,
) -> dict[str, Estimate | None]:
    """Return each statistic of all samples with its interval; None where it is not defined.

    ``unit_of`` (N) says which unit, counted from 0 without gaps, each sample belongs to. A resample
    draws as many units as there are, with replacement, and takes all samples of each. All
    statistics are taken of the same resamples.
    """
    everything = np.ones((1, len(unit_of)))
    values = {name: float(of(everything)[0]) for name, of in statistics.items()}
    drawn: dict[str, list[Floats]] = {name: [] for name in statistics}
    for weights in _resample(unit_of, seed, resamples):
        for name, of in statistics.items():
            drawn[name].append(of(weights))
    found: dict[str, Estimate | None] = {}
    for name, of in statistics.items():
        if np.isnan(values[name]):
            found[name] = None
        elif isinstance(of, Share) and values[name] in (0.0, 1.0):
            found[name] = _exact(values[name], of.units(unit_of))
        else:
            found[name] = _with_interval(values[name], drawn[name])
    return found


def _resample(unit_of: npt.NDArray[np.int64], seed: int, resamples: int) -> Iterator[Floats]:
    """Yield how often each sample is drawn, (R, N), in parts whose R add up to ``resamples``."""
    random = np.random.default_rng(seed)
    units = int(unit_of.max()) + 1
    at_once = max(1, _WEIGHTS_AT_ONCE // max(units, len(unit_of)))
    for start in range(0, resamples, at_once):
        count = min(at_once, resamples - start)
        drawn = random.integers(units, size=(count, units))
        cells = drawn + units * np.arange(count)[:, None]
        times = np.bincount(cells.ravel(), minlength=count * units).reshape(count, units)
        yield times[:, unit_of].astype(np.float64)


def _with_interval(value: float, drawn: Sequence[Floats]) -> Estimate:
    values = np.concatenate(drawn)
    defined = values[~np.isnan(values)]
    if len(defined) < _LEAST_DEFINED * len(values):
        return Estimate(value, None, None)
    low, high = np.quantile(defined, (_TAIL, 1 - _TAIL))
    return Estimate(value, float(low), float(high))


def _exact(value: float, units: int) -> Estimate:
    """Return the interval of a share that is 0 or 1 in ``units`` independent observations."""
    bound = _TAIL ** (1 / units)
    return Estimate(value, bound, 1.0) if value == 1 else Estimate(value, 0.0, 1 - bound)


@dataclass(frozen=True, slots=True)
class Share:
    """The mean of ``right`` (N, each 0…1) over the samples that count (``among``, N)."""

    right: Floats
    among: npt.NDArray[np.bool_]

    def __call__(self, weights: Floats) -> Floats:
        """Return the mean for each set of weights."""
        sums = weights @ np.stack([self.right * self.among, self.among], axis=1)
        return _ratio(sums[:, 0], sums[:, 1])

    def units(self, unit_of: npt.NDArray[np.int64]) -> int:
        """Return how many units have a sample that counts."""
        return len(np.unique(unit_of[self.among]))


def share(right: Floats, among: npt.NDArray[np.bool_] | None = None) -> Share:
    """Return the mean of ``right`` (N, each 0…1) over those of ``among`` (N), or over all."""
    return Share(right, np.ones(len(right), bool) if among is None else among)


def area_under_roc(scores: Floats, positive: npt.NDArray[np.bool_]) -> Statistic:
    """Return the area for ``scores`` (N): the share of pairs in the right order, ties half."""
    positives, negatives = np.flatnonzero(positive), np.flatnonzero(~positive)
    negatives = negatives[np.argsort(scores[negatives], kind="stable")]
    below = np.searchsorted(scores[negatives], scores[positives], "left")
    not_above = np.searchsorted(scores[negatives], scores[positives], "right")

    def of(weights: Floats) -> Floats:
        summed = np.zeros((len(weights), len(negatives) + 1))
        np.cumsum(weights[:, negatives], axis=1, out=summed[:, 1:])
        drawn = weights[:, positives]
        beaten = summed[:, below] + summed[:, not_above]
        right = np.einsum("rn,rn->r", drawn, beaten) / 2
        return _ratio(right, drawn.sum(axis=1) * summed[:, -1])

    return of


def mean_of(statistics: Sequence[Statistic]) -> Statistic:
    """Return the mean of several statistics, defined where all of them are."""

    def of(weights: Floats) -> Floats:
        values: Floats = np.mean([each(weights) for each in statistics], axis=0)
        return values

    return of


def _ratio(part: Floats, whole: Floats) -> Floats:
    ratio: Floats = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return ratio
