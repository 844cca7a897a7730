"""What models are worth on held-out slices: figures with intervals, and the difference of two.

The first class is the one without findings. A slice "has findings" if its label is another, and is
"answered so" if the most probable class is another: of two classes these are the usual sensitivity
and specificity of the second. Intervals go by group (see `resampling`, `discrimination`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from tomodrop.answers import Answer
from tomodrop.discrimination import area_under_roc
from tomodrop.held_out import HeldOutSlice
from tomodrop.resampling import (
    LEVEL,
    RESAMPLES,
    TAIL,
    Column,
    Interval,
    exact,
    quantile,
    resample,
    rounded,
    units_of,
    weighted,
)

# Bins of the calibration error, equally wide.
BINS = 10
METHOD = (
    f"{LEVEL:.0%} percentile bootstrap by group, {RESAMPLES} resamples; of a share of 0 or 1 "
    "Clopper-Pearson, a group being an observation; of the AUC DeLong's for groups"
)


@dataclass(frozen=True)
class Figures:
    """What one model is worth. None: not defined, as without any slice that has findings.

    `confusion[label][answer]` counts slices.
    """

    confusion: list[list[int]]
    accuracy: Interval
    auc: Interval | None
    sensitivity: Interval | None
    specificity: Interval | None
    calibration_error: Interval

    def as_json(self) -> dict[str, Any]:
        """As `evaluation.json` has it."""
        return {
            "confusion": self.confusion,
            **{name: figure and figure.as_json() for name, figure in self._named().items()},
        }

    def as_metrics(self) -> dict[str, float]:
        """The bare figures, for the model's record and every prediction it makes."""
        return {name: round(f.value, 6) for name, f in self._named().items() if f is not None}

    def _named(self) -> dict[str, Interval | None]:
        return {
            "accuracy": self.accuracy,
            "auc": self.auc,
            "sensitivity": self.sensitivity,
            "specificity": self.specificity,
            "calibration_error": self.calibration_error,
        }


@dataclass(frozen=True)
class Difference:
    """Accuracy of the challenger less that of the champion, on the same slices.

    `lower_bound`: with `confidence` the difference is not below it (one-sided). None: there is a
    single group, and no telling.
    """

    accuracy: Interval
    sensitivity: Interval | None
    confidence: float
    lower_bound: float | None

    def as_json(self) -> dict[str, Any]:
        """As `evaluation.json` has it."""
        return {
            "accuracy": self.accuracy.as_json(),
            "sensitivity": self.sensitivity and self.sensitivity.as_json(),
            "confidence": self.confidence,
            "accuracy_lower_bound": rounded(self.lower_bound),
        }


@dataclass(frozen=True)
class Measured:
    """Figures by role, and their difference where there are two models."""

    figures: dict[str, Figures]
    difference: Difference | None
    groups: int


@dataclass
class _Totals:
    """Totals of a model by unit. `apart`: per bin, right answers less their probabilities."""

    right: Column
    found: Column
    cleared: Column
    apart: list[Column]


@dataclass(frozen=True)
class _Set:
    """The slices as numbers: each one's label and unit, and totals by unit."""

    slices: Sequence[HeldOutSlice]
    unit_of: list[int]
    count: Column
    positives: Column
    negatives: Column

    @property
    def units(self) -> int:
        return len(self.count)


def measure(
    slices: Sequence[HeldOutSlice],
    answers: dict[str, dict[str, Answer]],
    confidence: float,
    seed: str,
) -> Measured:
    """Figures of each model, and of challenger and champion their difference.

    `answers`: by role ("challenger", "champion"), then by slice id; every slice has one. `seed`
    makes the resamples, so the same answers give the same figures.
    """
    on = _set_of(slices, seed)
    totals = {role: _totals(on, given) for role, given in answers.items()}
    drawn = _Drawn(on, totals)
    for times in resample(on.units, seed):
        drawn.add(times)
    figures = {
        role: _figures(on, given, totals[role], drawn, role) for role, given in answers.items()
    }
    both = "challenger" in figures and "champion" in figures
    difference = _difference(on, figures, drawn, confidence) if both else None
    return Measured(figures, difference, len({one.group for one in slices}))


def _set_of(slices: Sequence[HeldOutSlice], seed: str) -> _Set:
    groups = sorted({one.group for one in slices})
    unit_of_group = dict(zip(groups, units_of(groups, seed), strict=True))
    unit_of = [unit_of_group[one.group] for one in slices]
    units = max(unit_of) + 1
    columns: tuple[Column, Column, Column] = ([0.0] * units, [0.0] * units, [0.0] * units)
    for one, unit in zip(slices, unit_of, strict=True):
        columns[0][unit] += 1
        columns[1 if one.label else 2][unit] += 1
    return _Set(slices, unit_of, *columns)


