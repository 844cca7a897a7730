"""What learning minimises: one loss per image, so that any part of a batch can be summed."""

from dataclasses import dataclass

import torch
from torch.nn import functional

from training.algorithm.combinations import BALANCED
from training.algorithm.hyperparameters import Hyperparameters


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """How often each class is positive among ``samples`` images; ``positives`` is (classes)."""

    positives: torch.Tensor
    samples: int


@dataclass(frozen=True, slots=True)
class Loss:
    """Cross-entropy; with labels (N, classes) the binary one of each class, their mean.

    ``weights`` (classes) weighs an image by its class; of several classes, a class's positives.
    """

    label_smoothing: float = 0.0
    weights: torch.Tensor | None = None

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss of each image, (N), in nats."""
        if labels.ndim == 1:
            return functional.cross_entropy(
                logits,
                labels,
                weight=self.weights,
                label_smoothing=self.label_smoothing,
                reduction="none",
            )
        targets = labels.to(logits.dtype) * (1 - self.label_smoothing) + self.label_smoothing / 2
        losses = functional.binary_cross_entropy_with_logits(
            logits, targets, pos_weight=self.weights, reduction="none"
        )
        return losses.mean(1)


def needs_counts(chosen: Hyperparameters) -> bool:
    """Whether the loss depends on how frequent the classes are."""
    weighted = chosen.multi_label and chosen.use_weighted_loss
    return weighted or chosen.class_weighting == BALANCED


def count_labels(labels: torch.Tensor, num_classes: int) -> LabelCounts:
    """Count ``labels``: class indices (N), or 0 and 1 for each class (N, classes)."""
    if labels.ndim == 1:
        return LabelCounts(torch.bincount(labels, minlength=num_classes), len(labels))
    return LabelCounts((labels > 0.5).sum(0), len(labels))


def loss_weights(counts: LabelCounts, chosen: Hyperparameters) -> torch.Tensor:
    """Return the weights of the classes, float32.

    One class per image: samples / (classes · samples of the class), which is scikit-learn's
    "balanced". Several: negatives / positives of the class, so that both weigh as much
    altogether. A class never seen, or always, counts as seen, or missing, once.
    """
    positives = counts.positives.clamp_min(1).float()
    if chosen.multi_label:
        return (counts.samples - counts.positives).clamp_min(1).float() / positives
    return counts.samples / (len(positives) * positives)
