"""The area under the ROC curve of slices that come in groups, with its interval."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

from tomodrop.resampling import TAIL, Interval, exact


@dataclass
class _Group:
    """Sums over one group: slices with and without findings, and how well each is placed."""

    positives: int = 0
    negatives: int = 0
    placed_positives: float = 0.0
    placed_negatives: float = 0.0


def area_under_roc(
    scores: Sequence[float], positive: Sequence[bool], groups: Sequence[str]
) -> Interval | None:
    """The share of pairs (a slice with findings, one without) in the right order; ties half.

    The interval is DeLong's for groups (Obuchowski 1997, Biometrics 53:567), normal, within 0…1.
    None where one of the two kinds is absent; no bounds where it comes from a single group.
    """
    with_findings = sorted(s for s, p in zip(scores, positive, strict=True) if p)
    without = sorted(s for s, p in zip(scores, positive, strict=True) if not p)
    if not with_findings or not without:
        return None
    by_group: dict[str, _Group] = defaultdict(_Group)
    for value, is_positive, name in zip(scores, positive, groups, strict=True):
        group = by_group[name]
        if is_positive:
            beaten = bisect_left(without, value) + bisect_right(without, value)
            group.positives += 1
            group.placed_positives += beaten / 2 / len(without)
        else:
            below = bisect_left(with_findings, value) + bisect_right(with_findings, value)
            group.negatives += 1
            group.placed_negatives += 1 - below / 2 / len(with_findings)
    area = sum(group.placed_positives for group in by_group.values()) / len(with_findings)
    return _with_interval(area, list(by_group.values()))


def _with_interval(area: float, groups: list[_Group]) -> Interval:
    with_positives = sum(group.positives > 0 for group in groups)
    with_negatives = sum(group.negatives > 0 for group in groups)
    if min(with_positives, with_negatives) < 2:
        return Interval(area, None, None)
    if area in (0.0, 1.0):
        return exact(area, min(with_positives, with_negatives))
    positives = sum(group.positives for group in groups)
    negatives = sum(group.negatives for group in groups)
    of_positives = [group.placed_positives - group.positives * area for group in groups]
    of_negatives = [group.placed_negatives - group.negatives * area for group in groups]
    s10 = _spread(of_positives, of_positives, with_positives) / positives
    s01 = _spread(of_negatives, of_negatives, with_negatives) / negatives
    s11 = _spread(of_positives, of_negatives, len(groups))
    variance = s10 / positives + s01 / negatives + 2 * s11 / (positives * negatives)
    half = NormalDist().inv_cdf(1 - TAIL) * sqrt(max(variance, 0.0))
    return Interval(area, max(area - half, 0.0), min(area + half, 1.0))


def _spread(first: list[float], second: list[float], groups: int) -> float:
    products = sum(one * other for one, other in zip(first, second, strict=True))
    return groups / (groups - 1) * products
