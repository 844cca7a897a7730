"""Shortcuts: how well one plain fact of a slice tells its class, without looking at the lung.

A network takes what is easiest. Where the positives come from another scanner, its matrix size or
file format gives the class away, and what is learnt says nothing of other hospitals.

Method: values of a fact are sorted into bins on the training half, each category its own, numbers
into at most `BINS` of about equal count. A bin's score is the share of the class among its training
slices (two slices at the class's own share are added to each, so that small bins do not shout).
Scores are measured on the held-out half: the area under the ROC curve (AUC, ties count half), and
the mean of sensitivity and specificity where a score above the class's share in training means
"yes". A fact that is the same everywhere has an AUC of 0.5. With more than two classes each is told
from all others, and the best counts.
"""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from tomodrop.halves import TRAIN, VALIDATION

BINS = 32
_ADDED = 2.0
# Bits of a picture's area that are told apart: an eighth of an octave.
_AREA_STEPS = 8
_FACTS = ("size", "aspect", "mean", "spread", "format", "compression", "alpha")

Value = float | str
# Slices by value and label.
Table = dict[Value, list[int]]


@dataclass(frozen=True)
class Shortcut:
    """What a fact alone tells of `class_name` on held-out slices."""

    fact: str
    class_name: str
    auc: float
    balanced_accuracy: float


@dataclass
class Facts:
    """Counts of every fact's values by half and label: bounded, however many slices there are."""

    class_count: int
    tables: dict[str, dict[str, Table]] = field(
        default_factory=lambda: {fact: {TRAIN: {}, VALIDATION: {}} for fact in _FACTS}
    )

    def add(self, half: str, label: int, values: Mapping[str, Value], slices: int = 1) -> None:
        """Count slices with these values."""
        for fact, value in values.items():
            row = self.tables[fact][half].get(value)
            if row is None:
                row = self.tables[fact][half][value] = [0] * self.class_count
            row[label] += slices


def facts_of_upload(
    width: int, height: int, kind: str, alpha: str, *, is_lossy: bool
) -> dict[str, Value]:
    """What all slices of an upload have in common. `width`, `height`: of the source, in pixels."""
    facts: dict[str, Value] = {
        "format": kind or "unknown",
        "compression": "lossy" if is_lossy else "lossless or unknown",
        "alpha": alpha or "none",
    }
    if width > 0 and height > 0:
        facts["size"] = round(_AREA_STEPS * math.log2(width * height)) / _AREA_STEPS
        facts["aspect"] = round(width / height, 2)
    return facts


def measure(facts: Facts, class_names: tuple[str, ...]) -> list[Shortcut]:
    """Every fact's best shortcut, the strongest first. None where a half lacks a class."""
    found = (_best(name, halves, class_names) for name, halves in facts.tables.items())
    return sorted(filter(None, found), key=lambda one: (-one.auc, one.fact))


def _best(fact: str, halves: dict[str, Table], class_names: tuple[str, ...]) -> Shortcut | None:
    # Of two classes, one tells as much as the other.
    labels = range(len(class_names)) if len(class_names) > 2 else (1,)
    made = [
        Shortcut(fact, class_names[label], *figures)
        for label in labels
        if (figures := told(halves[TRAIN], halves[VALIDATION], label))
    ]
    return max(made, key=lambda one: one.auc, default=None)


def told(train: Table, held_out: Table, label: int) -> tuple[float, float] | None:
    """AUC and balanced accuracy by which a fact tells a label from all others; None: no slices."""
    base = _share(train, label)
    positives, negatives = Counter[float](), Counter[float]()
    score_of = _Scores(train, label)
    for value, row in held_out.items():
        score = score_of(value)
        positives[score] += row[label]
        negatives[score] += sum(row) - row[label]
    if base is None or not positives.total() or not negatives.total():
        return None
    sensitivity = sum(n for score, n in positives.items() if score > base) / positives.total()
    specificity = sum(n for score, n in negatives.items() if score <= base) / negatives.total()
    return round(_auc(positives, negatives), 4), round((sensitivity + specificity) / 2, 4)


def _share(counted: Table, label: int) -> float | None:
    total = sum(map(sum, counted.values()))
    return sum(row[label] for row in counted.values()) / total if total else None


class _Scores:
    """A score for every value, known from training or not."""

    def __init__(self, train: Table, label: int) -> None:
        self._base = _share(train, label) or 0.0
        numbers = sorted(value for value in train if not isinstance(value, str))
        self._edges = _edges([(value, sum(train[value])) for value in numbers])
        bins: dict[Value, list[int]] = {}
        for value, row in train.items():
            held = bins.setdefault(self._bin(value), [0, 0])
            held[0] += row[label]
            held[1] += sum(row)
        self._scores = {
            name: (of_label + _ADDED * self._base) / (count + _ADDED)
            for name, (of_label, count) in bins.items()
        }

    def _bin(self, value: Value) -> Value:
        return value if isinstance(value, str) else float(bisect_right(self._edges, value))

    def __call__(self, value: Value) -> float:
        return self._scores.get(self._bin(value), self._base)


def _edges(counted: list[tuple[float, int]]) -> list[float]:
    """Where a new bin begins, so that each has about as many slices: values in ascending order."""
    total = sum(count for _, count in counted)
    edges, seen, bins = [], 0, 1
    for value, count in counted:
        if seen >= total * bins / BINS:
            edges.append(value)
            bins = math.floor(seen * BINS / total) + 1
        seen += count
    return edges


def _auc(positives: Counter[float], negatives: Counter[float]) -> float:
    """The share of pairs in which the positive scores higher; equal ones count half."""
    below, won = 0, 0.0
    for score in sorted(positives.keys() | negatives.keys()):
        won += positives[score] * (below + negatives[score] / 2)
        below += negatives[score]
    return won / (positives.total() * negatives.total())
