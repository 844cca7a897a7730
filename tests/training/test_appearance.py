import numpy as np
import pytest
import torch

from training.algorithm.appearance import grey, layout, level_shares, texture


def pictures(*levels: float, side: int = 32) -> torch.Tensor:
    return torch.tensor(levels)[:, None, None].expand(-1, side, side)


def waves(cycles: float, side: int = 64) -> torch.Tensor:
    """One picture of vertical stripes, so many from left to right."""
    phase = torch.arange(side) * (2 * torch.pi * cycles / side)
    return (0.5 + 0.4 * torch.sin(phase)).expand(1, side, side)


def test_grey_is_the_mean_of_the_channels() -> None:
    images = torch.tensor([0, 51, 204], dtype=torch.uint8)[None, :, None, None].expand(2, 3, 4, 5)
    found = grey(images)
    assert found.shape == (2, 4, 5)
    assert torch.allclose(found, torch.tensor(1 / 3))


def test_levels_are_the_roots_of_shares() -> None:
    half = torch.cat([pictures(0.0)[:, :16], pictures(1.0)[:, 16:]], dim=1)
    shares = level_shares(half)[0]
    assert torch.allclose(shares[[0, 15]], torch.tensor(0.5).sqrt())
    assert shares[1:15].sum() == 0


@pytest.mark.parametrize("side", [28, 32, 96])
@pytest.mark.parametrize("level", [0.0, 0.3, 0.999, 1.0])
def test_levels_are_those_that_numpy_counts(side: int, level: float) -> None:
    random = np.random.default_rng(1).random((side, side)).astype(np.float32) * level
    counts, _edges = np.histogram(random, bins=16, range=(0, 1))
    found = level_shares(torch.from_numpy(random)[None])[0].square() * side**2
    assert np.allclose(found.numpy(), counts, atol=0.1)


@pytest.mark.parametrize(("cycles", "ring"), [(2, 2), (3, 3), (6, 6), (30, 11)])
def test_each_frequency_has_its_ring(cycles: float, ring: int) -> None:
    assert int(texture(waves(cycles))[0].argmax()) == ring


def test_texture_does_not_see_brightness_and_does_see_blur() -> None:
    noise = 0.3 + 0.2 * torch.rand(1, 48, 48, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(texture(noise), texture(noise + 0.2), atol=1e-3)
    blurred = torch.nn.functional.avg_pool2d(noise[:, None], 3, 1, 1)[:, 0]
    assert (texture(noise) - texture(blurred))[0, -1] > 0.5


@pytest.mark.parametrize("shape", [(28, 28), (33, 47), (224, 224)])
def test_every_shape_has_as_many_measures(shape: tuple[int, int]) -> None:
    noise = torch.rand(3, *shape, generator=torch.Generator().manual_seed(1))
    assert level_shares(noise).shape == (3, 16)
    assert texture(noise).shape == (3, 12)
    assert layout(noise).shape == (3, 64)


def test_only_in_small_pictures_a_ring_is_empty() -> None:
    noise = torch.rand(1, 96, 96, generator=torch.Generator().manual_seed(1))
    assert bool((texture(noise) > -2.9).all())
    assert bool(texture(noise[:, :28, :28]).isfinite().all())


def test_a_flat_picture_has_finite_measures() -> None:
    assert bool(texture(pictures(0.0, 0.5)).isfinite().all())


def test_layout_is_the_picture_in_small() -> None:
    corner = torch.zeros(1, 32, 32)
    corner[0, :4, :4] = 1
    expected = torch.zeros(64)
    expected[0] = 1
    assert torch.equal(layout(corner)[0], expected)
