"""The pixels a model sees: the same for the same picture, and of the model's shape."""

import io
from typing import Any

import pytest
from PIL import Image

from tests.functions.builders import encoded, gradient, png
from tests.functions.test_pictures import SAME_PICTURE, raw_png
from tomodrop.errors import UploadRejected
from tomodrop.imaging.formats import Family
from tomodrop.imaging.normalised import NormalisedSlice
from tomodrop.imaging.normaliser import normalise, pad_to_square, warm_up
from tomodrop.imaging.version import NORMALISER
from tomodrop.imaging.warming import samples

SHAPE = (3, 64, 64)


def one(body: bytes, shape: tuple[int, int, int] = SHAPE) -> NormalisedSlice:
    (made,) = normalise(body, shape)
    return made


def pixels(made: NormalisedSlice) -> Image.Image:
    return Image.open(io.BytesIO(made.png))


@pytest.mark.parametrize("body", SAME_PICTURE.values(), ids=SAME_PICTURE)
def test_the_same_picture_gives_the_same_bytes_in_every_mode(body: bytes) -> None:
    assert one(body).png == one(SAME_PICTURE["L"]).png


@pytest.mark.parametrize(
    ("shape", "mode"),
    [((3, 224, 224), "RGB"), ((3, 64, 48), "RGB"), ((1, 64, 64), "L"), ((3, 32, 32), "RGB")],
)
def test_a_slice_has_the_shape_the_model_wants(shape: tuple[int, int, int], mode: str) -> None:
    image = pixels(one(png(), shape))
    assert (image.format, image.mode) == ("PNG", mode)
    assert image.size == (shape[2], shape[1])


def test_the_three_channels_are_the_same_grey() -> None:
    red, green, blue = pixels(one(png(mode="RGB"))).split()
    assert red.tobytes() == green.tobytes() == blue.tobytes()


def test_a_slice_of_the_right_size_is_taken_as_it_is() -> None:
    grey = gradient((64, 64))
    assert pixels(one(encoded(grey))).convert("L").tobytes() == grey.tobytes()


@pytest.mark.parametrize("size", [(96, 48), (48, 96), (97, 48), (48, 33)])
def test_a_slice_is_padded_with_black_to_a_centred_square(size: tuple[int, int]) -> None:
    square = pad_to_square(Image.new("L", size, 200))
    side = max(size)
    assert square.size == (side, side)
    box = square.getbbox()
    assert box is not None
    left, top, right, bottom = box
    assert (right - left, bottom - top) == size
    assert abs(left - (side - right)) <= 1
    assert abs(top - (side - bottom)) <= 1


def test_circles_stay_circles() -> None:
    image = Image.new("L", (200, 100))
    image.paste(255, (90, 40, 110, 60))
    box = pixels(one(encoded(image), (3, 100, 100))).convert("L").point(lambda v: v > 127).getbbox()
    assert box is not None
    assert (box[2] - box[0], box[3] - box[1]) == (10, 10)


def test_how_it_came_about_is_told() -> None:
    body = encoded(gradient((96, 80)).convert("RGBA"))
    assert one(body).processing == {
        "format": "PNG",
        "mode": "RGBA",
        "bits": 8,
        "width_px": 96,
        "height_px": 80,
        "window": "as displayed in the picture",
        "alpha": "opaque",
        "normaliser": NORMALISER,
        "image_shape": [3, 64, 64],
    }


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (png(), ["No Hounsfield", "Out of scope?"]),
        (encoded(gradient((96, 80)), "JPEG"), ["No Hounsfield", "Out of scope?", "Lossy"]),
        (png((60, 40)), ["No Hounsfield", "Out of scope?", "Upsampled"]),
        (
            encoded(gradient((60, 40)), "JPEG"),
            ["No Hounsfield", "Out of scope?", "Lossy", "Upsampled"],
        ),
    ],
    ids=["PNG", "JPEG", "small PNG", "small JPEG"],
)
def test_what_a_reader_should_know_is_a_warning(body: bytes, said: list[str]) -> None:
    found = one(body).warnings
    assert [text.startswith(start) for text, start in zip(found, said, strict=True)] == (
        [True] * len(said)
    )


@pytest.mark.parametrize("size", [(31, 200), (200, 31), (1, 1)])
def test_what_is_too_small_for_a_slice_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(UploadRejected) as refused:
        normalise(png(size), SHAPE)
    assert refused.value.code == "too_small"
    assert f"{size[0]} x {size[1]} pixels" in refused.value.message


def test_the_smallest_slice_is_taken() -> None:
    assert pixels(one(png((32, 32)))).size == (64, 64)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "empty_file"),
        (b"GIF89a", "unsupported_format"),
        (png()[:-40], "damaged_image"),
        (raw_png(64, 64, depth=16, colour=2), "unsupported_depth"),
        (encoded(Image.new("L", (4097, 32))), "too_many_pixels"),
    ],
    ids=["empty", "GIF", "cut off", "16-bit colour", "too wide"],
)
def test_what_cannot_be_decoded_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(UploadRejected) as refused:
        normalise(body, SHAPE)
    assert refused.value.code == code


def test_the_widest_slice_needs_no_more_memory_than_its_square() -> None:
    image = pixels(one(encoded(Image.new("L", (4096, 32), 255))))
    column: list[Any] = [image.getpixel((32, row)) for row in range(64)]
    assert column[0] == (0, 0, 0)
    assert max(column) > (0, 0, 0)


def test_warming_up_reads_what_it_makes() -> None:
    warm_up()
    for sample in samples(Family.ALL):
        assert one(sample, (3, 224, 224)).png
