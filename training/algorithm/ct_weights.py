"""The ``ct-weights`` program: the package's CT weights → a ``model.tar.gz`` to start from.

It is for a training job's channel ``model``, so that the job's image needs no package and nothing
is turned, summed or checked against 235 MB again.
"""

import datetime as dt
import tarfile
import tempfile
from pathlib import Path

import torch

from training.algorithm.architectures import ARCHITECTURE
from training.algorithm.artefact import (
    BACKBONE,
    DESCRIPTION_NAME,
    WEIGHTS_NAME,
    ModelDescription,
    save_model,
)
from training.algorithm.failure import JobFailedError, WeightsError, describe_failure
from training.algorithm.images import Scaling
from training.algorithm.log import LOGGER, set_up_logging
from training.algorithm.weights import (
    NOTICE_NAME,
    NUM_LAYERS,
    START,
    read_ct_weights,
    read_notice,
)

CHANNELS_AND_SIDES = (3, 224, 224)


def main(out: str) -> int:
    """Write the archive ``out`` and return the exit code."""
    set_up_logging()
    try:
        convert_ct_weights(Path(out))
    except JobFailedError as error:
        _reason, log_line, exit_code = describe_failure(error)
        LOGGER.error(log_line)
        return exit_code
    LOGGER.info("Wrote %s", out)
    return 0


def convert_ct_weights(out: Path) -> None:
    """Write the 2-D backbone as ``model.tar.gz``, in one step.

    :raises WeightsError: when there are no weights, they were altered, or ``out`` cannot be
        written.
    """
    pack_backbone(out, read_ct_weights(), read_notice())


def pack_backbone(out: Path, state: dict[str, torch.Tensor], notice: str) -> None:
    """Write ``state``, of a 2-D ResNet-152 without its head, and its licence text to ``out``.

    :raises WeightsError: when ``out`` cannot be written.
    """
    description = ModelDescription(
        architecture=ARCHITECTURE,
        num_layers=NUM_LAYERS,
        classes=(),
        image_shape=CHANNELS_AND_SIDES,
        scaling=Scaling(),
        normaliser=None,
        data_digest=None,
        training_job=None,
        start=START,
        metrics={},
        hyperparameters={},
        created_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        kind=BACKBONE,
    )
    try:
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as work:
            folder = Path(work)
            save_model(folder, description, state)
            (folder / NOTICE_NAME).write_text(notice, encoding="utf-8")
            _pack(folder, folder / out.name).replace(out)
    except OSError as error:
        raise WeightsError(f"{out} cannot be written: {error}") from error


def _pack(folder: Path, archive: Path) -> Path:
    # The weights come from bfloat16: even the quickest level takes 233 MB to 138 MB.
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for name in (WEIGHTS_NAME, DESCRIPTION_NAME, NOTICE_NAME):
            tar.add(folder / name, name)
    return archive
