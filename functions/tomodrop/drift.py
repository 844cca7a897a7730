"""Whether what comes in looks like what the live model learnt from: the population stability index.

    PSI = sum over bins of (q - p) ln(q / p),    p, q: shares of the training set, of what came in

By convention below 0.1 nothing has changed, and from 0.25 on much has (credit scoring's rule, see
Siddiqi, "Credit Risk Scorecards", 2006). The bins are made of the training set: neighbouring cells
of a summary are joined until each bin holds a tenth of it at least. Half a slice is added to every
bin, so that an empty one does not make the sum infinite.

Chance alone makes two samples of n and m differ: without any drift PSI is about (1/n + 1/m) times a
chi-squared variable of bins - 1 degrees of freedom, so (bins - 1)(1/n + 1/m) on average. That is
subtracted, and where it is more than `MOST_CHANCE`, nothing is judged: with ten bins, chance then
takes fewer than one comparison of a thousand over 0.25. n and m count uploads, not slices: the
slices of a volume are much alike. Uploads of one patient are as well, so chance may do more than
this says.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tomodrop.summaries import SCALES, Summary

BINS = 10
CHANGED, MUCH_CHANGED = 0.1, 0.25
# With ten bins and a large training set it is reached by 90 uploads.
MOST_CHANCE = 0.1
_SMOOTHING = 0.5

Verdict = Literal["not judged", "alike", "changed", "much changed"]


@dataclass(frozen=True)
class Difference:
    """How one number differs. `psi`: beyond what chance does on average, `chance`; at least 0."""

    psi: float
    chance: float
    bins: int

    @property
    def verdict(self) -> Verdict:
        """In words."""
        if self.chance > MOST_CHANCE:
            return "not judged"
        if self.psi < CHANGED:
            return "alike"
        return "changed" if self.psi < MUCH_CHANGED else "much changed"


def compare_pixels(learnt: Summary, came_in: Summary) -> dict[str, Difference]:
    """How each number of the slices differs, but one that is the same in all that was learnt."""
    found = {}
    for name in SCALES:
        bins = joined(learnt.pixels[name], BINS)
        if len(bins) > 1:
            was, now = (_in_bins(one.pixels[name], bins) for one in (learnt, came_in))
            found[name] = difference(was, now, learnt.uploads, came_in.uploads)
    return found


def compare_classes(learnt: Summary, came_in: Summary) -> Difference | None:
    """How predicted classes differ from labelled ones; None where there is one class only."""
    names = sorted(learnt.classes | came_in.classes)
    if len(names) < 2:
        return None
    was, now = ([one.classes[name] for name in names] for one in (learnt, came_in))
    return difference(was, now, learnt.uploads, came_in.uploads)


def difference(
    learnt: Sequence[int], came_in: Sequence[int], uploads_learnt: int, uploads_came_in: int
) -> Difference:
    """The index of two sets of counts in the same bins, and what chance does to it."""
    bins = len(learnt)
    if not uploads_learnt or not uploads_came_in or not sum(learnt) or not sum(came_in):
        return Difference(0.0, math.inf, bins)
    chance = (bins - 1) * (1 / uploads_learnt + 1 / uploads_came_in)
    return Difference(max(0.0, psi(learnt, came_in) - chance), chance, bins)


def psi(learnt: Sequence[int], came_in: Sequence[int]) -> float:
    """The population stability index of two sets of counts in the same bins."""
    return sum(
        (q - p) * math.log(q / p) for p, q in zip(_shares(learnt), _shares(came_in), strict=True)
    )


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts) + _SMOOTHING * len(counts)
    return [(count + _SMOOTHING) / total for count in counts]


def joined(counts: Sequence[int], bins: int) -> list[range]:
    """Neighbouring cells, joined until each range holds 1/`bins` of the counts at least."""
    least, found, start, held = sum(counts) / bins, [], 0, 0
    for place, count in enumerate(counts):
        held += count
        if held and held >= least:
            found.append(range(start, place + 1))
            start, held = place + 1, 0
    if not found:
        return [range(len(counts))]
    # What is left at the end is too little for a bin.
    found[-1] = range(found[-1].start, len(counts))
    return found


def _in_bins(counts: Sequence[int], bins: Sequence[range]) -> list[int]:
    return [sum(counts[cells.start : cells.stop]) for cells in bins]
