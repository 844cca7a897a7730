"""How the learning rate runs over the steps of a job."""

import math
from dataclasses import dataclass

from training.algorithm.combinations import COSINE
from training.algorithm.hyperparameters import Hyperparameters


@dataclass(frozen=True, slots=True)
class Schedule:
    """The rate of each step.

    ``first_epoch`` is the first that takes steps (after the probe); an epoch is expected to
    have ``steps_per_epoch`` of them.
    """

    chosen: Hyperparameters
    first_epoch: int
    steps_per_epoch: int

    def rate(self, epoch: int, step: int) -> float:
        """Return the learning rate of ``step`` of ``epoch``, both from 0."""
        # A pass that is longer than said stays within its epoch.
        within = min(step, self.steps_per_epoch - 1)
        passed = (epoch - self.first_epoch) * self.steps_per_epoch + within
        warmup = self.chosen.warmup_epochs * self.steps_per_epoch
        if passed + 1 < warmup:
            return self.chosen.learning_rate * (passed + 1) / warmup
        if self.chosen.lr_schedule != COSINE:
            return self._step_rate(epoch)
        total = (self.chosen.epochs - self.first_epoch) * self.steps_per_epoch
        share = (passed - warmup) / max(1.0, total - warmup)
        return self.chosen.learning_rate * (1 + math.cos(math.pi * max(0.0, share))) / 2

    def _step_rate(self, epoch: int) -> float:
        steps = sum(step <= epoch for step in self.chosen.lr_scheduler_step)
        return float(self.chosen.learning_rate * self.chosen.lr_scheduler_factor**steps)
