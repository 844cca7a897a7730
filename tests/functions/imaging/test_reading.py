"""Reading any upload: a slice is the same in every format, and hostile bytes end in words."""

import logging
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.functions.imaging.inputs import (
    LIMITS,
    SECRET,
    Array,
    assert_same,
    at,
    dataset,
    dicom,
    enhanced,
    grey_of,
    nifti,
    phantom,
    picture,
    real,
    saved,
    zipped,
)
from tests.functions.imaging.test_dicom import refused, warned
from tests.functions.imaging.test_nifti import DISPLAY, IN_FILE
from tomodrop.errors import UploadRejected
from tomodrop.imaging.limits import Limits
from tomodrop.imaging.normaliser import normalise
from tomodrop.imaging.reading import read
from tomodrop.imaging.volume import Volume

CT = phantom()
UNSIGNED = (CT.astype(np.int32) + 1024).astype(np.uint16)
GREYS = grey_of(CT)

SAME_SLICE = {
    "DICOM": dicom(),
    "NIfTI": nifti(CT.T, DISPLAY),
    "NIfTI, gzip": nifti(CT.T, DISPLAY, gzip=True),
    "16-bit PNG": picture(UNSIGNED, "PNG"),
    "16-bit TIFF": picture(UNSIGNED, "TIFF"),
    "16-bit JPEG 2000": picture(UNSIGNED, "JPEG2000"),
    "32-bit TIFF": picture(CT.astype(np.int32), "TIFF"),
    "float TIFF": picture(CT.astype(np.float32), "TIFF"),
    "float TIFF of LZW": picture(CT.astype(np.float32), "TIFF", compression="tiff_lzw"),
    "HU + 32768": picture((CT.astype(np.int32) + 32768).astype(np.uint16), "PNG"),
    "8-bit PNG": picture(GREYS, "PNG"),
    "8-bit BMP": picture(GREYS, "BMP"),
    "8-bit WebP": picture(np.stack([GREYS] * 3, axis=2), "WEBP", lossless=True),
    "8 bit in 16": picture(GREYS.astype(np.uint16), "PNG"),
    "8 bit over 16": picture(GREYS.astype(np.uint16) * 257, "PNG"),
    "greys from 0 to 1": picture((GREYS / 255).astype(np.float32), "TIFF"),
    "zip": zipped({"a": dicom()}),
}


@pytest.mark.parametrize("body", SAME_SLICE.values(), ids=SAME_SLICE)
def test_the_same_slice_is_the_same_in_every_format(body: bytes) -> None:
    made = read(body, LIMITS)
    assert_same(made, CT[None], most=1)
    assert made.planes[0].has_lung
    assert not warned(made, "Out of scope")


@pytest.mark.parametrize("form", ["16-bit PNG", "16-bit TIFF", "HU + 32768", "8 bit over 16"])
def test_a_guessed_window_is_said(form: str) -> None:
    assert warned(read(SAME_SLICE[form], LIMITS), "Window guessed")


def test_what_a_picture_does_not_say_is_warned_of() -> None:
    made = read(SAME_SLICE["8-bit PNG"], LIMITS)
    assert [text.partition(":")[0] for text in made.warnings] == ["No Hounsfield scale"]
    assert made.processing["window"] == "as displayed in the picture"
    assert made.planes[0].position_mm is None


def coloured(share: float) -> bytes:
    pixels = np.stack([GREYS] * 3, axis=2)
    pixels[: round(share * len(pixels)), :, 0] = 255
    pixels[: round(share * len(pixels)), :, 1:] = 0
    return picture(pixels, "PNG")


def test_colour_is_refused_where_it_is_plain_and_warned_of_where_it_is_little() -> None:
    assert refused(coloured(0.3)).code == "not_a_ct_slice"
    assert warned(read(coloured(0.05), LIMITS), "Coloured")
    assert not warned(read(coloured(0), LIMITS), "Coloured")


@pytest.mark.parametrize(
    "greys",
    [
        np.full((64, 64), 128, np.uint8),
        np.tile(np.arange(64, dtype=np.uint8), (64, 1)),
        (GREYS * 0.6).astype(np.uint8),
        255 - GREYS,
    ],
    ids=["flat", "ramp", "dim", "inverted"],
)
def test_what_does_not_look_like_a_slice_is_warned_of(greys: Array) -> None:
    assert warned(read(picture(greys, "PNG"), LIMITS), "Out of scope?")


