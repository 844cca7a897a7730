"""The PNG files of slices, as another decoder reads them."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from tomodrop.imaging.encoding import encode
from tomodrop.imaging.volume import Grey
from tomodrop.sandbox.pngs import is_plain_png

PICTURES = arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20)))


@given(PICTURES, st.sampled_from([1, 3]))
def test_pixels_come_back_as_they_were_in_every_channel(pixels: Grey, channels: int) -> None:
    made = encode(Image.fromarray(pixels), channels)
    assert is_plain_png(made, (channels, *pixels.shape))
    read = Image.open(io.BytesIO(made))
    assert read.mode == {1: "L", 3: "RGB"}[channels]
    assert all(np.array_equal(np.asarray(band), pixels) for band in read.split())


def test_a_slice_is_about_as_small_as_pillow_makes_it() -> None:
    y, x = np.mgrid[:224, :224]
    noise = np.random.default_rng(1).normal(0.0, 8.0, x.shape)
    slice_ = Image.fromarray((90.0 + 60 * np.sin(x / 30) * np.cos(y / 40) + noise).astype(np.uint8))
    usual = io.BytesIO()
    slice_.convert("RGB").save(usual, "PNG", compress_level=1)
    assert len(encode(slice_, 3)) < 1.1 * len(usual.getvalue())


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_there_are_no_other_channels(channels: int) -> None:
    with pytest.raises(KeyError):
        encode(Image.new("L", (4, 4)), channels)
