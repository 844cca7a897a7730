"""The model folder: ``model.pt`` (weights only) and ``model.json`` (everything else about it).

``model.json`` is written last and carries the digest of ``model.pt``, so a folder that was half
written is never taken for a model. A model may have ``typicality.npz`` as well, and the network as
OpenVINO's files, once as learned and once with whole numbers; all go by the same rules.

Only what reads or writes weights imports PyTorch: serving on a CPU goes without it.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from training.algorithm.architectures import ARCHITECTURES
from training.algorithm.failure import ArtefactError
from training.algorithm.images import Scaling
from training.algorithm.precision import check_serving
from training.algorithm.replacing import replacing
from training.algorithm.typicality import Array

if TYPE_CHECKING:
    import torch

SCHEMA_VERSION = 1
WEIGHTS_NAME = "model.pt"
DESCRIPTION_NAME = "model.json"
TYPICALITY_NAME = "typicality.npz"
TORCH_TYPICALITY_NAME = "typicality.pt"
"""What models from before it was kept as arrays have."""
TYPICALITY = "typicality"
AS_LEARNED, QUANTISED = "openvino", "openvino-int8"
"""The network as OpenVINO's files; see :mod:`precision` for what runs in which."""
GRAPH, NUMBERS = ".xml", ".bin"
OPENVINO_NAMES = tuple(base + end for base in (AS_LEARNED, QUANTISED) for end in (GRAPH, NUMBERS))
_OPTIONAL = (TYPICALITY, *OPENVINO_NAMES)
CLASSIFIER = "classifier"
BACKBONE = "backbone"
"""A network without its head: to start a training from, not to serve."""


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """``model.json``: what a reader needs to use the weights, and to know where they are from.

    ``image_shape`` is channels, height, width; ``classes`` are in the order of the scores. A
    backbone has no classes, and fits images of any height and width. ``calibration``: see
    :mod:`calibration`; None leaves the scores as they are. ``serving`` is how the exported network
    is to be run, and why; see :mod:`export`.
    """

    architecture: str
    num_layers: int
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    scaling: Scaling
    normaliser: str | None
    data_digest: str | None
    training_job: str | None
    start: str
    metrics: dict[str, Any]
    hyperparameters: dict[str, str]
    created_at: str
    kind: str = CLASSIFIER
    calibration: dict[str, Any] | None = None
    serving: dict[str, Any] | None = None

    @property
    def head_stages(self) -> int:
        """How many of the last stages the head sees; models from before that was said: one."""
        return int(self.hyperparameters.get("head_stages", "1"))


def save_model(
    folder: Path, description: ModelDescription, state: Mapping[str, "torch.Tensor"]
) -> None:
    """Write both files, each in one step."""
    import torch  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / WEIGHTS_NAME
    with replacing(weights) as part:
        torch.save(dict(state), part)
    # What there is beside them is of other weights: the description names it no more.
    _write_description(folder, replace(description, serving=None), {"weights": _name(weights)})
    for name in (TYPICALITY_NAME, TORCH_TYPICALITY_NAME, *OPENVINO_NAMES):
        (folder / name).unlink(missing_ok=True)


def amend_description(folder: Path, **values: Any) -> None:
    """Give fields of a saved :class:`ModelDescription` new values; the other files stay.

    :raises ArtefactError: when it is absent or of an unknown kind.
    """
    description, files = _read_description(folder / DESCRIPTION_NAME)
    _write_description(folder, replace(description, **values), files)


def add_typicality(folder: Path, state: Mapping[str, Array]) -> None:
    """Give the model in ``folder`` what :meth:`Typicality.state` returned.

    :raises ArtefactError: when there is no model of a known kind.
    """
    description, files = _read_description(folder / DESCRIPTION_NAME)
    path = folder / TYPICALITY_NAME
    with replacing(path) as part, part.open("wb") as file:
        np.savez(file, **dict(state))  # type: ignore[arg-type]  # its stub has a flag among them
    _write_description(folder, description, files | {TYPICALITY: _name(path)})


def add_openvino(folder: Path, files: Mapping[str, Path], serving: dict[str, Any]) -> None:
    """Move ``files`` (names of :data:`OPENVINO_NAMES`) into the model folder, and describe them.

    :raises ArtefactError: when there is no model of a known kind.
    """
    description, known = _read_description(folder / DESCRIPTION_NAME)
    for name, path in files.items():
        path.replace(folder / name)
        known[name] = _name(folder / name)
    _write_description(folder, replace(description, serving=serving), known)


def read_description(folder: Path) -> ModelDescription:
    """Read ``model.json`` alone.

    :raises ArtefactError: when it is absent, or its kind is not known here.
    """
    return _read_description(folder / DESCRIPTION_NAME)[0]


def load_model(folder: Path) -> tuple[ModelDescription, dict[str, "torch.Tensor"]]:
    """Read a model folder.

    :raises ArtefactError: when a file is absent or altered, or its kind is not known here.
    """
    description, files = _read_description(folder / DESCRIPTION_NAME)
    return description, _load_tensors(folder / WEIGHTS_NAME, files["weights"])