def _totals(on: _Set, answers: dict[str, Answer]) -> _Totals:
    columns = [[0.0] * on.units for _ in range(3 + BINS)]
    totals = _Totals(columns[0], columns[1], columns[2], columns[3:])
    for one, unit in zip(on.slices, on.unit_of, strict=True):
        probabilities = answers[one.slice_id].best
        said = answered(probabilities)
        is_right = said == one.label
        totals.right[unit] += is_right
        if (said > 0) == (one.label > 0):
            (totals.found if one.label else totals.cleared)[unit] += 1
        totals.apart[bin_of(probabilities[said])][unit] += is_right - probabilities[said]
    return totals


def answered(probabilities: Sequence[float]) -> int:
    """The most probable class; of equals the first."""
    return max(range(len(probabilities)), key=probabilities.__getitem__)


def bin_of(probability: float) -> int:
    """Which of the bins (low, high] a probability falls into."""
    return max(0, ceil(probability * BINS) - 1)


class _Drawn:
    """The figures of every resample, by name; a figure that a resample leaves undefined is not."""

    def __init__(self, on: _Set, totals: dict[str, _Totals]) -> None:
        self._on, self._totals = on, totals
        self.values: dict[str, list[float]] = {}

    def add(self, times: Column) -> None:
        on = self._on
        count, positives, negatives = (
            weighted(times, column) for column in (on.count, on.positives, on.negatives)
        )
        values: dict[str, float] = {}
        for role, totals in self._totals.items():
            values[f"{role} accuracy"] = weighted(times, totals.right) / count
            if positives:
                values[f"{role} sensitivity"] = weighted(times, totals.found) / positives
            if negatives:
                values[f"{role} specificity"] = weighted(times, totals.cleared) / negatives
            apart = sum(abs(weighted(times, column)) for column in totals.apart)
            values[f"{role} calibration"] = apart / count
        for name in ("accuracy", "sensitivity"):
            of_both = [values.get(f"{role} {name}") for role in ("challenger", "champion")]
            if of_both[0] is not None and of_both[1] is not None:
                values[f"difference {name}"] = of_both[0] - of_both[1]
        for name, value in values.items():
            self.values.setdefault(name, []).append(value)

    def interval(self, name: str, value: float, units: int) -> Interval:
        """The interval of a figure to which so many units contribute."""
        drawn = sorted(self.values.get(name, []))
        # Half the resamples: below it an interval would describe a selection of them.
        if units < 2 or len(drawn) < RESAMPLES / 2:
            return Interval(value, None, None)
        return Interval(value, quantile(drawn, TAIL), quantile(drawn, 1 - TAIL))

    def lower_bound(self, name: str, confidence: float) -> float | None:
        if self._on.units < 2:
            return None
        return quantile(sorted(self.values[name]), 1 - confidence)


def _figures(
    on: _Set, answers: dict[str, Answer], totals: _Totals, drawn: _Drawn, role: str
) -> Figures:
    classes = len(next(iter(answers.values())).best)
    confusion = [[0] * classes for _ in range(classes)]
    for one in on.slices:
        confusion[one.label][answered(answers[one.slice_id].best)] += 1
    count = sum(on.count)
    calibration = sum(abs(sum(column)) for column in totals.apart) / count
    accuracy = _share(totals.right, on.count, drawn, f"{role} accuracy")
    assert accuracy is not None, "there are slices"
    return Figures(
        confusion,
        accuracy,
        area_under_roc(
            [1 - answers[one.slice_id].best[0] for one in on.slices],
            [one.label > 0 for one in on.slices],
            [str(unit) for unit in on.unit_of],
        ),
        _share(totals.found, on.positives, drawn, f"{role} sensitivity"),
        _share(totals.cleared, on.negatives, drawn, f"{role} specificity"),
        drawn.interval(f"{role} calibration", calibration, on.units),
    )


def _share(part: Column, whole: Column, drawn: _Drawn, name: str) -> Interval | None:
    if not sum(whole):
        return None
    value, units = sum(part) / sum(whole), contributing(whole)
    return exact(value, units) if value in (0.0, 1.0) else drawn.interval(name, value, units)


def contributing(whole: Column) -> int:
    """How many units have slices that count."""
    return sum(total > 0 for total in whole)


def _difference(
    on: _Set, figures: dict[str, Figures], drawn: _Drawn, confidence: float
) -> Difference:
    challenger, champion = figures["challenger"], figures["champion"]
    sensitivity = None
    if challenger.sensitivity and champion.sensitivity:
        value = challenger.sensitivity.value - champion.sensitivity.value
        units = contributing(on.positives)
        sensitivity = drawn.interval("difference sensitivity", value, units)
    value = challenger.accuracy.value - champion.accuracy.value
    return Difference(
        drawn.interval("difference accuracy", value, on.units),
        sensitivity,
        confidence,
        drawn.lower_bound("difference accuracy", confidence),
    )