def test_the_pages_of_a_tiff_are_planes() -> None:
    pages = [Image.fromarray(UNSIGNED), Image.fromarray(UNSIGNED[::-1].copy())]
    made = read(picture(UNSIGNED, "TIFF", save_all=True, append_images=pages[1:]), LIMITS)
    assert_same(made, np.stack([CT, CT[::-1]]))
    assert [plane.index for plane in made.planes] == [0, 1]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "empty_file"),
        (SECRET.encode() * 100, "unsupported_format"),
        (bytes(1000), "unsupported_format"),
        (b"\x08\0\x05\0" + bytes(20), "unsupported_format"),
        (b"\x08\0\x05\0CS\x0a\0" + SECRET.encode() * 30, "no_image"),
        (b"\x08\0\0\0\x04\0\0\0" + bytes(200), "wrong_modality"),
        (picture(np.zeros((16, 64), np.uint8), "PNG"), "too_small"),
    ],
    ids=["empty", "text", "zeros", "too short", "DICOM of text", "DICOM of zeros", "too small"],
)
def test_what_cannot_be_read_has_its_code(body: bytes, code: str) -> None:
    fault = refused(body)
    assert fault.code in (code, "damaged_image", "wrong_modality")


def test_libraries_neither_warn_nor_log_what_they_find_odd(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    made = dataset(CT, PatientBirthDate="1234567890")
    made.StudyDate = "20200101"
    body = saved(made).replace(b"20200101", b"SECRET^N")
    nii = nifti(IN_FILE, DISPLAY, qform_code=77, intent_code=999)
    with warnings.catch_warnings(record=True, action="always") as caught:
        for upload in (body, nii, zipped({"a": body}), body[:-77]):
            outcome(upload)
    assert caught == []
    assert caplog.records == []


def test_no_text_of_a_file_is_in_what_comes_of_it() -> None:
    for body in (at(1), enhanced([1.0, 2.0]), zipped({SECRET: at(1)}), nifti(IN_FILE, DISPLAY)):
        for made in normalise(body, (3, 64, 64)):
            assert "SECRET" not in str((made.processing, made.warnings))
            assert b"SECRET" not in made.png


def test_what_was_left_out_is_told_but_not_without_end() -> None:
    foreign = {f"x{place}": b"x" for place in range(30)}
    (made,) = normalise(zipped({"a": at(1)} | foreign), (3, 64, 64))
    named = made.processing["left_out"]
    assert named[0] == "file 2 of 31: no image of a format that is read"
    assert (len(named), named[-1]) == (21, "and 10 more")
    assert any(text.startswith("Left out: 30") for text in made.warnings)


def test_a_volume_gives_its_slices_in_order() -> None:
    made = normalise(nifti(IN_FILE, DISPLAY), (3, 64, 64))
    assert [one.index for one in made] == [0, 1, 2, 3, 4]
    assert [one.position_mm for one in made] == [0.0, 10.0, 20.0, 30.0, 40.0]
    assert all(one.has_lung for one in made)


SMALL = Limits(max_decoded_bytes=8 << 20, free_bytes=1 << 20)
WHOLE = [*SAME_SLICE.values(), enhanced([1.0, 2.0]), zipped({"a": at(1), "b": at(2)})]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(WHOLE), st.data())
def test_whatever_is_damaged_a_volume_or_a_refusal_comes_of_it(
    body: bytes, data: st.DataObject
) -> None:
    damaged = bytearray(body)
    headers = st.integers(0, min(len(body), 1200) - 1)
    places = headers | st.integers(0, len(body) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=8)):
        damaged[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.none() | places)
    outcome(bytes(damaged[:cut]))


@settings(deadline=None)
@given(st.binary(max_size=400), st.sampled_from([body[:140] for body in WHOLE] + [b""]))
def test_whatever_the_bytes_a_volume_or_a_refusal_comes_of_them(body: bytes, start: bytes) -> None:
    outcome(start + body)


def outcome(body: bytes) -> Volume | str:
    try:
        made = read(body, SMALL)
    except UploadRejected as fault:
        refusal = fault
    else:
        return checked(made)
    assert "SECRET" not in str(refusal)
    return refusal.code


def checked(made: Volume) -> Volume:
    assert made.planes
    assert all(plane.grey.dtype == np.uint8 and plane.grey.ndim == 2 for plane in made.planes)
    return made


@pytest.mark.skipif(not real("odd"), reason="the shared development data is absent")
def test_real_odd_files_end_in_a_volume_or_a_refusal() -> None:
    for path in real("odd"):
        body = path.read_bytes()
        outcome(body)
        if "not-ct" in path.parts:
            assert is_suspected(body)


def is_suspected(body: bytes) -> bool:
    found: Any = outcome(body)
    return found == "not_a_ct_slice" or warned(found, "Out of scope?")


@pytest.mark.skipif(not real("sars-cov-2-ct"), reason="the shared development data is absent")
def test_real_slices_are_not_suspected() -> None:
    for path in real("sars-cov-2-ct")[::20]:
        body = path.read_bytes()
        assert not is_suspected(body)
        assert read(body, LIMITS).planes[0].has_lung
