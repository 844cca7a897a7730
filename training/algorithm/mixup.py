"""Mixup (Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization")."""

from dataclasses import dataclass

import numpy as np
import torch

from training.algorithm.losses import Loss


@dataclass(frozen=True, slots=True)
class Mixed:
    """Blended images, and of each the labels of both that are in it."""

    inputs: torch.Tensor
    labels: torch.Tensor
    others: torch.Tensor
    share: float
    """Of the first image, whose labels are ``labels``."""

    def losses(self, loss: Loss, logits: torch.Tensor) -> torch.Tensor:
        """Return the loss of each image, (N): that of both labels, by their shares."""
        if self.share == 1:
            return loss(logits, self.labels)
        first, second = loss(logits, self.labels), loss(logits, self.others)
        return self.share * first + (1 - self.share) * second


def mix(
    inputs: torch.Tensor, labels: torch.Tensor, alpha: float, random: np.random.Generator
) -> Mixed:
    """Blend each image with another of the batch; the share is drawn from Beta(alpha, alpha).

    Left as they are when ``alpha`` is 0 or there is nothing to blend with.
    """
    if alpha == 0 or len(labels) < 2:
        return Mixed(inputs, labels, labels, 1.0)
    # Of the two images the first is the one that is more of it.
    share = float(random.beta(alpha, alpha))
    share = max(share, 1 - share)
    other = torch.from_numpy(random.permutation(len(labels))).to(inputs.device)
    return Mixed(inputs * share + inputs[other] * (1 - share), labels, labels[other], share)
