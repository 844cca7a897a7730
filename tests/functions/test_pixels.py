"""A slice in a few numbers: right ones, of the pixels that the model sees, in each index line."""

import hashlib
import io
import json
import statistics

import pytest
from PIL import Image

import intake
from tests.functions.builders import encoded, gradient, lines_of, png, s3_event, source, upload
from tests.functions.conftest import Context
from tomodrop import keys, objects
from tomodrop.clients import App
from tomodrop.imaging.normaliser import normalise
from tomodrop.pixels import LIT_FROM, Pixels, pixels_of
from tomodrop.slices import read_lines, write_lines

SHAPE = (3, 64, 64)


def test_the_numbers_are_those_of_the_greys_that_the_model_sees() -> None:
    (made,) = normalise(png((96, 48)), SHAPE)
    greys = Image.open(io.BytesIO(made.png)).convert("L").tobytes()
    assert made.pixels is not None
    assert made.pixels.mean == pytest.approx(statistics.fmean(greys), abs=1e-3)
    assert made.pixels.spread == pytest.approx(statistics.pstdev(greys), abs=1e-3)
    lit = sum(grey >= LIT_FROM for grey in greys) / len(greys)
    assert made.pixels.lit_share == pytest.approx(lit, abs=1e-5)
    assert made.pixels.sha256 == hashlib.sha256(greys).hexdigest()


def test_the_same_picture_has_the_same_numbers_in_every_file() -> None:
    (as_png,), (as_tiff,) = (normalise(encoded(gradient(), k), SHAPE) for k in ("PNG", "TIFF"))
    (another,) = normalise(png(grey=121), SHAPE)
    assert as_png.pixels == as_tiff.pixels != another.pixels


@pytest.mark.parametrize("grey", [0, 255])
def test_one_grey_has_no_spread(grey: int) -> None:
    histogram = [0] * 256
    histogram[grey] = 9
    made = pixels_of(histogram, bytes([grey] * 9))
    assert (made.mean, made.spread, made.lit_share) == (grey, 0, float(grey > 0))


def test_half_black_and_half_white_is_the_widest_spread() -> None:
    made = pixels_of([1] + [0] * 254 + [1], b"\x00\xff")
    assert (made.mean, made.spread, made.lit_share) == (127.5, 127.5, 0.5)


def test_a_slice_without_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="without pixels"):
        pixels_of([0] * 256, b"")


@pytest.mark.parametrize(
    "change",
    [
        {"mean": -1},
        {"mean": 256},
        {"mean": float("nan")},
        {"spread": 128},
        {"lit_share": 1.1},
        {"sha256": "AB" * 32},
        {"phash": "ab" * 31},
        {"phash": "Doe^Jane" * 8},
        {"patient": "name"},
    ],
)
def test_numbers_out_of_bounds_are_refused(change: dict[str, object]) -> None:
    good = {"mean": 1.0, "spread": 1.0, "lit_share": 0.5, "sha256": "ab" * 32}
    Pixels.model_validate(good)
    with pytest.raises(ValueError, match="validation error"):
        Pixels.model_validate(good | change)


def test_intake_writes_them_into_the_index(stack: App) -> None:
    record = upload(stack, "incoming/a.png", png())
    assert intake.handler(s3_event(record), Context()) == {"batchItemFailures": []}
    work = stack.settings.work_bucket
    (part,) = [key for key in objects.keys_under(stack.s3, work, keys.BATCHES) if "/index/" in key]
    (line,) = read_lines(objects.read(stack.s3, work, part))
    (made,) = normalise(png(), stack.settings.image_shape)
    assert line.pixels == made.pixels is not None


def test_a_line_from_before_has_none() -> None:
    (line,) = lines_of(source())
    described = json.loads(write_lines([line]))
    del described["pixels"]
    assert next(read_lines(json.dumps(described).encode())).pixels is None
