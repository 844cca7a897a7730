"""What a job that SageMaker interrupts (Spot) needs to go on where it was.

``checkpointconfig.json`` says where; without it nothing is kept. One file holds everything, the
best model so far included, because SageMaker copies files to S3 one by one: whatever is there is
whole. It is written under another name, flushed, and put in place in one step.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from training.algorithm.failure import CheckpointError
from training.algorithm.hyperparameters import Hyperparameters, as_text
from training.algorithm.log import LOGGER
from training.algorithm.paths import Layout
from training.algorithm.replacing import replacing
from training.algorithm.settings import TrainSettings

SCHEMA_VERSION = 2
CHECKPOINT_NAME = "checkpoint.pt"
MAY_CHANGE = ("epochs",)
"""A finished job may go on for longer."""


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The checkpoint of one job; ``job`` says which one it is, in words."""

    folder: Path
    job: dict[str, str]

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep ``state`` (tensors and plain values) in place of the one before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content = {"schema_version": SCHEMA_VERSION, "job": self.job, "state": dict(state)}
        with replacing(self.folder / CHECKPOINT_NAME) as part, part.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())

    def load(self) -> dict[str, Any] | None:
        """Return the state that was kept, or None when there is none.

        :raises CheckpointError: when it cannot be read, or belongs to another job.
        """
        path = self.folder / CHECKPOINT_NAME
        if not path.exists():
            return None
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            version, job, state = content["schema_version"], content["job"], content["state"]
        except Exception as error:  # torch raises many kinds for bytes it does not like
            raise CheckpointError(
                f"{path} cannot be loaded as weights only: {error}. Delete it to start afresh"
            ) from error
        if version != SCHEMA_VERSION:
            raise CheckpointError(
                f"{path} is of schema_version {version!r}, not {SCHEMA_VERSION}. Delete it to "
                "start afresh"
            )
        self._check_job(path, job)
        loaded: dict[str, Any] = state
        return loaded

    def _check_job(self, path: Path, job: dict[str, str]) -> None:
        differing = sorted(
            f"{name} is {self.job.get(name)!r}, was {job.get(name)!r}"
            for name in self.job.keys() | job.keys()
            if self.job.get(name) != job.get(name)
        )
        if differing:
            raise CheckpointError(
                f"{path} is of another job: {' | '.join(differing)}. Give each job a "
                "CheckpointConfig S3Uri of its own, or repeat what the first one was asked for"
            )


def find_checkpoints(
    settings: TrainSettings, chosen: Hyperparameters, classes: tuple[str, ...]
) -> Checkpoints | None:
    """Return where this job's checkpoint is, or None when the job has none.

    :raises CheckpointError: when ``checkpointconfig.json`` names no folder.
    """
    folder = _read_folder(settings.layout)
    if folder is None:
        return None
    job = {name: text for name, text in as_text(chosen).items() if name not in MAY_CHANGE}
    job |= {"classes": json.dumps(classes), "data digest": str(settings.data_digest)}
    LOGGER.info("Checkpoints are kept in %s", folder)
    return Checkpoints(folder, job)


def _read_folder(layout: Layout) -> Path | None:
    path = layout.checkpoint_config
    try:
        return Path(json.loads(path.read_bytes())["LocalPath"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} must be a JSON object with a LocalPath, as SageMaker writes it: {error!r}"
        ) from error
