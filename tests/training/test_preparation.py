import io

import numpy as np
import pytest
from PIL import Image

from tests.training.builders import encode_png
from training.algorithm.crops import KINDS
from training.algorithm.failure import BadSampleError
from training.algorithm.images import UndecodableImageError, decode_image
from training.algorithm.preparation import Preparation


def coloured(height: int, width: int) -> np.ndarray:
    """Red rises downwards, green to the right: each pixel says where it is from."""
    pixels = np.full((height, width, 3), 90, np.uint8)
    pixels[:, :, 0] = 2 * np.arange(height)[:, None]
    pixels[:, :, 1] = 2 * np.arange(width)[None, :]
    return pixels


def draws(count: int) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in range(count)]


def test_with_nothing_set_train_sees_what_serving_sees() -> None:
    encoded = encode_png(coloured(60, 40))
    prepared = Preparation((3, 32, 28), augmentation=None)(encoded, np.random.default_rng(0))
    assert np.array_equal(prepared, decode_image(encoded, (3, 32, 28)))


def test_resize_alone_is_the_shortest_side_then_the_centre() -> None:
    encoded = encode_png(np.repeat(np.repeat(coloured(30, 50), 2, axis=0), 2, axis=1))
    prepared = Preparation((3, 28, 28), resize=30, augmentation=None)(encoded, None)
    assert prepared.shape == (28, 28, 3)
    centre = coloured(30, 50)[1:29, 11:39].astype(int)
    assert np.abs(prepared.astype(int) - centre).max() <= 2


def test_a_crop_is_a_part_of_the_image_and_half_of_them_are_flipped() -> None:
    pixels = coloured(40, 50)
    places, flips = set(), 0
    for draw in draws(200):
        part = Preparation((3, 32, 30), augmentation="crop")(encode_png(pixels), draw)
        flipped = part[0, 0, 1] > part[0, -1, 1]
        upright = part[:, ::-1] if flipped else part
        top, left = upright[0, 0, 0] // 2, upright[0, 0, 1] // 2
        assert np.array_equal(upright, pixels[top : top + 32, left : left + 30])
        places.add((int(top), int(left)))
        flips += int(flipped)
    assert {top for top, _ in places} == set(range(9))
    assert {left for _, left in places} == set(range(21))
    assert 70 < flips < 130


def test_validation_is_cropped_in_the_centre_and_never_varied() -> None:
    pixels = coloured(40, 50)
    part = Preparation((3, 32, 30), augmentation="crop_color_transform")(encode_png(pixels), None)
    assert np.array_equal(part, pixels[4:36, 10:40])


def test_colour_is_shifted_within_its_range() -> None:
    """Saturated red: a hue within 36 of 180 is 72 degrees, lightness within 50 of 255."""
    red = np.zeros((32, 32, 3), np.uint8)
    red[:, :, 0] = 200
    seen = []
    for draw in draws(100):
        varied = Preparation((3, 32, 32), augmentation="crop_color")(encode_png(red), draw)
        assert (varied == varied[0, 0]).all()
        seen.append(varied[0, 0].astype(int))
    lightness = [(max(pixel) + min(pixel)) / 2 for pixel in seen]
    assert 50 - 1 <= min(lightness) < 60
    assert 140 < max(lightness) <= 150 + 1
    hues = [_hue(pixel) for pixel in seen]
    assert all(hue <= 73 or hue >= 287 for hue in hues)
    assert any(50 < hue <= 73 for hue in hues)
    assert any(287 <= hue < 310 for hue in hues)


def _hue(pixel: np.ndarray) -> float:
    import colorsys  # noqa: PLC0415  # the reference for one test

    return 360 * colorsys.rgb_to_hls(*(pixel / 255))[0]


def test_of_one_channel_only_the_lightness_changes() -> None:
    grey = encode_png(np.full((32, 32), 100, np.uint8))
    for draw in draws(20):
        varied = Preparation((1, 32, 32), augmentation="crop_color")(grey, draw)
        assert varied.shape == (32, 32, 1)
        assert 50 <= varied[0, 0, 0] <= 150


def test_a_transform_turns_shears_and_stretches_within_limits() -> None:
    """A bright dot off the centre moves, but no further than 10°, 0.1 and 0.25 allow."""
    pixels = np.zeros((101, 101), np.uint8)
    pixels[48:53, 83:88] = 255  # 35 to the right of the centre
    moved = []
    for draw in draws(60):
        part = Preparation((1, 101, 101), augmentation="crop_color_transform")(
            encode_png(pixels), draw
        )[:, :, 0].astype(int)
        rows, columns = np.nonzero(part > part.max() - 60)
        moved.append((rows.mean() - 50, abs(columns.mean() - 50)))
    heights, reaches = np.array(moved).T
    assert np.abs(heights).max() < 35 * 1.2 * 0.3
    assert np.abs(heights).max() > 3
    assert 24 < reaches.min() < 32
    assert 37 < reaches.max() < 45


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_draw_gives_the_same_image(kind: str) -> None:
    prepare = Preparation((3, 32, 32), resize=40, augmentation=kind)
    encoded = encode_png(coloured(60, 50))
    first, again, other = (prepare(encoded, np.random.default_rng(s)) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("varied", [True, False])
@pytest.mark.parametrize("size", [(31, 64), (64, 31)])
def test_an_image_smaller_than_the_crop_is_refused(size: tuple[int, int], *, varied: bool) -> None:
    draw = np.random.default_rng(0) if varied else None
    with pytest.raises(BadSampleError, match="set resize to 32 or more"):
        Preparation((3, 32, 32), augmentation="crop")(encode_png(coloured(*size)), draw)


def test_resize_makes_a_small_image_large_enough() -> None:
    prepare = Preparation((3, 32, 32), resize=36, augmentation="crop")
    assert prepare(encode_png(coloured(20, 31)), np.random.default_rng(0)).shape == (32, 32, 3)


def test_what_is_no_picture_is_refused_in_either_way() -> None:
    broken = io.BytesIO()
    Image.fromarray(coloured(40, 40)).save(broken, "PNG")
    for prepare in (Preparation((3, 32, 32)), Preparation((3, 32, 32), resize=40)):
        with pytest.raises(UndecodableImageError):
            prepare(broken.getvalue()[:-40], None)
