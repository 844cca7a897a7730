"""What a network answered for every sample of a set, and what would have been right."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

BY_GROUP = "group"
BY_SAMPLE = "sample"


@dataclass(frozen=True, slots=True)
class Answers:
    """``logits`` (N, classes); ``labels`` as in :class:`Batch`; ``groups`` (N), or None."""

    logits: torch.Tensor
    labels: torch.Tensor
    groups: tuple[str, ...] | None = None

    @property
    def multi_label(self) -> bool:
        """Whether each class of each sample is an answer of its own."""
        return self.labels.ndim == 2

    @property
    def unit(self) -> str:
        """Which units are independent, as far as is known; one group alone says nothing."""
        return BY_GROUP if self.groups and len(set(self.groups)) > 1 else BY_SAMPLE

    @property
    def unit_of(self) -> npt.NDArray[np.int64]:
        """Return the number of each sample's unit, from 0 without gaps."""
        if self.unit == BY_SAMPLE or self.groups is None:
            return np.arange(len(self.labels))
        return np.unique(np.array(self.groups), return_inverse=True)[1].astype(np.int64)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: plain values and tensors."""
        groups = None if self.groups is None else list(self.groups)
        return {"logits": self.logits, "labels": self.labels, "groups": groups}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Self:
        """Undo :meth:`state_dict`."""
        groups = None if state["groups"] is None else tuple(state["groups"])
        return cls(state["logits"], state["labels"], groups)
