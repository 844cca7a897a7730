from typing import Any

import pytest
import torch
from torch import nn

from training.algorithm.architectures import ARCHITECTURES
from training.algorithm.model import Classifier, build_resnet

IMAGES = torch.rand(2, 3, 36, 36)


def classifier(stages: int, *, frozen_batch_norm: bool = False, depth: int = 18) -> Classifier:
    torch.manual_seed(0)
    return Classifier(build_resnet(depth, 3, 2), stages, frozen_batch_norm=frozen_batch_norm)


@pytest.mark.parametrize(
    ("depth", "parameters"),
    [
        # torchvision's published counts for 1000 classes, less the other 998 rows of the head.
        (18, 11_689_512 - 998 * 513),
        (34, 21_797_672 - 998 * 513),
        (50, 25_557_032 - 998 * 2049),
        (101, 44_549_160 - 998 * 2049),
        (152, 60_192_808 - 998 * 2049),
    ],
)
def test_each_depth_is_the_resnet_of_that_name(depth: int, parameters: int) -> None:
    with torch.device("meta"):
        resnet = build_resnet(depth, 3, 2)
    assert sum(p.numel() for p in resnet.parameters()) == parameters


def test_every_depth_on_offer_answers() -> None:
    assert set(ARCHITECTURES) == {18, 34, 50, 101, 152, 200, 20, 32, 44, 56, 110}
    for depth in (34, 20):
        assert classifier(5, depth=depth).eval()(IMAGES).shape == (2, 2)


@pytest.mark.parametrize(
    ("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)]
)
def test_the_networks_for_small_images_are_those_of_the_paper(depth: int, millions: float) -> None:
    """Table 6 of He et al. 2016: layers with weights, and parameters for 10 classes."""
    resnet = build_resnet(depth, 3, 10)
    layers = [m for m in resnet.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == depth
    count = sum(p.numel() for p in resnet.parameters())
    assert round(count / 1e6, 1 if depth == 110 else 2) == millions


def test_a_network_for_small_images_halves_them_twice_and_passes_gradients() -> None:
    network = classifier(4, depth=20).train()
    assert network.resnet.conv1(IMAGES).shape == (2, 16, 36, 36)
    assert network.resnet.layer2(torch.rand(2, 16, 36, 36)).shape == (2, 32, 18, 18)
    assert torch.allclose(network.eval()(IMAGES), network.resnet(IMAGES), atol=1e-5)
    network.train()(IMAGES).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in network.resnet.parameters())


def test_a_stage_that_is_not_there_is_not_missed() -> None:
    assert len(classifier(5, depth=20).learning_parameters()) == len(
        classifier(4, depth=20).learning_parameters()
    )
    frozen = classifier(3, depth=20).train()
    resnet: Any = frozen.resnet
    assert not resnet.conv1.weight.requires_grad
    assert resnet.layer1[0].conv1.weight.requires_grad


@pytest.mark.parametrize(("depth", "widths"), [(18, [128, 256, 512]), (20, [16, 32, 64])])
@pytest.mark.parametrize("frozen", [0, 1, 3])
def test_a_wider_head_sees_the_last_stages_side_by_side(
    depth: int, widths: list[int], frozen: int
) -> None:
    torch.manual_seed(0)
    resnet: Any = build_resnet(depth, 3, 2, head_stages=3)
    network = Classifier(resnet, frozen, frozen_batch_norm=True, head_stages=3).eval()
    maps: list[torch.Tensor] = []
    layers = ("layer1", "layer2", "layer3") if depth == 20 else ("layer2", "layer3", "layer4")
    for name in layers:
        getattr(resnet, name).register_forward_hook(lambda _m, _i, out: maps.append(out))
    features = network.features(IMAGES)
    assert [stage.shape[1] for stage in maps] == widths
    assert torch.allclose(features, torch.cat([stage.mean((2, 3)) for stage in maps], 1), atol=1e-6)
    assert torch.equal(network(IMAGES), resnet.fc(features))


def test_groups_go_from_the_head_to_the_stem() -> None:
    network = classifier(2)
    resnet: Any = network.resnet
    head, last, before = network.learning_groups()
    assert head[0] is network.head.weight
    assert last[0] is resnet.layer4[0].conv1.weight
    assert before[0] is resnet.layer3[0].conv1.weight
    assert sum(map(len, (head, last, before))) == len(network.learning_parameters())


def test_mixed_precision_answers_in_float32_and_about_the_same() -> None:
    plain = classifier(5).eval()
    mixed = Classifier(plain.resnet, 5, frozen_batch_norm=False, mixed=torch.bfloat16).eval()
    assert mixed(IMAGES).dtype is torch.float32
    assert not torch.equal(mixed(IMAGES), plain(IMAGES))
    assert torch.allclose(mixed(IMAGES), plain(IMAGES), atol=0.05)


def test_the_first_stride_is_that_of_a_resnet() -> None:
    net: Any = build_resnet(18, 1, 2)
    assert net.maxpool(net.conv1(torch.rand(1, 1, 64, 64))).shape[2:] == (16, 16)


def test_scores_are_those_of_the_plain_network() -> None:
    network = classifier(2).eval()
    assert torch.allclose(network(IMAGES), network.resnet(IMAGES), atol=1e-5)


@pytest.mark.parametrize("stages", [0, 1, 3, 5])
def test_only_the_last_stages_and_the_head_learn(stages: int) -> None:
    network = classifier(stages).train()
    before = {name: value.clone() for name, value in network.resnet.state_dict().items()}
    optimiser = torch.optim.SGD(network.learning_parameters(), lr=0.1)
    network(IMAGES).square().sum().backward()
    optimiser.step()
    changed = {
        name.split(".")[0]
        for name, value in network.resnet.state_dict().items()
        if not torch.equal(value, before[name])
    }
    in_order = ["conv1", "layer1", "layer2", "layer3", "layer4"]
    learning = set(in_order[5 - stages :])
    assert changed - {"bn1"} == learning | {"fc"}
    assert ("bn1" in changed) is (stages == 5)


def test_frozen_batch_norm_keeps_statistics_and_factors() -> None:
    network = classifier(5, frozen_batch_norm=True).train()
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    before = [value.clone() for norm in norms for value in norm.state_dict().values()]
    network(IMAGES).sum().backward()
    torch.optim.SGD(network.learning_parameters(), lr=0.1).step()
    after = [value for norm in norms for value in norm.state_dict().values()]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_shortcuts_pass_gradients() -> None:
    network = classifier(5, depth=34).train()
    network(IMAGES).sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in network.resnet.parameters())
