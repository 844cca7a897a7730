"""Start from what the channel ``model`` delivers: a model, or a backbone that has no head yet.

A model is trained further (incremental training); as with the built-in, it must have been trained
with the same num_layers, image_shape and num_classes. A backbone, such as the program
``ct-weights`` makes, fits any classes and sides; only num_layers must be its own.
"""

import tarfile
import tempfile
from pathlib import Path

from training.algorithm.artefact import (
    BACKBONE,
    DESCRIPTION_NAME,
    ModelDescription,
    load_model,
)
from training.algorithm.channels import MODEL
from training.algorithm.failure import ArtefactError, ChannelConfigError
from training.algorithm.hyperparameters import Hyperparameters
from training.algorithm.log import LOGGER
from training.algorithm.model import Network
from training.algorithm.weights import install_backbone

ARCHIVE_NAME = "model.tar.gz"


def load_starting_model(
    resnet: Network, folder: Path, chosen: Hyperparameters, classes: tuple[str, ...]
) -> str:
    """Put the weights of the model in ``folder`` (``model.tar.gz``, or unpacked) into ``resnet``.

    Returns what ``model.json`` says about the start.

    :raises ArtefactError: when it cannot be read, or does not fit; all differences are named.
    :raises ChannelConfigError: when ``use_pretrained_model`` asks for another start than a model.
    :raises WeightsError: when a backbone's tensors are not those of such a network.
    """
    archive = folder / ARCHIVE_NAME
    if not archive.exists():
        return _load(resnet, folder, chosen, classes)
    with tempfile.TemporaryDirectory(prefix="starting-model-") as unpacked:
        _unpack(archive, Path(unpacked))
        return _load(resnet, Path(unpacked), chosen, classes)


def _unpack(archive: Path, folder: Path) -> None:
    try:
        with tarfile.open(archive, "r:*") as tar:
            # "data" refuses what would land outside the folder, links out of it and devices.
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ArtefactError(
            f"the {ARCHIVE_NAME} of channel {MODEL!r} cannot be unpacked: {error}"
        ) from error


def _load(resnet: Network, folder: Path, chosen: Hyperparameters, classes: tuple[str, ...]) -> str:
    if not (folder / DESCRIPTION_NAME).exists():
        raise ArtefactError(
            f"channel {MODEL!r} holds no {DESCRIPTION_NAME}: it must deliver the {ARCHIVE_NAME} of "
            "a training job of this algorithm; the MXNet model of the built-in cannot be loaded"
        )
    description, state = load_model(folder)
    _check_fit(description, chosen)
    if description.kind == BACKBONE:
        install_backbone(resnet, state)
        LOGGER.info("Starting from the backbone of channel %r: %s", MODEL, description.start)
        return description.start
    if chosen.use_pretrained_model:
        raise ChannelConfigError(
            f"use_pretrained_model=1 with a model in channel {MODEL!r}: a network starts from one "
            "of them; set use_pretrained_model=0 or leave the channel out"
        )
    try:
        resnet.load_state_dict(state)
    except RuntimeError as error:
        raise ArtefactError(f"the weights of channel {MODEL!r} do not fit: {error}") from error
    return _say_start(description, classes)


def _say_start(description: ModelDescription, classes: tuple[str, ...]) -> str:
    if classes != description.classes:
        LOGGER.warning(
            "The model of channel %r has classes %s, the job has %s: by position they are the same",
            *(MODEL, description.classes, classes),
        )
    start = (
        f"model of training job {description.training_job or 'unnamed'}, "
        f"created at {description.created_at}"
    )
    LOGGER.info("Starting from the %s", start)
    return start


def _check_fit(description: ModelDescription, chosen: Hyperparameters) -> None:
    pairs: dict[str, tuple[object, object]] = {
        "num_layers": (description.num_layers, chosen.num_layers)
    }
    if description.kind != BACKBONE:
        pairs["image_shape"] = _shape(description.image_shape), _shape(chosen.image_shape)
        pairs["head_stages"] = description.head_stages, chosen.head_stages
        pairs["num_classes"] = len(description.classes), chosen.num_classes
    differences = [
        f"{name}={of_model} of the model is not the job's {name}={of_job}"
        for name, (of_model, of_job) in pairs.items()
        if of_model != of_job
    ]
    if differences:
        raise ArtefactError(
            f"the model of channel {MODEL!r} does not fit: {'; '.join(differences)}. Set the "
            "hyperparameters to the model's, or leave the channel out"
        )


def _shape(shape: tuple[int, int, int]) -> str:
    return ",".join(map(str, shape))
