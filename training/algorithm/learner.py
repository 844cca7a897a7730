"""Takes the steps: loss, gradients, learning rate and averages; knows what a checkpoint needs."""

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch

from training.algorithm.averaging import Averaging
from training.algorithm.distributed import Team
from training.algorithm.hyperparameters import Hyperparameters
from training.algorithm.losses import LabelCounts, Loss, loss_weights
from training.algorithm.mixup import mix
from training.algorithm.model import Classifier
from training.algorithm.optimiser import build_optimiser, set_learning_rate
from training.algorithm.schedule import Schedule

_MIXUP_STREAM = 1
"""Sets the draws of mixup apart from others of the same seed."""


class Learner:
    """Made when the first step is near: what the network is then is what it starts from."""

    def __init__(
        self,
        classifier: Classifier,
        chosen: Hyperparameters,
        counts: LabelCounts | None,
        team: Team | None = None,
    ) -> None:
        self._classifier = classifier
        self._chosen = chosen
        self._team = team or Team()
        self._network = self._team.parallel(classifier)
        device = classifier.head.weight.device
        weights = loss_weights(counts, chosen).to(device) if counts else None
        self._loss = Loss(chosen.label_smoothing, weights)
        self._optimiser = build_optimiser(classifier.learning_groups(), chosen)
        self._scaler = torch.amp.GradScaler(device.type, enabled=classifier.needs_scaled_loss)
        self._averaging = Averaging(classifier, chosen)
        batch_size = chosen.mini_batch_size * self._team.place.hosts
        steps = -(-chosen.num_training_samples // batch_size)
        self._schedule = Schedule(chosen, int(chosen.probe), steps)
        self._random = np.random.default_rng()
        self._epoch = 0
        self._step = 0
        self.learning_rate = 0.0

    def start_epoch(self, epoch: int) -> None:
        """Begin ``epoch``; its draws depend on nothing that came before."""
        self._epoch, self._step = epoch, 0
        draws = (self._chosen.seed, epoch, _MIXUP_STREAM, self._team.place.rank)
        self._random = np.random.default_rng(draws)
        self._classifier.train()

    def step(self, inputs: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, float]:
        """Learn from one batch: float inputs (N, C, H, W), labels (N) or (N, classes).

        Of several processes, each gives its part of the batch, and all take the same step.
        Returns the scores (N, classes) before the step, and the mean loss.
        """
        total, too_few = self._team.total([len(labels), float(len(labels) < 2)])
        if too_few and not self._chosen.frozen_batch_norm:
            # Batch-norm has no spread to learn from in a single image (a last batch of one).
            return self._look(inputs, labels)
        self.learning_rate = self._schedule.rate(self._epoch, self._step)
        self._step += 1
        set_learning_rate(self._optimiser, self.learning_rate)
        mixed = mix(inputs, labels, self._chosen.mixup, self._random)
        logits = self._network(mixed.inputs)
        losses = mixed.losses(self._loss, logits)
        # The mean over all images once the gradients are averaged over the processes.
        loss = losses.sum() * (self._team.place.size / total)
        self._optimiser.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch's own
        self._scaler.step(self._optimiser)
        self._scaler.update()
        self._averaging.update()
        return logits.detach(), _mean(losses)

    def to_evaluate(self) -> AbstractContextManager[None]:
        """Have the weights that are evaluated and kept in the network, within the context."""
        return self._averaging.in_place()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps beside the network: only plain values and tensors."""
        return {
            "optimiser": self._optimiser.state_dict(),
            "scaler": self._scaler.state_dict(),
            "averaging": self._averaging.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Undo :meth:`state_dict`."""
        self._optimiser.load_state_dict(state["optimiser"])
        self._scaler.load_state_dict(state["scaler"])
        self._averaging.load_state_dict(state["averaging"])

    def _look(self, inputs: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, float]:
        self._classifier.eval()
        with torch.inference_mode():
            logits = self._classifier(inputs)
            losses = self._loss(logits, labels)
        self._classifier.train()
        return logits, _mean(losses)


def _mean(losses: torch.Tensor) -> float:
    return float(losses.detach().sum()) / max(1, len(losses))
