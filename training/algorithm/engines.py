"""What runs the network when serving; a model folder and the machine decide which."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from training.algorithm.artefact import (
    AS_LEARNED,
    BACKBONE,
    QUANTISED,
    ModelDescription,
    find_openvino,
    read_description,
)
from training.algorithm.cpu import cpu_flags
from training.algorithm.failure import ArtefactError
from training.algorithm.log import LOGGER
from training.algorithm.precision import INT8, to_run

Floats = npt.NDArray[np.float32]
Levels = npt.NDArray[np.uint8]
DEVICES = Path("/dev")


@dataclass(frozen=True, slots=True)
class Outputs:
    """``scores`` (N, classes) before softmax; ``features`` (N, F) that the head saw; ``maps``.

    The mean of each of the ``maps`` (N, classes, h, w), plus a bias, is its score.
    """

    scores: Floats
    features: Floats
    maps: Floats


class Engine(Protocol):
    """Runs the network; may be called from several threads.

    ``workers``: how many threads keep it busy while they also decode. ``name``: for the log.
    """

    name: str
    workers: int

    def run(self, images: Levels) -> Outputs:
        """Answer for images (N, H, W, C)."""
        ...


def load_engine(folder: Path, cores: int) -> Engine:
    """Return what is to run the model in ``folder``: a GPU, else the exported model, else PyTorch.

    :raises ArtefactError: when it is incomplete, altered, a backbone, or nothing here can run it.
    """
    description = read_description(folder)
    if description.kind == BACKBONE:
        raise ArtefactError(
            f"the model in {folder} is a backbone ({description.start}): it has no head to "
            "answer with. Give it to a training job as its channel 'model', and serve what "
            "that leaves"
        )
    has_torch = importlib.util.find_spec("torch") is not None
    if has_torch and _has_gpu():
        return _on_torch(folder, description, cores)
    if description.serving and importlib.util.find_spec("openvino") is not None:
        return _on_openvino(folder, description, cores)
    if has_torch:
        return _on_torch(folder, description, cores)
    raise ArtefactError(
        f"nothing here can run the model in {folder}: it has no exported network beside its "
        "weights, or OpenVINO is not installed, and PyTorch is not. Train it with "
        "serving_precision=auto, or serve it where PyTorch is installed"
    )


def _has_gpu() -> bool:
    """Whether there is a GPU; asked of PyTorch only where a device says so, to start at once."""
    if not any(DEVICES.glob("nvidia[0-9]*")):
        return False
    from training.algorithm.hardware import count_gpus  # noqa: PLC0415

    return count_gpus() > 0


def _on_torch(folder: Path, description: ModelDescription, cores: int) -> Engine:
    from training.algorithm.torch_engine import TorchEngine, load_classifier  # noqa: PLC0415

    return TorchEngine(*load_classifier(folder), description.image_shape, cores)


def _on_openvino(folder: Path, description: ModelDescription, cores: int) -> Engine:
    from training.algorithm.openvino_engine import OpenvinoEngine  # noqa: PLC0415

    serving = description.serving or {}
    precision = to_run(serving, cpu_flags())
    if precision != serving["precision"]:
        LOGGER.warning(
            "The model was exported to be served in %s, which this CPU has no instructions for "
            "(it was measured on %s): serving in %s",
            *(serving["precision"], serving.get("cpu", "another"), precision),
        )
    base = QUANTISED if precision == INT8 else AS_LEARNED
    return OpenvinoEngine(find_openvino(folder, base), precision, cores)
