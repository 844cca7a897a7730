"""Zips: one volume of the largest series; the rest is named, and what may hurt is refused."""

import io
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian

from tests.functions.imaging.inputs import (
    LIMITS,
    SECRET,
    assert_same,
    at,
    dicom,
    enhanced,
    nifti,
    phantom,
    picture,
    volume,
    zipped,
)
from tests.functions.imaging.test_dicom import CORONAL, CT, recoded, refused, warned
from tests.functions.imaging.test_nifti import DISPLAY, IN_FILE
from tomodrop.imaging.limits import Limits
from tomodrop.imaging.reading import read

HEIGHTS = (30, 10, 20)
SERIES = {f"{SECRET}/{z}.dcm": at(z) for z in HEIGHTS}
ORDERED = np.stack([phantom(shift=z) for z in sorted(HEIGHTS)])


def test_a_series_is_ordered_by_position_whatever_the_order_of_its_files() -> None:
    made = read(zipped(SERIES), LIMITS)
    assert_same(made, ORDERED)
    assert [plane.position_mm for plane in made.planes] == [10.0, 20.0, 30.0]
    assert made.processing["archive"] == "zip"
    assert made.processing["series_count"] == 1
    assert made.processing["slice_spacing_mm"] == 10.0
    assert (made.left_out, made.warnings) == ((), ())


FOREIGN = {
    "localizer": (at(5, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), "localizer"),
    "coronal": (at(5, ImageOrientationPatient=CORONAL), "not axial"),
    "turned over": (at(5, ImageOrientationPatient=[-1, 0, 0, 0, -1, 0]), "another orientation"),
    "other modality": (at(5, Modality="PT"), "not CT"),
    "other size": (dicom(phantom(72, 80), ImagePositionPatient=[0, 0, 5]), "another size"),
    "copy": (at(10, SOPInstanceUID="1.2.3"), "a copy of another"),
    "report": (at(5, Modality="SR"), "a report or a screen capture"),
    "cut off": (at(5)[:-100], "damaged"),
    "text": (SECRET.encode(), "no image of a format that is read"),
    "picture": (picture(np.zeros((64, 64), np.uint8), "PNG"), "no DICOM, as others are"),
}


@pytest.mark.parametrize(("body", "reason"), FOREIGN.values(), ids=FOREIGN)
def test_what_does_not_belong_is_left_out_and_named(body: bytes, reason: str) -> None:
    files = SERIES | {"x.dcm": body}
    if reason == "a copy of another":
        files = {
            name: at(z, SOPInstanceUID=f"1.2.{z}") for name, z in zip(SERIES, HEIGHTS, strict=True)
        }
        files |= {"x.dcm": at(5, SOPInstanceUID="1.2.30")}
    made = read(zipped(files), LIMITS)
    assert_same(made, ORDERED)
    assert made.left_out == (f"file 4 of 4: {reason}",)


def test_of_several_series_the_one_with_most_slices_is_read() -> None:
    other = {f"b/{z}.dcm": at(z, SeriesInstanceUID="1.2.3.5") for z in (1, 2)}
    made = read(zipped(other | SERIES), LIMITS)
    assert_same(made, ORDERED)
    assert made.processing["series_count"] == 2
    assert made.left_out == ("series 1 of 2 (2 slices): another series has more",)


def test_a_multi_frame_file_in_a_zip_names_its_frames() -> None:
    odd = at(5, ImageOrientationPatient=[-1, 0, 0, 0, -1, 0])
    made = read(zipped({"a": odd, "b": enhanced([20.0, 10.0])}), LIMITS)
    assert [plane.position_mm for plane in made.planes] == [10.0, 20.0]
    assert made.left_out == ("file 1 of 2: another orientation",)


def test_what_file_managers_add_is_ignored() -> None:
    junk = {".DS_Store": b"x", "__MACOSX/._1.dcm": b"x", "a/Thumbs.db": b"x", "DICOMDIR": b"x"}
    made = read(zipped(junk | SERIES | {"empty/": b""}), LIMITS)
    assert_same(made, ORDERED)
    assert made.left_out == ()


def test_a_missing_slice_is_warned_of() -> None:
    made = read(zipped({str(z): at(z) for z in (0, 10, 20, 30, 60)}), LIMITS)
    assert warned(made, "Uneven spacing")


def test_slices_without_a_position_stand_in_order_of_their_numbers() -> None:
    files = {
        str(z): dicom(phantom(shift=z), ImagePositionPatient=None, InstanceNumber=z)
        for z in HEIGHTS
    }
    made = read(zipped(files), LIMITS)
    assert_same(made, ORDERED)
    assert warned(made, "Order guessed")


def test_a_zip_of_a_nifti_is_that_volume() -> None:
    made = read(zipped({"a.nii.gz": nifti(IN_FILE, DISPLAY, gzip=True), "b.txt": b"x"}), LIMITS)
    assert_same(made, volume())
    assert made.left_out == ("file 2 of 2: no image of a format that is read",)


