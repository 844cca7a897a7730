"""What is in a checkpoint: everything that an epoch changes and a later one depends on.

The order and variation of a pass and the draws of mixup are made from ``seed`` and the number of
the pass or epoch, so these numbers are all of the random state there is beside torch's own.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.algorithm.answers import Answers
from training.algorithm.failure import CheckpointError
from training.algorithm.history import History
from training.algorithm.learner import Learner
from training.algorithm.losses import LabelCounts
from training.algorithm.metrics import EpochResult
from training.algorithm.passes import Run


@dataclass(frozen=True, slots=True)
class Past:
    """What of an interrupted job the loop goes on from; ``learner`` is None before any step."""

    history: History
    learner: dict[str, Any] | None


def gather(run: Run, history: History, learner: Learner | None, model: Path) -> dict[str, Any]:
    """Return the state after an epoch; ``model`` is the folder of what is kept so far."""
    counts = run.label_counts
    return {
        "network": run.classifier.resnet.state_dict(),
        "learner": learner.state_dict() if learner else None,
        "history": [result.as_json() for result in history.results],
        "passes": {"train": run.train.passes, "validation": run.validation.passes},
        "validation_samples": run.validation_samples,
        "label_counts": (counts.positives, counts.samples) if counts else None,
        "random": torch.get_rng_state(),
        "shipped": run.shipped.state_dict() if run.shipped else None,
        "model": _pack(model),
    }


def restore(state: dict[str, Any], run: Run, model: Path | None) -> Past:
    """Undo :func:`gather`; with no ``model``, what is kept stays in the state.

    :raises CheckpointError: when something is missing in the state or does not fit the network.
    """
    try:
        run.classifier.resnet.load_state_dict(state["network"])
        run.train.passes = state["passes"]["train"]
        run.validation.passes = state["passes"]["validation"]
        run.validation_samples = state["validation_samples"]
        counts = state["label_counts"]
        run.label_counts = LabelCounts(*counts) if counts else None
        torch.set_rng_state(state["random"])
        shipped = state["shipped"]
        run.shipped = Answers.from_state_dict(shipped) if shipped else None
        history = History()
        for content in state["history"]:
            history.add(EpochResult.from_json(content))
        if model:
            _unpack(state["model"], model)
        return Past(history, state["learner"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"the checkpoint does not fit this job: {error!r}. Delete it to start afresh"
        ) from error


def _pack(folder: Path) -> dict[str, torch.Tensor]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        path.relative_to(folder).as_posix(): torch.from_numpy(np.fromfile(path, np.uint8))
        for path in files
    }


def _unpack(files: dict[str, torch.Tensor], folder: Path) -> None:
    for name, content in files.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"a file {name!r} outside the model")
        path.parent.mkdir(parents=True, exist_ok=True)
        content.numpy().tofile(path)
