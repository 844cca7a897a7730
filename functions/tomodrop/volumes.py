"""From the slices' probabilities to the volume's: one stated rule with one parameter.

The volume's probabilities are the mean over the top share of its slices: those that are least like
the first class (by convention the negative one), for a disease often shows in a part of the lung
only. Slices without lung do not count.
"""

import math
from dataclasses import dataclass

from tomodrop.slices import IndexLine

RULE = "mean over the share of slices with lung that are least like the first class"


@dataclass(frozen=True)
class VolumeProbabilities:
    """Class probabilities of an upload, and the places (from 0, in order) they are the mean of."""

    probabilities: list[float]
    used: list[int]


def shows_lung(line: IndexLine) -> bool:
    """Whether a slice counts. A picture of its own always does: somebody chose it."""
    return line.has_lung or line.count == 1


def volume_probabilities(
    lines: list[IndexLine], probabilities: list[list[float]], top_share: float
) -> VolumeProbabilities:
    """Apply the rule to slices and their class probabilities (same order).

    At least one slice is used, the earlier of equal ones. If no slice shows lung, all count.
    """
    rows = list(zip(lines, probabilities, strict=True))
    with_lung = [place for place, (line, _) in enumerate(rows) if shows_lung(line)]
    counting = with_lung or list(range(len(rows)))
    count = math.ceil(round(top_share * len(counting), 9))  # 0.1 x 30 are 3, not a trifle more
    used = sorted(sorted(counting, key=lambda place: probabilities[place][0])[:count])
    columns = zip(*(probabilities[place] for place in used), strict=True)
    return VolumeProbabilities([math.fsum(column) / len(used) for column in columns], used)
