"""From scores to probabilities, without PyTorch: serving on a CPU goes without it."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]


def softmax(scores: npt.ArrayLike) -> Floats:
    """Return probabilities (N, classes) that add up to 1 of ``scores`` (N, classes)."""
    given = np.asarray(scores, dtype=np.float64)
    # A network that has diverged gives no numbers, and gets none.
    with np.errstate(invalid="ignore"):
        grown = np.exp(given - given.max(axis=1, keepdims=True))
        shares: Floats = grown / grown.sum(axis=1, keepdims=True)
    return shares


def sigmoid(scores: npt.ArrayLike) -> Floats:
    """Return for each of ``scores`` a probability of its own."""
    given = np.asarray(scores, dtype=np.float64)
    shares: Floats = np.exp(-np.logaddexp(0, -given))
    return shares


@dataclass(frozen=True, slots=True)
class Calibration:
    """``softmax(logits / temperature + bias)``; ``bias`` has a value per class, sum 0."""

    temperature: float
    bias: tuple[float, ...]

    def probabilities(self, logits: npt.ArrayLike) -> Floats:
        """Return probabilities (N, classes) of ``logits`` (N, classes)."""
        return softmax(np.asarray(logits, dtype=np.float64) / self.temperature + self.bias)
