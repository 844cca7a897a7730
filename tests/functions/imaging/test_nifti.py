"""NIfTI: axial slices in display orientation whatever the axes, of every sample type."""

import gzip
from itertools import permutations, product
from typing import Any

import nibabel
import numpy as np
import pytest

from tests.functions.imaging.inputs import (
    LIMITS,
    REAL,
    Array,
    assert_same,
    nifti,
    real,
    volume,
)
from tests.functions.imaging.test_dicom import refused, warned
from tomodrop.imaging.limits import Limits
from tomodrop.imaging.reading import read

CT = volume()  # head, back, left
# To the left, the back, the head; NIfTI's world runs to the right and the front.
DISPLAY = np.diag([-4.0, -4.0, 10.0, 1.0])
IN_FILE = CT.transpose(2, 1, 0)


def turned(order: tuple[int, ...], flips: tuple[int, ...]) -> bytes:
    """The volume with its axes in another order and direction, as its affine says."""
    samples, affine = IN_FILE.transpose(order), DISPLAY[:, [*order, 3]].copy()
    for axis, flip in enumerate(flips):
        if flip < 0:
            affine[:, 3] += affine[:, axis] * (samples.shape[axis] - 1)
            affine[:, axis] *= -1
            samples = np.flip(samples, axis)
    return nifti(np.ascontiguousarray(samples), affine)


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("flips", list(product([1, -1], repeat=3)))
def test_axes_in_any_order_and_direction_are_turned_to_display(
    order: tuple[int, ...], flips: tuple[int, ...]
) -> None:
    made = read(turned(order, flips), LIMITS)
    assert_same(made, CT)
    assert [plane.position_mm for plane in made.planes] == [0.0, 10.0, 20.0, 30.0, 40.0]
    assert [plane.index for plane in made.planes] == [0, 1, 2, 3, 4]


