"""The weights that are evaluated and kept, where they are not those of the last step.

``ema``: a moving average over the steps. ``start_share``: a point between the weights before the
first step and those after (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from training.algorithm.hyperparameters import Hyperparameters
from training.algorithm.model import Classifier


class Averaging:
    """Follows the learning parameters of ``classifier`` and its batch-norm statistics."""

    def __init__(self, classifier: Classifier, chosen: Hyperparameters) -> None:
        self._decay = chosen.ema
        self._start_share = chosen.start_share
        self._parameters: list[torch.Tensor] = list(classifier.learning_parameters())
        self._followed = self._parameters + classifier.learning_statistics()
        self._steps = 0
        self._mean = _copies(self._followed) if self._decay else []
        self._start = _copies(self._parameters) if self._start_share else []

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights after one more step into the average."""
        if not self._decay:
            return
        # A long memory must not hold on to the start: TensorFlow's ExponentialMovingAverage
        # with num_updates does the same.
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        self._steps += 1
        current = [tensor.detach() for tensor in self._followed]
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # torch's own
        average(self._mean, current, None)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Have the weights to evaluate in the network; the tuned ones come back afterwards."""
        if not self._decay and not self._start_share:
            yield
            return
        tuned = _copies(self._followed)
        self._put(self._result())
        try:
            yield
        finally:
            self._put(tuned)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"steps": self._steps, "mean": self._mean, "start": self._start}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Undo :meth:`state_dict`."""
        self._steps = state["steps"]
        for own, saved in ((self._mean, state["mean"]), (self._start, state["start"])):
            for tensor, value in zip(own, saved, strict=True):
                tensor.copy_(value)

    def _result(self) -> list[torch.Tensor]:
        result = _copies(self._mean or self._followed)
        for tensor, start in zip(result, self._start, strict=False):  # parameters come first
            tensor.lerp_(start, self._start_share)
        return result

    @torch.no_grad()
    def _put(self, values: list[torch.Tensor]) -> None:
        for tensor, value in zip(self._followed, values, strict=True):
            tensor.copy_(value)


def _copies(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    return [tensor.detach().clone() for tensor in tensors]
