"""The network as a GPU runs it; but for recorded kernels, all of it can be seen on a CPU."""

import copy
import logging

import numpy as np
import pytest
import torch
from torch import nn

from training.algorithm.gpu_network import Captured, fold_norms, speed_up
from training.algorithm.images import Scaling
from training.algorithm.model import Classifier, build_resnet
from training.algorithm.torch_engine import BATCH, ServedNetwork, on_cpu, on_gpu

CPU = torch.device("cpu")
SHAPE = (3, 64, 64)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def classifier(layers: int, head_stages: int = 1) -> Classifier:
    """One whose batch norms have seen images: as built, they would change nothing."""
    torch.manual_seed(layers)
    resnet = build_resnet(layers, SHAPE[0], 2, head_stages)
    for module in resnet.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    made = Classifier(resnet, trainable_stages=0, frozen_batch_norm=False, head_stages=head_stages)
    resnet.train()
    with torch.no_grad():
        made.stage_maps(Scaling().to_input(torch.from_numpy(images(16)).permute(0, 3, 1, 2)))
    return made.eval()


def images(count: int = BATCH) -> np.ndarray:
    channels, height, width = SHAPE
    shape = (count, height, width, channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


NETWORKS = pytest.mark.parametrize(("layers", "head_stages"), [(18, 1), (50, 1), (50, 2), (20, 1)])
PARTS = ("scores", "features", "maps")


@NETWORKS
def test_folded_norms_change_nothing(layers: int, head_stages: int) -> None:
    given = classifier(layers, head_stages)
    reference = on_cpu(ServedNetwork(copy.deepcopy(given), Scaling()))(images())
    answer = on_cpu(ServedNetwork(fold_norms(given), Scaling()))(images())
    for name in PARTS:
        np.testing.assert_allclose(
            getattr(answer, name), getattr(reference, name), atol=1e-3, err_msg=name
        )


@NETWORKS
def test_it_answers_as_well_as_mixed_precision_does(layers: int, head_stages: int) -> None:
    given = classifier(layers, head_stages)
    mixed = copy.deepcopy(given)
    mixed._mixed = torch.bfloat16
    exact = on_cpu(ServedNetwork(copy.deepcopy(given), Scaling()))(images())
    usual = on_cpu(ServedNetwork(mixed, Scaling()))(images())
    quick = on_gpu(ServedNetwork(speed_up(given), Scaling()), SHAPE, CPU)(images())
    for name in PARTS:
        wanted = getattr(exact, name)
        off, usually_off = (np.abs(getattr(each, name) - wanted).mean() for each in (quick, usual))
        assert getattr(quick, name).dtype == np.float32
        assert off < 3 * usually_off, name


def test_no_norm_is_left_and_convolutions_compute_in_bfloat16() -> None:
    quick = speed_up(classifier(50))
    kinds = {type(module) for module in quick.modules()}
    assert nn.BatchNorm2d not in kinds
    found = {m.weight.dtype for m in quick.modules() if isinstance(m, nn.Conv2d)}
    assert found == {torch.bfloat16}
    assert quick.head.weight.dtype == torch.float32
    assert quick.computes_in == torch.bfloat16


def test_an_image_has_the_same_answer_in_any_company_and_at_any_place() -> None:
    answer = on_gpu(ServedNetwork(speed_up(classifier(18)), Scaling()), SHAPE, CPU)
    together = images()
    alone = np.zeros_like(together)
    alone[0] = together[3]
    assert np.array_equal(answer(together).scores[3], answer(alone).scores[0])


def test_where_kernels_cannot_be_recorded_the_network_is_called_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    if torch.cuda.is_available():
        pytest.skip("they can be recorded here")
    network = ServedNetwork(classifier(18), Scaling())
    with caplog.at_level(logging.WARNING), torch.inference_mode():
        captured = Captured(network, (BATCH, *SHAPE[1:], SHAPE[0]), CPU)
        scores = captured(images())[0]
        expected = network(torch.from_numpy(images()))[0]
    assert torch.equal(scores, expected)
    assert "cannot be recorded" in caplog.text


@needs_gpu
def test_recorded_kernels_answer_as_launched_ones_do() -> None:
    device = torch.device("cuda")
    network = ServedNetwork(speed_up(classifier(50).place_on(device)), Scaling())
    with torch.inference_mode():
        captured = Captured(network, (BATCH, *SHAPE[1:], SHAPE[0]), device)
        recorded = [output.clone() for output in captured(images())]
        launched = network(torch.from_numpy(images()).to(device))
    for one, other in zip(recorded, launched, strict=True):
        torch.testing.assert_close(one, other)
