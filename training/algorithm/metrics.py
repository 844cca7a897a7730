"""What one epoch was worth, counted over all samples."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import torch

from training.algorithm.losses import Loss


@dataclass(frozen=True, slots=True)
class Scores:
    """Result on a set of samples: shares in 0…1, mean loss in nats."""

    accuracy: float
    loss: float
    samples: int
    auc: float | None = None
    top_k: int | None = None
    top_k_accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class EpochResult:
    """One line of ``metrics.jsonl``; ``phase`` is "probe" or "fit"."""

    epoch: int
    phase: str
    train: Scores
    validation: Scores
    learning_rate: float
    seconds: float
    images_per_second: float

    def as_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Undo :meth:`as_json`."""
        parts = {name: Scores(**content[name]) for name in ("train", "validation")}
        return cls(**{**content, **parts})


class Tally:
    """Sums up batches while an epoch runs, without keeping their scores."""

    def __init__(self, top_k: int | None = None) -> None:
        self._top_k = top_k
        self.samples = 0
        self._correct = 0.0
        self._in_top_k = 0
        self._loss = 0.0

    def add(self, logits: torch.Tensor, labels: torch.Tensor, loss: float) -> None:
        """Count one batch of scores (N, classes); ``loss`` is its mean.

        With labels (N, classes), each class of each image is an answer, right or wrong.
        """
        self.samples += len(labels)
        self._loss += loss * len(labels)
        if labels.ndim == 2:
            self._correct += float(((logits > 0) == (labels > 0.5)).float().mean(1).sum())
            return
        self._correct += int((logits.argmax(1) == labels).sum())
        if self._top_k:
            best = logits.topk(self._top_k, dim=1).indices
            self._in_top_k += int((best == labels[:, None]).sum())

    def merge(self, total: Callable[[list[float]], list[float]]) -> None:
        """Count what other processes counted as well; ``total`` sums up over them."""
        counted = [float(self.samples), self._correct, float(self._in_top_k), self._loss]
        samples, self._correct, in_top_k, self._loss = total(counted)
        self.samples, self._in_top_k = int(samples), int(in_top_k)

    @property
    def accuracy(self) -> float:
        """Share of right answers so far; 0 before the first."""
        return self._correct / max(1, self.samples)

    def result(self) -> Scores:
        """Return the scores over all that was added."""
        count = max(1, self.samples)
        return Scores(
            self.accuracy,
            self._loss / count,
            self.samples,
            top_k=self._top_k,
            top_k_accuracy=self._in_top_k / count if self._top_k else None,
        )


def score(logits: torch.Tensor, labels: torch.Tensor, top_k: int | None = None) -> Scores:
    """Score all samples of a set at once.

    ``logits`` are (N, classes); ``labels`` class indices (N), or 0 and 1 for each class
    (N, classes).
    """
    tally = Tally(top_k)
    tally.add(logits, labels, float(Loss()(logits, labels).mean()))
    probabilities = logits.softmax(1) if labels.ndim == 1 else logits.sigmoid()
    return replace(tally.result(), auc=mean_auc(probabilities, labels))


def mean_auc(probabilities: torch.Tensor, labels: torch.Tensor) -> float | None:
    """Return the area under the ROC curve, averaged over one-against-rest for each class.

    None when some class has no sample, or all: the area is not defined then.
    """
    indices = range(probabilities.shape[1])
    positive = [
        labels == index if labels.ndim == 1 else labels[:, index] > 0.5 for index in indices
    ]
    areas = [_auc(probabilities[:, index], positive[index]) for index in indices]
    known = [area for area in areas if area is not None]
    return sum(known) / len(known) if len(known) == len(areas) else None


def _auc(values: torch.Tensor, positive: torch.Tensor) -> float | None:
    """Mann-Whitney: the share of pairs in the right order, ties counted half."""
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return None
    _, inverse, counts = torch.unique(values.double(), return_inverse=True, return_counts=True)
    ends = counts.cumsum(0).double()
    mean_ranks = (ends - (counts.double() - 1) / 2)[inverse]
    rank_sum = float(mean_ranks[positive].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)