def test_pictures_stand_in_natural_order_of_their_names() -> None:
    pictures = {name: Image.new("L", (64, 64), grey) for name, grey in (("s10", 3), ("s9", 2))}
    files = {name: picture(np.asarray(image), "PNG") for name, image in pictures.items()}
    files |= {"s1": picture(np.full((64, 64), 1, np.uint8), "BMP")}
    files |= {"s2": picture(np.zeros((32, 64), np.uint8), "PNG")}
    made = read(zipped(files), LIMITS)
    assert [int(plane.grey[0, 0]) for plane in made.planes] == [1, 2, 3]
    assert made.left_out == ("file 4 of 4: another size or depth",)


def encrypted() -> bytes:
    body = bytearray(zipped({"a.dcm": at(1)}))
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        body[body.index(signature) + place] |= 1
    return bytes(body)


def named(name: str, mode: int = 0o100644) -> Callable[[], bytes]:
    def make() -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            member = zipfile.ZipInfo(name)
            member.external_attr = mode << 16
            archive.writestr(member, at(1))
        return buffer.getvalue()

    return make


MANY = {str(place): b"x" for place in range(30)}
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: zipped({}), "no_image"),
    "only junk": (lambda: zipped({".DS_Store": b"x"}), "no_image"),
    "only text": (lambda: zipped({SECRET: SECRET.encode()}), "no_image"),
    "cut off": (lambda: zipped(SERIES)[:-200], "damaged_archive"),
    "signature only": (lambda: b"PK\x03\x04", "damaged_archive"),
    "encrypted": (encrypted, "encrypted_archive"),
    "absolute path": (named("/etc/passwd"), "unsafe_archive"),
    "drive": (named("C:\\a.dcm"), "unsafe_archive"),
    "path that leads out": (named("a/../../b.dcm"), "unsafe_archive"),
    "the same with backslashes": (named("a\\..\\b.dcm"), "unsafe_archive"),
    "link": (named("a.dcm", 0o120777), "unsafe_archive"),
    "zip in zip": (lambda: zipped(SERIES | {"a.zip": zipped(SERIES)}), "nested_archive"),
    "gzip in zip": (lambda: zipped({"a.gz": b"\x1f\x8b\x08" + bytes(30)}), "nested_archive"),
    "7z in zip": (lambda: zipped({"a.7z": b"7z\xbc\xaf\x27\x1c" + bytes(30)}), "nested_archive"),
    "tar in zip": (lambda: zipped({"a": bytes(257) + b"ustar" + bytes(250)}), "nested_archive"),
    "lzma": (lambda: zipped(SERIES, zipfile.ZIP_LZMA), "unsupported_archive"),
    "bomb": (lambda: zipped({"a.dcm": bytes(80 << 20)}), "decompression_bomb"),
    "all of one kind": (lambda: zipped({"a": at(1, Modality="MR")}), "wrong_modality"),
    "of several kinds": (
        lambda: zipped({"a": at(1, Modality="MR"), "b": at(1, Modality="SR")}),
        "no_image",
    ),
    "two NIfTI": (
        lambda: zipped({name: nifti(IN_FILE, DISPLAY) for name in "ab"}),
        "several_volumes",
    ),
    "tar": (lambda: bytes(257) + b"ustar" + bytes(250), "unsupported_archive"),
    "gzip": (lambda: b"\x1f\x8b\x08" + bytes(30), "unsupported_archive"),
}


@pytest.mark.parametrize(("make", "code"), REFUSED.values(), ids=REFUSED)
def test_everything_else_has_its_code(make: Callable[[], bytes], code: str) -> None:
    assert refused(make()).code == code


def test_limits_are_of_the_whole_archive() -> None:
    body = zipped(SERIES)
    for limits, code in (
        (Limits(max_archive_files=2), "too_many_files"),
        (Limits(max_planes=2), "too_many_slices"),
        (Limits(max_decoded_bytes=10_000), "too_large_decoded"),
        (Limits(max_ratio=1, free_bytes=1000), "decompression_bomb"),
    ):
        assert refused(body, limits).code == code


def test_a_wrong_check_sum_costs_that_file_only() -> None:
    body = bytearray(zipped(SERIES, zipfile.ZIP_STORED))
    body[body.index(b"DICM") + 3000] ^= 1
    made = read(bytes(body), LIMITS)
    assert len(made.planes) == 2
    assert made.left_out == ("file 1 of 3: damaged",)


def test_a_tilted_series_stays_one_though_its_cosines_are_rounded_apart() -> None:
    files = {}
    for z, jitter in zip(HEIGHTS, (-1e-4, 0.0, 1e-4), strict=True):
        cosine = 0.95 + jitter
        tilted = [1, 0, 0, 0, cosine, (1 - cosine**2) ** 0.5]
        files[str(z)] = at(z, ImageOrientationPatient=tilted)
    made = read(zipped(files), LIMITS)
    assert_same(made, ORDERED)
    assert warned(made, "Tilted")


def test_many_small_files_may_not_decompress_to_much() -> None:
    black = picture(np.zeros((1024, 1024), np.uint8), "PNG")
    pictures = {str(place): black for place in range(9)}
    files = {str(z): recoded(DeflatedExplicitVRLittleEndian) for z in range(9)}
    assert len(zipped(pictures)) < 50_000
    assert refused(zipped(pictures), Limits(max_decoded_bytes=8 << 20)).code == "too_large_decoded"
    held = Limits(max_decoded_bytes=8 * CT.size * 2)
    assert refused(zipped(files), held).code == "too_large_decoded"
