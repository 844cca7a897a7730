import numpy as np
import pytest

from training.algorithm.appearance import grey, layout, level_shares, texture


def pictures(*levels: float, side: int = 32) -> np.ndarray:
    return np.full((len(levels), side, side), np.array(levels, np.float32)[:, None, None])


def waves(cycles: float, side: int = 64) -> np.ndarray:
    """One picture of vertical stripes, so many from left to right."""
    phase = np.arange(side) * (2 * np.pi * cycles / side)
    return np.full((1, side, side), 0.5 + 0.4 * np.sin(phase), np.float32)


def rand(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).random(shape, np.float32)


def test_grey_is_the_mean_of_the_channels() -> None:
    images = np.full((2, 4, 5, 3), [0, 51, 204], np.uint8)
    found = grey(images)
    assert found.shape == (2, 4, 5)
    assert np.allclose(found, 1 / 3)


def test_levels_are_the_roots_of_shares() -> None:
    half = np.concatenate([pictures(0.0)[:, :16], pictures(1.0)[:, 16:]], axis=1)
    shares = level_shares(half)[0]
    assert np.allclose(shares[[0, 15]], np.sqrt(0.5))
    assert shares[1:15].sum() == 0


@pytest.mark.parametrize("side", [28, 32, 96])
@pytest.mark.parametrize("level", [0.0, 0.3, 0.999, 1.0])
def test_levels_are_those_that_numpy_counts(side: int, level: float) -> None:
    random = np.random.default_rng(1).random((side, side)).astype(np.float32) * level
    counts, _edges = np.histogram(random, bins=16, range=(0, 1))
    found = np.square(level_shares(random[None])[0]) * side**2
    assert np.allclose(found, counts, atol=0.1)


@pytest.mark.parametrize(("cycles", "ring"), [(2, 2), (3, 3), (6, 6), (30, 11)])
def test_each_frequency_has_its_ring(cycles: float, ring: int) -> None:
    assert int(texture(waves(cycles))[0].argmax()) == ring


def test_texture_does_not_see_brightness_and_does_see_blur() -> None:
    noise = (0.3 + 0.2 * rand(1, 48, 48)).astype(np.float32)
    assert np.allclose(texture(noise), texture(noise + 0.2), atol=1e-3)
    steps = [np.roll(noise, (down, across), (1, 2)) for down in (0, 1) for across in (0, 1)]
    blurred = np.asarray(np.mean(steps, axis=0), dtype=np.float32)
    assert (texture(noise) - texture(blurred))[0, -1] > 0.5


@pytest.mark.parametrize("shape", [(28, 28), (33, 47), (224, 224)])
def test_every_shape_has_as_many_measures(shape: tuple[int, int]) -> None:
    noise = rand(3, *shape)
    assert level_shares(noise).shape == (3, 16)
    assert texture(noise).shape == (3, 12)
    assert layout(noise).shape == (3, 64)


def test_only_in_small_pictures_a_ring_is_empty() -> None:
    noise = rand(1, 96, 96)
    assert bool((texture(noise) > -2.9).all())
    assert bool(np.isfinite(texture(noise[:, :28, :28])).all())


def test_a_flat_picture_has_finite_measures() -> None:
    assert bool(np.isfinite(texture(pictures(0.0, 0.5))).all())


def test_layout_is_the_picture_in_small() -> None:
    corner = np.zeros((1, 32, 32), np.float32)
    corner[0, :4, :4] = 1
    expected = np.zeros(64)
    expected[0] = 1
    assert np.array_equal(layout(corner)[0], expected)
