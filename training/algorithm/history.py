"""The epochs of a job, and which of them is kept."""

from dataclasses import dataclass, field

from training.algorithm.metrics import EpochResult


@dataclass(slots=True)
class History:
    """Every finished epoch, and the best of them."""

    results: list[EpochResult] = field(default_factory=list)
    best: EpochResult | None = None

    def add(self, result: EpochResult) -> bool:
        """Add an epoch and return whether it is the best so far.

        Best is the highest validation accuracy, as in the built-in; among equals, the lowest
        validation loss.
        """
        self.results.append(result)
        if self.best is None or _worth(result) > _worth(self.best):
            self.best = result
            return True
        return False


def _worth(result: EpochResult) -> tuple[float, float]:
    return result.validation.accuracy, -result.validation.loss
