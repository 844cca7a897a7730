"""Decoding pictures: every mode to the same greys, and nothing else whatever the bytes."""

import io
import random
import struct
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps, PngImagePlugin

from tests.functions.builders import encoded, gradient, png
from tomodrop.errors import UploadRejected
from tomodrop.imaging.limits import Limits
from tomodrop.imaging.pictures import Picture, decode

GREY = gradient((64, 48))
MAX_SIDE_PX = Limits().max_side_px
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def raw_png(width: int, height: int, depth: int = 8, colour: int = 0, data: bytes = b"") -> bytes:
    """A PNG whose header says what one likes; the pixels are zeros unless given."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = b"\0" + bytes(width * channels * depth // 8)
    pixels = data or (row * height if width * height < 1 << 20 else row)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        SIGNATURE
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(pixels))
        + chunk(b"IEND", b"")
    )


def with_alpha(mode: str) -> Image.Image:
    """The picture under an alpha channel of noise, fully transparent in places."""
    image = GREY.convert(mode)
    image.putalpha(Image.frombytes("L", GREY.size, random.Random(0).randbytes(64 * 48)))
    return image


def palette() -> Image.Image:
    image = GREY.copy()
    image.putpalette([level for grey in range(256) for level in (grey, grey, grey)])
    return image


def grey_of(picture: Picture) -> NDArray[Any]:
    """The only page of an 8-bit picture."""
    (page,) = picture.pages
    assert page.dtype == np.uint8
    return page


def animated() -> bytes:
    return encoded(GREY, save_all=True, append_images=[GREY.rotate(90)])


SAME_PICTURE = {
    "L": encoded(GREY),
    "LA": encoded(with_alpha("LA")),
    "P": encoded(palette()),
    "P with one transparent entry": encoded(palette(), transparency=7),
    "P with an alpha of each entry": encoded(palette(), transparency=bytes(range(256))),
    "RGB": encoded(GREY.convert("RGB")),
    "RGB with a transparent colour": encoded(GREY.convert("RGB"), transparency=(9, 9, 9)),
    "RGBA": encoded(with_alpha("RGBA")),
    "L with a transparent grey": encoded(GREY, transparency=120),
    "interlaced or not": encoded(GREY, optimize=True),
    "with a gamma": encoded(GREY, gamma=0.4),
}


@pytest.mark.parametrize("body", SAME_PICTURE.values(), ids=SAME_PICTURE)
def test_the_same_picture_gives_the_same_greys_in_every_mode(body: bytes) -> None:
    picture = decode(body)
    assert grey_of(picture).tobytes() == GREY.tobytes()
    assert (picture.format, picture.bits, picture.is_lossy) == ("PNG", 8, False)


def test_the_mode_of_the_file_is_told() -> None:
    assert [decode(SAME_PICTURE[mode]).mode for mode in ("L", "LA", "P", "RGB", "RGBA")] == [
        "L",
        "LA",
        "P",
        "RGB",
        "RGBA",
    ]


def test_black_and_white_is_grey_too() -> None:
    picture = decode(encoded(GREY.convert("1")))
    assert picture.mode == "1"
    assert set(grey_of(picture).tobytes()) == {0, 255}


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_samples_of_fewer_bits_are_spread_over_the_range(bits: int) -> None:
    picture = decode(raw_png(64, 8, depth=bits, data=(b"\0" + b"\xff" * (8 * bits)) * 8))
    assert set(grey_of(picture).tobytes()) == {255}


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpegs_are_told_to_be_lossy(mode: str, progressive: bool) -> None:
    body = encoded(GREY.convert(mode), "JPEG", quality=95, progressive=progressive)
    picture = decode(body)
    assert (picture.format, picture.mode, picture.is_lossy) == ("JPEG", mode, True)
    assert np.abs(grey_of(picture).astype(int) - np.asarray(GREY)).max() < 30


def test_text_and_colour_profiles_do_not_change_a_pixel() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("PatientName", "SECRET")
    text.add_itxt("Comment", "SECRET", zip=True)
    body = encoded(GREY, pnginfo=text, icc_profile=b"no profile", exif=b"Exif\0\0garbage")
    assert grey_of(decode(body)).tobytes() == GREY.tobytes()


def test_the_largest_picture_is_decoded() -> None:
    body = encoded(Image.new("L", (MAX_SIDE_PX, MAX_SIDE_PX), 7))
    assert grey_of(decode(body)).shape == (4096, 4096)


REFUSED = {
    "empty": (b"", "empty_file"),
    "random bytes": (random.Random(1).randbytes(5000), "unsupported_format"),
    "text": (b"PatientName=SECRET", "unsupported_format"),
    "GIF": (encoded(GREY, "GIF"), "unsupported_format"),
    "PPM": (encoded(GREY, "PPM"), "unsupported_format"),
    "DICOM": (bytes(128) + b"DICM" + bytes(64), "unsupported_format"),
    "signature only": (SIGNATURE, "damaged_image"),
    "JPEG signature only": (b"\xff\xd8\xff\xe0", "damaged_image"),
    "header cut off": (encoded(GREY)[:20], "damaged_image"),
    "cut off": (encoded(GREY)[:-60], "damaged_image"),
    "cut off early": (encoded(GREY)[:60], "damaged_image"),
    "JPEG cut off": (encoded(GREY, "JPEG")[:-200], "damaged_image"),
    "no pixels": (SIGNATURE + encoded(GREY)[8:33] + chunk(b"IEND", b""), "damaged_image"),
    "no zlib": (raw_png(64, 64).replace(b"\x78\x9c", b"\x00\x00"), "damaged_image"),
    "animated": (animated(), "several_images"),
    "several in one JPEG": (
        encoded(GREY, "MPO", save_all=True, append_images=[GREY]),
        "several_images",
    ),
    "16-bit colour": (raw_png(64, 64, depth=16, colour=2), "unsupported_depth"),
    "16-bit grey with alpha": (raw_png(64, 64, depth=16, colour=4), "unsupported_depth"),
    "16-bit colour with alpha": (raw_png(64, 64, depth=16, colour=6), "unsupported_depth"),
    "one column too many": (raw_png(MAX_SIDE_PX + 1, 32), "too_many_pixels"),
    "a strip of as many pixels as the largest square": (raw_png(32, 524_288), "too_many_pixels"),
    "bomb by its header, a warning in Pillow": (raw_png(12_000, 12_000), "too_many_pixels"),
    "bomb by its header": (raw_png(30_000, 30_000), "too_many_pixels"),
    "bomb of the largest size": (raw_png(2**31 - 1, 2**31 - 1), "too_many_pixels"),
    "no width": (raw_png(0, 64), "damaged_image"),
}


@pytest.mark.parametrize(("body", "code"), REFUSED.values(), ids=REFUSED)
def test_everything_else_is_refused_with_a_reason_and_a_remedy(body: bytes, code: str) -> None:
    with (
        warnings.catch_warnings(record=True, action="always") as warned,
        pytest.raises(UploadRejected) as refused,
    ):
        decode(body)
    assert refused.value.code == code
    assert refused.value.message.endswith(".")
    assert refused.value.remedy.endswith(".")
    assert "SECRET" not in str(refused.value)
    assert warned == []


@pytest.mark.parametrize(
    ("kind", "options", "is_lossy"),
    [
        ("BMP", {}, False),
        ("TIFF", {}, False),
        ("TIFF", {"compression": "tiff_lzw"}, False),
        ("JPEG2000", {}, False),
        ("JPEG2000", {"no_jp2": True}, False),
        ("JPEG2000", {"irreversible": True}, True),
        ("WEBP", {"lossless": True}, False),
        ("WEBP", {"quality": 95}, True),
    ],
)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_other_formats_give_the_same_greys(
    kind: str, options: dict[str, Any], is_lossy: bool, mode: str
) -> None:
    picture = decode(encoded(GREY.convert(mode), kind, **options))
    assert (picture.format, picture.bits, picture.is_lossy) == (kind, 8, is_lossy)
    difference = np.abs(grey_of(picture).astype(int) - np.asarray(GREY)).max()
    assert difference < (30 if is_lossy else 1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_exif_says(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {"quality": 100}
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(encoded(GREY, kind, exif=exif))))
    assert expected is not None
    found = grey_of(decode(encoded(GREY, kind, exif=exif, **options)))
    assert found.shape == (expected.height, expected.width)
    assert np.abs(found.astype(int) - np.asarray(expected.convert("L"))).max() < 30


DEEP = (np.arange(64 * 48, dtype=np.uint16) * 20).reshape(48, 64)


@pytest.mark.parametrize(
    ("kind", "samples", "bits"),
    [
        ("PNG", DEEP, 16),
        ("TIFF", DEEP, 16),
        ("JPEG2000", DEEP, 16),
        ("TIFF", DEEP.astype(np.int32) - 1024, 32),
        ("TIFF", DEEP.astype(np.float32) - 1024.5, 32),
    ],
)
def test_deep_samples_are_handed_on_as_they_are(
    kind: str, samples: NDArray[Any], bits: int
) -> None:
    picture = decode(encoded(Image.fromarray(samples), kind))
    assert picture.bits == bits
    assert np.array_equal(picture.pages[0], samples)


def test_white_may_be_zero_in_16_bit_too() -> None:
    """Photometric interpretation 0, which Pillow heeds for 8-bit samples only."""
    body = encoded(Image.fromarray(DEEP), "TIFF")
    entry = struct.pack("<HHI", 262, 3, 1)
    assert body.count(entry) == 1
    place = body.index(entry) + len(entry)
    inverse = body[:place] + struct.pack("<H", 0) + body[place + 2 :]
    assert np.array_equal(decode(inverse).pages[0], 65535 - DEEP)


@pytest.mark.parametrize("colour", [2, 4, 6])
def test_of_16_bit_colour_the_high_byte_is_kept(colour: int) -> None:
    channels = {2: 3, 4: 2, 6: 4}[colour]
    row = b"\0" + b"\x80\x12" * (64 * channels)
    assert set(grey_of(decode(raw_png(64, 64, 16, colour, row * 64))).tobytes()) == {0x80}


def test_the_pages_of_a_tiff_are_slices() -> None:
    pages = [GREY, GREY.rotate(180), GREY.resize((32, 24)), GREY.convert("RGB")]
    body = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    picture = decode(body)
    assert [page.tobytes() for page in picture.pages] == [page.tobytes() for page in pages[:2]]
    assert picture.left_out == (
        "page 3 of 4: another size or depth",
        "page 4 of 4: another size or depth",
    )


def test_pages_are_limited() -> None:
    body = encoded(GREY, "TIFF", save_all=True, append_images=[GREY] * 3)
    for limits, code in (
        (Limits(max_planes=3), "too_many_slices"),
        (Limits(max_decoded_bytes=10_000), "too_large_decoded"),
        (Limits(max_side_px=60), "too_many_pixels"),
        (Limits(max_pixels_per_plane=3000), "too_many_pixels"),
    ):
        with pytest.raises(UploadRejected) as refused:
            decode(body, limits)
        assert refused.value.code == code


def test_text_that_inflates_without_end_is_refused() -> None:
    bomb = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(80 << 20)))
    body = png()
    with pytest.raises(UploadRejected) as refused:
        decode(body[:33] + bomb + body[33:])
    assert refused.value.code == "damaged_image"


OTHERS = ("JPEG", "TIFF", "BMP", "JPEG2000", "WEBP")
WHOLE = [*SAME_PICTURE.values(), animated(), *(encoded(GREY, kind) for kind in OTHERS)]


@given(st.sampled_from(WHOLE), st.data())
def test_whatever_is_damaged_only_a_refusal_comes_of_it(body: bytes, data: st.DataObject) -> None:
    damaged = bytearray(body)
    places = st.integers(0, len(body) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=8)):
        damaged[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.none() | places)
    outcome(bytes(damaged[:cut]))


@given(st.binary(max_size=300), st.sampled_from([b"", SIGNATURE, png()[:33], b"\xff\xd8\xff"]))
def test_whatever_the_bytes_only_a_refusal_comes_of_them(body: bytes, start: bytes) -> None:
    outcome(start + body)


def outcome(body: bytes) -> None:
    try:
        picture = decode(body)
    except UploadRejected:
        return
    assert picture.pages
    assert {page.shape for page in picture.pages} == {picture.pages[0].shape}
    assert all(page.ndim == 2 for page in picture.pages)


def test_the_decoded_picture_is_whole_without_the_file() -> None:
    body = bytearray(png())
    picture = decode(bytes(body))
    body[:] = bytes(len(body))
    assert grey_of(picture)[70, 5] == Image.open(io.BytesIO(png())).getpixel((5, 70))
