import numpy as np
import pytest

from training.algorithm.augment import vary_ct


def phantom(side: int = 64, channels: int = 3) -> np.ndarray:
    image = np.zeros((side, side, channels), np.uint8)
    image[16:48, 8:56] = 90
    image[24:32, 12:28] = 200
    return image


@pytest.mark.parametrize("channels", [1, 3])
def test_shape_and_type_are_kept(channels: int) -> None:
    varied = vary_ct(phantom(channels=channels), np.random.default_rng(0))
    assert varied.shape == (64, 64, channels)
    assert varied.dtype == np.uint8


def test_the_same_generator_gives_the_same_image_and_another_does_not() -> None:
    first, again, other = (vary_ct(phantom(), np.random.default_rng(s)) for s in (4, 4, 5))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_grey_stays_grey() -> None:
    for seed in range(20):
        varied = vary_ct(phantom(), np.random.default_rng(seed))
        assert (varied == varied[:, :, :1]).all()


def test_left_and_right_are_never_swapped() -> None:
    """The bright patch is on the left; it stays there, and about as large, however varied."""
    for seed in range(60):
        varied = vary_ct(phantom(), np.random.default_rng(seed))[:, :, 0].astype(float)
        bright = np.argwhere(varied > (varied.max() + np.median(varied[20:44, 34:50])) / 2)
        assert 12 < bright[:, 1].mean() < 28
        assert 16 < bright[:, 0].mean() < 40


def test_the_original_is_left_alone() -> None:
    image = phantom()
    vary_ct(image, np.random.default_rng(1))
    assert np.array_equal(image, phantom())