def find_openvino(folder: Path, base: str) -> Path:
    """Return the checked ``.xml`` beside its ``.bin``; ``base`` is one of the two networks.

    :raises ArtefactError: when the model names no such files, or one is absent or altered.
    """
    _description, files = _read_description(folder / DESCRIPTION_NAME)
    for name in (base + NUMBERS, base + GRAPH):
        if name not in files:
            raise ArtefactError(f"{DESCRIPTION_NAME} names no {name}: export the model again")
        _check(folder / name, files[name])
    return folder / (base + GRAPH)


def load_typicality(folder: Path) -> dict[str, Array] | None:
    """Read what :func:`add_typicality` wrote; None when the model has none.

    :raises ArtefactError: when the file is absent, altered or holds more than arrays.
    """
    _description, files = _read_description(folder / DESCRIPTION_NAME)
    if TYPICALITY not in files:
        return None
    if files[TYPICALITY].get("file") == TORCH_TYPICALITY_NAME:
        tensors = _load_tensors(folder / TORCH_TYPICALITY_NAME, files[TYPICALITY])
        return {name: np.asarray(tensor) for name, tensor in tensors.items()}
    path = folder / TYPICALITY_NAME
    _check(path, files[TYPICALITY])
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # numpy and zipfile raise many kinds for bytes they do not like
        raise ArtefactError(f"{path} cannot be loaded as arrays only: {error}") from error


def _load_tensors(path: Path, named: dict[str, Any]) -> dict[str, "torch.Tensor"]:
    """Load the file that ``model.json`` names with its digest."""
    _check(path, named)
    try:
        import torch  # noqa: PLC0415
    except ImportError as error:
        raise ArtefactError(
            f"{path.name} is read with PyTorch, which is not installed here: install it, or "
            "train again"
        ) from error
    try:
        state: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for bytes it does not like
        raise ArtefactError(f"{path} cannot be loaded as weights only: {error}") from error
    return state


def _check(path: Path, named: dict[str, Any]) -> None:
    """:raises ArtefactError: when the file is not the one that ``model.json`` names."""
    try:
        digest = _sha256(path)
    except OSError as error:
        raise ArtefactError(f"the model has no readable {path.name}: {error}") from error
    if digest != named.get("sha256"):
        raise ArtefactError(
            f"{path} has SHA-256 {digest}, {DESCRIPTION_NAME} was written for "
            f"{named.get('sha256')}: the two do not belong together"
        )


def _name(path: Path) -> dict[str, str]:
    return {"file": path.name, "sha256": _sha256(path)}


def _write_description(
    folder: Path, description: ModelDescription, files: dict[str, dict[str, Any]]
) -> None:
    content = {
        "schema_version": SCHEMA_VERSION,
        **asdict(description),
        "scaling": description.scaling.as_json(),
        **files,
    }
    with replacing(folder / DESCRIPTION_NAME) as part:
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _read_description(path: Path) -> tuple[ModelDescription, dict[str, dict[str, Any]]]:
    """Return the description, and the files of the model by what they are, with their digests."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ArtefactError(f"the model has no readable {DESCRIPTION_NAME}: {error}") from error
    if not isinstance(content, dict) or content.pop("schema_version", None) != SCHEMA_VERSION:
        raise ArtefactError(f"{path} is not of schema_version {SCHEMA_VERSION}, the one known here")
    kind = content.get("architecture"), content.get("num_layers")
    if (kind[1], kind[0]) not in ARCHITECTURES.items():
        raise ArtefactError(f"{path} names an unknown network: {kind[0]!r} of {kind[1]!r} layers")
    if content.get("kind", CLASSIFIER) not in (CLASSIFIER, BACKBONE):
        raise ArtefactError(
            f"{path} is of kind {content['kind']!r}; {CLASSIFIER!r} and {BACKBONE!r} are known here"
        )
    try:
        files = {"weights": dict(content.pop("weights"))}
        files |= {name: dict(content.pop(name)) for name in _OPTIONAL if name in content}
        content["classes"] = tuple(content["classes"])
        content["image_shape"] = tuple(content["image_shape"])
        content["scaling"] = Scaling.from_json(content["scaling"])
        _check_calibration(content.get("calibration"), len(content["classes"]))
        check_serving(content.get("serving"))
        description = ModelDescription(**content)
        if description.head_stages < 1:
            raise ValueError("head_stages below 1")
    except (KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f"{path} lacks a field or has a strange one: {error}") from error
    return description, files


def _check_calibration(calibration: Any, classes: int) -> None:
    if calibration is None:
        return
    numbers = [float(calibration["temperature"]), *map(float, calibration["bias"])]
    if not all(map(math.isfinite, numbers)) or numbers[0] <= 0 or len(numbers) != classes + 1:
        raise ValueError(f"a calibration {numbers} that does not fit {classes} classes")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
