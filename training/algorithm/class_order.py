"""Notices a channel that is sorted by class, from which a network learns next to nothing.

A network that is shown one class at a time learns to answer that class. The shuffle buffer mixes
what it holds and no more, so the order of a large data set still matters.
"""

from collections import Counter
from collections.abc import Hashable, Iterator
from typing import TypeVar

from training.algorithm.log import LOGGER
from training.algorithm.sources import Sample

EARLY_SAMPLES = 1000
"""After so many samples of one class it is said at once, not at the end of the pass."""
_LEAST_SAMPLES = 20
_SUSPECT = 0.1
"""Of the changes of class that a random order would have."""
REMEDY = (
    "Shuffle it: an augmented manifest by the channel's ShuffleConfig, such as "
    '{"Seed": 1}, or before upload; RecordIO by shuffling the list before im2rec packs it'
)
S = TypeVar("S", bound=Sample)


class ClassOrder:
    """Counts how often the class changes from one sample to the next."""

    def __init__(self) -> None:
        self._counts: Counter[Hashable] = Counter()
        self._last: Hashable = None
        self.changes = 0

    def see(self, label: Hashable) -> None:
        """Count the next sample."""
        if self._counts and label != self._last:
            self.changes += 1
        self._counts[label] += 1
        self._last = label

    @property
    def samples(self) -> int:
        """How many were seen."""
        return self._counts.total()

    @property
    def one_class(self) -> bool:
        """Whether all samples so far are of one class."""
        return len(self._counts) == 1

    @property
    def expected_changes(self) -> float:
        """Return the mean number of changes over all orders of these samples."""
        total = self.samples
        return total - sum(n * n for n in self._counts.values()) / total if total else 0.0

    @property
    def sorted_by_class(self) -> bool:
        """Whether there are too few changes for a mixed order (N >= 20, two classes or more)."""
        return (
            self.samples >= _LEAST_SAMPLES
            and not self.one_class
            and self.changes <= _SUSPECT * self.expected_changes
        )


def watch_order(samples: Iterator[S], where: str) -> Iterator[S]:
    """Pass ``samples`` on; log a warning as soon as they are seen to be sorted by class."""
    order = ClassOrder()
    said = False
    for sample in samples:
        order.see(sample.label)
        if order.samples == EARLY_SAMPLES and order.one_class:
            said = True
            LOGGER.warning(
                "%s seems sorted by class: its first %d samples are all of one class, and a "
                "network that sees one class at a time does not learn. %s",
                *(where, order.samples, REMEDY),
            )
        yield sample
    if order.sorted_by_class and not said:
        LOGGER.warning(
            "%s is sorted by class: in %d samples the class changes %d times, where a shuffled "
            "order has about %.0f, and a network that sees one class at a time does not learn. %s",
            *(where, order.samples, order.changes, order.expected_changes, REMEDY),
        )
