"""DICOM: every syntax to the same pixels, in display orientation; the rest has its code."""

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.pixels.decoders.base import get_decoder
from pydicom.sequence import Sequence
from pydicom.uid import (
    HTJ2K,
    UID,
    DeflatedExplicitVRLittleEndian,
    EnhancedSRStorage,
    ExplicitVRBigEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from tests.functions.imaging.inputs import (
    LIMITS,
    SECRET,
    Array,
    assert_same,
    dataset,
    dicom,
    enhanced,
    grey_of,
    item,
    phantom,
    picture,
    real,
    saved,
)
from tomodrop.errors import UploadRejected
from tomodrop.imaging.dicom_pixels import SYNTAXES
from tomodrop.imaging.limits import Limits
from tomodrop.imaging.reading import read
from tomodrop.imaging.volume import Volume

CT = phantom().astype(int)


def refused(body: bytes, limits: Limits = LIMITS) -> UploadRejected:
    with pytest.raises(UploadRejected) as fault:
        read(body, limits)
    assert "SECRET" not in str(fault.value)
    assert fault.value.message.endswith(".")
    assert fault.value.remedy.endswith(".")
    return fault.value


def warned(made: Volume, start: str) -> bool:
    return any(text.startswith(start) for text in made.warnings)


def recoded(syntax: UID) -> bytes:
    made = dataset(CT)
    if syntax in (JPEGLSLossless, JPEG2000Lossless, RLELossless):
        made.compress(syntax, generate_instance_uid=False)
        return saved(made)
    if syntax == DeflatedExplicitVRLittleEndian:
        made.file_meta.TransferSyntaxUID = syntax
        return saved(made)
    made.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        made.PixelData = np.frombuffer(made.PixelData, "<u2").astype(">u2").tobytes()
    return saved(made)


@pytest.mark.parametrize(
    ("syntax", "name"),
    [
        (ImplicitVRLittleEndian, "Implicit VR Little Endian"),
        (ExplicitVRBigEndian, "Explicit VR Big Endian"),
        (DeflatedExplicitVRLittleEndian, "Deflated Explicit VR Little Endian"),
        (RLELossless, "RLE Lossless"),
        (JPEGLSLossless, "JPEG-LS Lossless"),
        (JPEG2000Lossless, "JPEG 2000 Lossless"),
    ],
)
def test_every_lossless_transfer_syntax_gives_the_same_pixels(syntax: UID, name: str) -> None:
    made = read(recoded(syntax), LIMITS)
    assert_same(made, CT[None])
    assert made.processing["transfer_syntax"] == name
    assert made.warnings == ()


def test_what_was_done_is_told_without_text_of_the_file() -> None:
    made = read(dicom(), LIMITS)
    assert made.processing == {
        "format": "DICOM",
        "transfer_syntax": "Explicit VR Little Endian",
        "modality": "CT",
        "bits": 16,
        "width_px": 80,
        "height_px": 64,
        "slices": 1,
        "pixel_spacing_mm": [4.0, 4.0],
        "window": "level -600 HU, width 1500 HU",
    }
    plane = made.planes[0]
    assert (plane.index, plane.position_mm, plane.has_lung) == (0, 10.0, True)


def test_the_window_is_a_parameter() -> None:
    made = read(dicom(), Limits(window_level_hu=40, window_width_hu=400))
    assert made.processing["window"] == "level 40 HU, width 400 HU"
    assert made.planes[0].grey[32, 40] == 128
    assert made.planes[0].grey[0, 0] == 0


def test_a_preamble_may_be_missing() -> None:
    for implicit in (True, False):
        made = dataset(CT)
        del made.file_meta
        bare = saved(made, enforce_file_format=False, implicit_vr=implicit, little_endian=True)
        assert bare[128:132] != b"DICM"
        assert_same(read(bare, LIMITS), CT[None])


@pytest.mark.parametrize(
    "values",
    [
        {"RescaleSlope": 2, "RescaleIntercept": -2048, "stored": (CT + 2048) // 2},
        {"PixelRepresentation": 1, "RescaleIntercept": 0, "stored": CT},
        {"RescaleSlope": -1, "RescaleIntercept": 3071, "stored": 3071 - CT},
        {
            "RescaleSlope": -1,
            "RescaleIntercept": 3071,
            "stored": 3071 - CT,
            "PhotometricInterpretation": "MONOCHROME1",
        },
        {"stored": 65535 - (CT + 1024), "PhotometricInterpretation": "MONOCHROME1"},
        {
            "stored": 4095 - (CT + 1024),
            "BitsStored": 12,
            "HighBit": 11,
            "PhotometricInterpretation": "MONOCHROME1",
        },
        {"stored": (CT + 1024) | 0x8000, "BitsStored": 12, "HighBit": 11},
    ],
    ids=["slope", "signed", "negative", "inverted", "inverted 16", "inverted 12", "overlay bit"],
)
def test_samples_become_hounsfield_units_however_they_are_stored(values: dict[str, Any]) -> None:
    stored = np.asarray(values.pop("stored"), np.int64).astype(np.uint16)
    assert_same(read(dicom(PixelData=stored.tobytes(), **values), LIMITS), CT[None], most=1)


@pytest.mark.parametrize(
    "padding",
    [
        {"PixelPaddingValue": 63536},
        {"PixelPaddingValue": 60000, "PixelPaddingRangeLimit": 65000},
    ],
    ids=["value", "range"],
)
def test_padding_is_black(padding: dict[str, Any]) -> None:
    stored = (CT + 1024).astype(np.uint16)
    stored[:8] = 63536
    grey = read(dicom(PixelData=stored.tobytes(), **padding), LIMITS).planes[0].grey
    assert not grey[:8].any()
    assert np.array_equal(grey[8:], grey_of(CT)[8:])


def test_a_padding_value_that_tissue_has_is_none() -> None:
    assert_same(read(dicom(PixelPaddingValue=1024 + 40), LIMITS), CT[None])


@pytest.mark.parametrize(
    ("cosines", "turned"),
    [
        ([1, 0, 0, 0, 1, 0], CT),
        ([-1, 0, 0, 0, -1, 0], CT[::-1, ::-1]),
        ([-1, 0, 0, 0, 1, 0], CT[:, ::-1]),
        ([1, 0, 0, 0, -1, 0], CT[::-1]),
        ([0, 1, 0, 1, 0, 0], CT.T),
        ([0, -1, 0, 1, 0, 0], CT.T[:, ::-1]),
        ([0, 1, 0, -1, 0, 0], CT.T[::-1]),
        ([0.9998, 0.02, 0, -0.02, 0.9998, 0], CT),
    ],
)
def test_every_orientation_is_turned_to_display(cosines: list[float], turned: Array) -> None:
    body = dicom(np.ascontiguousarray(turned), ImageOrientationPatient=cosines)
    made = read(body, LIMITS)
    assert_same(made, CT[None])
    assert made.planes[0].position_mm == pytest.approx(10.0, abs=0.1)


def test_a_tilted_gantry_is_a_warning() -> None:
    cosines = [1, 0, 0, 0, float(np.cos(0.3)), float(np.sin(0.3))]
    assert warned(read(dicom(ImageOrientationPatient=cosines), LIMITS), "Tilted: ")
    assert warned(read(dicom(GantryDetectorTilt=-12), LIMITS), "Tilted: ")
    assert not warned(read(dicom(GantryDetectorTilt=0), LIMITS), "Tilted: ")


def test_pixels_that_are_not_square_are_made_so() -> None:
    assert read(dicom(PixelSpacing=[4.0, 2.0]), LIMITS).planes[0].grey.shape == (128, 80)


def test_frames_are_ordered_by_position_whatever_the_order_in_the_file() -> None:
    made = read(enhanced([30.0, 10.0, 20.0]), LIMITS)
    assert [plane.position_mm for plane in made.planes] == [10.0, 20.0, 30.0]
    assert [plane.index for plane in made.planes] == [0, 1, 2]
    assert_same(made, np.stack([phantom(shift=z) for z in (10, 20, 30)]))
    assert made.processing["slice_spacing_mm"] == 10.0
    assert made.warnings == ()


def test_frames_that_are_no_slices_are_left_out_and_named() -> None:
    made = pydicom.dcmread(io.BytesIO(enhanced([10.0, 20.0, 30.0])))
    kinds = made.PerFrameFunctionalGroupsSequence
    kinds[1].CTImageFrameTypeSequence[0].FrameType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    kinds[2].PlaneOrientationSequence = Sequence(
        [item(ImageOrientationPatient=[1, 0, 0, 0, 0, -1])]
    )
    found = read(saved(made), LIMITS)
    assert len(found.planes) == 1
    assert found.left_out == ("frame 2 of 3: localizer", "frame 3 of 3: not axial")


def test_missing_rescaling_is_guessed_and_said() -> None:
    made = read(dicom(RescaleSlope=None, RescaleIntercept=None), LIMITS)
    assert_same(made, CT[None])
    assert warned(made, "No Hounsfield scale")
    assert warned(made, "Window guessed")


def test_a_slice_without_orientation_is_taken_as_it_is() -> None:
    made = read(dicom(ImageOrientationPatient=None, ImagePositionPatient=None), LIMITS)
    assert_same(made, CT[None])
    assert warned(made, "Orientation unknown")
    assert made.planes[0].position_mm is None


def test_what_a_reader_should_know_is_a_warning() -> None:
    assert warned(read(dicom(LossyImageCompression="01"), LIMITS), "Lossy")
    flat = np.full((64, 64), 40, np.int16)
    made = read(dicom(flat), LIMITS)
    assert warned(made, "Unusual pixel range")
    assert warned(made, "No lung seen")
    assert not made.planes[0].has_lung


CORONAL, SAGITTAL = [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1]
NOT_CLASSIFIED: dict[str, tuple[dict[str, Any], str]] = {
    "MR": ({"Modality": "MR", "SOPClassUID": MRImageStorage}, "wrong_modality"),
    "PET": ({"Modality": "PT"}, "wrong_modality"),
    "made-up modality": ({"Modality": SECRET}, "wrong_modality"),
    "no modality": ({"Modality": None, "SOPClassUID": MRImageStorage}, "wrong_modality"),
    "localizer": ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer"),
    "coronal": ({"ImageOrientationPatient": CORONAL}, "wrong_orientation"),
    "sagittal": ({"ImageOrientationPatient": SAGITTAL}, "wrong_orientation"),
    "report": ({"Modality": "SR", "SOPClassUID": EnhancedSRStorage}, "derived_report"),
    "dose report": (
        {"SOPClassUID": SecondaryCaptureImageStorage, "ImageOrientationPatient": None},
        "derived_report",
    ),
    "segmentation": ({"Modality": "SEG", "SOPClassUID": SegmentationStorage}, "segmentation"),
    "perfusion": ({"ImageType": ["DERIVED", "PRIMARY", "PERFUSION", "RCBF"]}, "derived_image"),
    "other unit": ({"RescaleType": "Z_EFF"}, "derived_image"),
    "colour": (
        {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3, "BitsAllocated": 8},
        "unsupported_depth",
    ),
    "palette": ({"PhotometricInterpretation": "PALETTE COLOR"}, "derived_image"),
    "no pixels": ({"PixelData": None}, "damaged_image"),
    "no size": ({"Rows": None}, "damaged_image"),
    "no image": ({"Rows": None, "SOPClassUID": "1.2.840.10008.5.1.4.1.1.66"}, "no_image"),
    "one bit": ({"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}, "unsupported_depth"),
    "too few pixels": ({"PixelData": bytes(100)}, "damaged_image"),
    "rows of 0": ({"Rows": 0}, "damaged_image"),
    "too wide": ({"Columns": 5000}, "too_many_pixels"),
    "a strip": ({"Rows": 60000, "Columns": 32}, "too_many_pixels"),
    "too small": ({"Rows": 16, "Columns": 320}, "too_small"),
    "too many frames": ({"NumberOfFrames": 2_000_000_000}, "too_many_slices"),
    "frames that are not there": ({"NumberOfFrames": 3}, "damaged_image"),
}


@pytest.mark.parametrize(("attributes", "code"), NOT_CLASSIFIED.values(), ids=NOT_CLASSIFIED)
def test_everything_else_has_its_code(attributes: dict[str, Any], code: str) -> None:
    assert refused(dicom(**attributes)).code == code


@pytest.mark.parametrize("syntax", [JPEGExtended12Bit, "1.2.840.10008.1.2.4.100", "1.2.3.99"])
def test_a_syntax_that_nothing_free_reads_has_its_own_code(syntax: str) -> None:
    made = dataset(CT)
    made.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    made.file_meta.TransferSyntaxUID = UID(syntax)
    fault = refused(saved(made, implicit_vr=False, little_endian=True))
    assert fault.code == "unsupported_transfer_syntax"
    assert "1.2.3.99" not in str(fault)


def test_a_codestream_larger_than_its_frame_is_not_decoded() -> None:
    made = dataset(CT)
    made.compress(JPEG2000Lossless, generate_instance_uid=False)
    body = saved(made)
    start = body.index(b"\xff\x4f\xff\x51") + 8
    assert int.from_bytes(body[start : start + 4]) == 80
    bomb = body[:start] + (40_000).to_bytes(4) * 2 + body[start + 8 :]
    assert refused(bomb).code == "damaged_image"


def test_damaged_codestreams_are_refused() -> None:
    for syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless):
        body = recoded(syntax)
        pixels = body.index(b"\xe0\x7f\x10\x00")
        for cut in (pixels + 4, pixels + 60, len(body) - 60):
            assert refused(body[:cut]).code == "damaged_image"


def test_a_panic_of_rust_code_is_a_refusal() -> None:
    """It derives from BaseException. Here the length of a run in the data is one too much."""
    runs = bytes([129, 0]) * (CT.size // 128) + bytes([129, 0]) * 3
    made = dataset(CT)
    segments = (2).to_bytes(4, "little") + b"".join(
        offset.to_bytes(4, "little") for offset in (64, 64 + len(runs))
    )
    made.PixelData = pydicom.encaps.encapsulate([segments.ljust(64, b"\0") + runs * 2])
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    made.file_meta.TransferSyntaxUID = RLELossless
    assert refused(saved(made)).code == "damaged_image"


def test_a_deflated_bomb_is_refused_before_it_grows() -> None:
    body = recoded(DeflatedExplicitVRLittleEndian)
    meta = body[: 132 + 12 + int.from_bytes(body[140:144], "little")]
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(bytes(80 << 20)) + packer.flush()
    assert refused(meta + bomb).code == "decompression_bomb"
    assert refused(meta + bomb, Limits(max_decoded_bytes=1 << 20)).code == "too_large_decoded"


@pytest.mark.parametrize("depth", [200, 5000])
def test_sequences_in_sequences_without_end_are_refused(depth: int) -> None:
    sequence = b"\x08\x00\x10\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    assert refused(dicom()[:132] + sequence * depth).code in ("damaged_image", "wrong_modality")


def test_frame_limits_are_of_the_whole_file() -> None:
    body = enhanced([1.0, 2.0, 3.0])
    assert refused(body, Limits(max_planes=2)).code == "too_many_slices"
    assert refused(body, Limits(max_decoded_bytes=20_000)).code == "too_large_decoded"


@pytest.mark.skipif(not real("dicom"), reason="the shared development data is absent")
def test_real_files_end_as_they_should() -> None:
    codes = {}
    for path in real("dicom", "transfer-syntaxes"):
        try:
            read(path.read_bytes(), LIMITS)
        except UploadRejected as fault:
            codes[path.name.split("Transfer")[0]] = fault.code
    assert codes == {
        "CT0012.fragmented_no_bot_jpeg_baseline.51.dcm": "unsupported_transfer_syntax",
        "CTImage.dcm_JPEGProcess10_12": "unsupported_transfer_syntax",
        "CTImage.dcm_JPEGProcess2_4": "unsupported_transfer_syntax",
        "CTImage.dcm_JPEGProcess6_8": "unsupported_transfer_syntax",
        "CTImageEvenAligned.dat": "unsupported_format",
        "CTImageOddAligned.dat": "unsupported_format",
        "US-YBR_FULL_422-EVRLE.dcm": "wrong_modality",
        "createAll": "unsupported_format",
        "metadata": "unsupported_format",
        "no-pixel-data.dcm": "derived_report",
        "no-pixel-spacing.dcm": "wrong_modality",
    }


@pytest.mark.skipif(not real("dicom"), reason="the shared development data is absent")
def test_a_real_image_is_the_same_in_every_lossless_syntax() -> None:
    lossless = ("Implicit", "Explicit", "Lossless", "14", "Endian")
    paths = [
        path
        for path in real("dicom", "transfer-syntaxes")
        if path.name.startswith("CTImage.dcm") and any(word in path.name for word in lossless)
    ]
    assert len(paths) == 9
    greys = {read(path.read_bytes(), LIMITS).planes[0].grey.tobytes() for path in paths}
    assert len(greys) == 1


def encapsulated(codestream: bytes, syntax: UID, **attributes: Any) -> bytes:
    made = dataset(CT, **attributes)
    made.PixelData = pydicom.encaps.encapsulate([codestream])
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    made.file_meta.TransferSyntaxUID = syntax
    return saved(made)


@pytest.mark.parametrize(
    ("syntax", "name"),
    [
        (HTJ2K, "phantom.jhc"),
        (HTJ2KLossless, "phantom.jhc"),
        (HTJ2KLosslessRPCL, "phantom.jhc"),
        (JPEGLossless, "phantom.ljpg"),
        (JPEGLosslessSV1, "phantom.ljpg"),
    ],
)
def test_what_nothing_here_writes_is_read_too(syntax: UID, name: str) -> None:
    """The codestreams were made once by imagecodecs 2026.3.6 (OpenJPH, liblj92)."""
    found = read(encapsulated(Path(__file__).with_name(name).read_bytes(), syntax), LIMITS)
    assert_same(found, CT[None])
    assert warned(found, "Lossy") == (syntax == HTJ2K)


def test_jpeg_baseline_is_read_with_a_warning() -> None:
    body = encapsulated(
        picture(grey_of(CT), "JPEG", quality=100),
        JPEGBaseline8Bit,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        RescaleSlope=1500 / 255,
        RescaleIntercept=-1350,
    )
    made = read(body, LIMITS)
    assert_same(made, CT[None], most=30)
    assert warned(made, "Lossy")


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_syntax_that_is_promised_has_a_decoder(syntax: str) -> None:
    assert get_decoder(syntax).is_available