SAMPLES: dict[str, tuple[Array, dict[str, Any]]] = {
    "int16": (IN_FILE, {}),
    "big endian": (IN_FILE.astype(">i2"), {}),
    "int32": (IN_FILE.astype(np.int32), {}),
    "float32": (IN_FILE.astype(np.float32), {}),
    "float64": (IN_FILE.astype(np.float64), {}),
    "uint16 with an intercept": (
        (IN_FILE + 1024).astype(np.uint16),
        {"scl_slope": 1, "scl_inter": -1024},
    ),
    "int16 with a slope": (IN_FILE // 2, {"scl_slope": 2, "scl_inter": 0}),
    "uint16 without": ((IN_FILE + 1024).astype(np.uint16), {}),
}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(("samples", "header"), SAMPLES.values(), ids=SAMPLES)
def test_every_sample_type_gives_the_same_pixels(
    samples: Array, header: dict[str, Any], compressed: bool
) -> None:
    made = read(nifti(samples, DISPLAY, gzip=compressed, **header), LIMITS)
    assert_same(made, CT, most=1)
    assert made.processing["window"] == "level -600 HU, width 1500 HU"
    guessed = samples.dtype == np.uint16 and not header
    assert warned(made, "Window guessed") == guessed


def test_nifti_2_is_read_too() -> None:
    body = nibabel.Nifti2Image(IN_FILE, DISPLAY).to_bytes()
    assert_same(read(body, LIMITS), CT)
    assert_same(read(gzip.compress(body), LIMITS), CT)


def test_what_was_done_is_told_without_text_of_the_file() -> None:
    made = read(nifti(IN_FILE, DISPLAY, gzip=True), LIMITS)
    assert made.processing == {
        "format": "NIfTI, gzip",
        "data_type": "int16",
        "bits": 16,
        "width_px": 80,
        "height_px": 64,
        "slices": 5,
        "slice_spacing_mm": 10.0,
        "pixel_spacing_mm": [4.0, 4.0],
        "window": "level -600 HU, width 1500 HU",
    }
    assert made.warnings == ()


def test_a_flat_volume_is_one_slice() -> None:
    assert_same(read(nifti(IN_FILE[:, :, 0], DISPLAY), LIMITS), CT[:1])
    assert_same(read(nifti(IN_FILE[..., None], DISPLAY), LIMITS), CT)


@pytest.mark.parametrize("high", [255, 1.0])
def test_greys_are_taken_as_they_are_and_said_so(high: float) -> None:
    greys = np.clip((IN_FILE + 1350) / 1500, 0, 1)
    samples = (greys * 255).astype(np.uint8) if high == 255 else greys.astype(np.float32)
    made = read(nifti(samples, DISPLAY), LIMITS)
    assert_same(made, CT, most=1)
    assert warned(made, "No Hounsfield scale")


def test_no_number_is_black() -> None:
    samples = IN_FILE.astype(np.float32)
    samples[:4] = np.nan
    samples[4:8] = -np.inf
    grey = read(nifti(samples, DISPLAY), LIMITS).planes[0].grey
    assert not grey[:, :8].any()
    assert grey[:, 8:].any()


def test_micrometres_and_metres_are_read() -> None:
    for unit, scale in (("micron", 1000.0), ("meter", 0.001)):
        image = nibabel.Nifti1Image(IN_FILE, DISPLAY * [[scale], [scale], [scale], [1]])
        image.header.set_xyzt_units(unit)
        assert read(image.to_bytes(), LIMITS).processing["pixel_spacing_mm"] == [4.0, 4.0]


def test_a_volume_without_a_voxel_size_is_read_with_a_warning() -> None:
    made = read(nifti(IN_FILE, np.diag([-1.0, -1.0, 1.0, 1.0])), LIMITS)
    assert_same(made, CT)
    assert warned(made, "Voxel size unknown")
    assert made.planes[0].position_mm is None


def test_a_volume_without_orientation_is_read_with_a_warning() -> None:
    body = nifti(IN_FILE, DISPLAY, sform_code=0, qform_code=0, pixdim=[1, 4, 4, 10, 0, 0, 0, 0])
    assert warned(read(body, LIMITS), "Orientation guessed")


def tilted(degrees: float) -> Array:
    angle = np.radians(degrees)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    result: Array = turn @ DISPLAY
    return result


def test_a_tilt_is_a_warning() -> None:
    assert warned(read(nifti(IN_FILE, tilted(15)), LIMITS), "Tilted: ")


def test_a_volume_without_air_is_warned_of() -> None:
    made = read(nifti(np.full((80, 64, 3), -600, np.int16), DISPLAY), LIMITS)
    assert warned(made, "Unusual pixel range")
    assert warned(made, "No lung seen")


SQUARE = np.zeros((64, 64, 3), np.int16)
REFUSED: dict[str, tuple[bytes, str]] = {
    "time series": (nifti(np.zeros((64, 64, 3, 2), np.int16), DISPLAY), "four_dimensional"),
    "colour": (
        nifti(np.zeros((64, 64, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")]), DISPLAY),
        "unsupported_depth",
    ),
    "complex": (nifti(np.zeros((64, 64, 3), np.complex64), DISPLAY), "unsupported_depth"),
    "a mouse": (nifti(SQUARE, np.diag([-0.1, -0.1, 0.1, 1])), "implausible_size"),
    "a whale": (nifti(SQUARE, np.diag([-40.0, -40.0, 5.0, 1])), "implausible_size"),
    "a street": (nifti(SQUARE, np.diag([-4.0, -4.0, 900.0, 1])), "implausible_size"),
    "coronal": (
        nifti(np.zeros((64, 5, 64), np.int16), np.diag([-4.0, -40.0, 4.0, 1])),
        "wrong_orientation",
    ),
    "oblique": (nifti(IN_FILE, tilted(43)), "wrong_orientation"),
    "too small": (nifti(np.zeros((31, 64, 3), np.int16), DISPLAY), "too_small"),
    "cut off": (nifti(IN_FILE, DISPLAY)[:-1], "damaged_image"),
    "gzip cut off": (nifti(IN_FILE, DISPLAY, gzip=True)[:-300], "damaged_image"),
    "header only": (nifti(IN_FILE, DISPLAY)[:348], "damaged_image"),
    "no geometry": (nifti(IN_FILE, DISPLAY, srow_x=[0, 0, 0, 0]), "damaged_image"),
    "nothing is a number": (nifti(IN_FILE, DISPLAY, srow_x=[np.nan] * 4), "damaged_image"),
    "no side": (nifti(IN_FILE, DISPLAY, dim=[3, 80, 0, 5, 1, 1, 1, 1]), "damaged_image"),
    "negative side": (nifti(IN_FILE, DISPLAY, dim=[3, 80, -4, 5, 1, 1, 1, 1]), "damaged_image"),
    "unknown type": (nifti(IN_FILE, DISPLAY, datatype=999), "damaged_image"),
    "samples in the header": (nifti(IN_FILE, DISPLAY, vox_offset=16), "damaged_image"),
    "pair": (
        nifti(IN_FILE, DISPLAY)[:344] + b"ni1\0" + nifti(IN_FILE, DISPLAY)[348:],
        "unsupported_format",
    ),
    "as large as can be": (
        nifti(IN_FILE, DISPLAY, gzip=True, dim=[3, 32767, 32767, 32767, 1, 1, 1, 1]),
        "too_many_pixels",
    ),
    "too many slices": (
        nifti(IN_FILE, DISPLAY, dim=[3, 80, 64, 3000, 1, 1, 1, 1]),
        "too_many_slices",
    ),
    "too much": (
        nifti(IN_FILE, DISPLAY, gzip=True, dim=[3, 4096, 4096, 100, 1, 1, 1, 1]),
        "too_large_decoded",
    ),
    "a bomb": (
        gzip.compress(nifti(np.zeros((512, 512, 200), np.int16), np.diag([-1, -1, 1.0, 1]))),
        "decompression_bomb",
    ),
}


@pytest.mark.parametrize(("body", "code"), REFUSED.values(), ids=REFUSED)
def test_everything_else_has_its_code(body: bytes, code: str) -> None:
    assert refused(body).code == code


def test_limits_are_of_the_whole_volume() -> None:
    body = nifti(IN_FILE, DISPLAY)
    assert refused(body, Limits(max_planes=4)).code == "too_many_slices"
    assert refused(body, Limits(max_decoded_bytes=50_000)).code == "too_large_decoded"
    assert refused(body, Limits(max_side_px=79)).code == "too_many_pixels"


@pytest.mark.skipif(not real("nifti"), reason="the shared development data is absent")
def test_a_real_volume_is_the_same_as_nifti_and_as_dicom() -> None:
    made = read((REAL / "nifti" / "lungdx_A0002_noncovid.nii.gz").read_bytes(), LIMITS)
    planes = {plane.position_mm: plane for plane in made.planes}
    for path in real("dicom", "lung-dx-a0002")[::7]:
        (plane,) = read(path.read_bytes(), LIMITS).planes
        assert np.array_equal(plane.grey, planes[plane.position_mm].grey)
        assert plane.has_lung == planes[plane.position_mm].has_lung
