"""Small uploads of every format, all of one phantom: a body with two lungs and one bone."""

import gzip as compression
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    generate_uid,
)

from tests.functions.builders import REPOSITORY
from tomodrop.imaging.limits import Limits
from tomodrop.imaging.volume import Volume
from tomodrop.imaging.windowing import Scale, to_grey

REAL = Path(os.environ.get("TOMODROP_CT_DATA", REPOSITORY.parent / "shared" / "ct"))
SECRET = "SECRET^NAME"
LIMITS = Limits()
AXIAL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
Array = NDArray[Any]


def phantom(height: int = 64, width: int = 80, shift: int = 0) -> Array:
    """Hounsfield units as displayed: the bone lies at the patient's left (the image's right), at
    the back (the image's bottom). `shift` makes slices differ.
    """
    y, x = np.mgrid[0:height, 0:width]
    y, x = (y - height / 2) / (height / 2), (x - width / 2) / (width / 2)
    values = np.full((height, width), -1000, np.int16)
    values[x**2 + (y / 0.8) ** 2 < 0.8] = 40
    for centre in (-0.4, 0.4):
        values[((x - centre) / 0.25) ** 2 + (y / 0.4) ** 2 < 1] = -850 + shift
    values[(abs(x - 0.5) < 0.1) & (abs(y - 0.55) < 0.07)] = 700
    return values


def grey_of(hounsfield: Array) -> Array:
    return to_grey(hounsfield, Scale(), LIMITS)


def dataset(hounsfield: Array, **attributes: Any) -> Dataset:
    """A CT slice as data set, with marked text in it; `attributes` replace, None removes."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    stored = (hounsfield.astype(np.int32) + 1024).clip(0, 65535).astype(np.uint16)
    values: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": generate_uid(),
        "SeriesInstanceUID": "1.2.3.4",
        "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "PatientName": SECRET,
        "PatientID": SECRET,
        "SeriesDescription": SECRET,
        "Rows": hounsfield.shape[-2],
        "Columns": hounsfield.shape[-1],
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "ImageOrientationPatient": AXIAL,
        "ImagePositionPatient": [-150.0, -120.0, 10.0],
        "PixelSpacing": [4.0, 4.0],
        "PixelData": stored.tobytes(),
    }
    for keyword, value in (values | attributes).items():
        if value is not None:
            setattr(made, keyword, value)
    return made


def saved(made: Dataset, **options: Any) -> bytes:
    buffer = io.BytesIO()
    options = {"enforce_file_format": True} | options
    if options["enforce_file_format"]:
        made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.save_as(buffer, **options)
    return buffer.getvalue()


def dicom(hounsfield: Array | None = None, **attributes: Any) -> bytes:
    return saved(dataset(phantom() if hounsfield is None else hounsfield, **attributes))


def at(z: float, **attributes: Any) -> bytes:
    """A slice of the series at a height, told from others by its lungs."""
    position = [-150.0, -120.0, z]
    return dicom(phantom(shift=int(z)), ImagePositionPatient=position, **attributes)


def item(**attributes: Any) -> Dataset:
    made = Dataset()
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


def enhanced(heights: list[float], **attributes: Any) -> bytes:
    """A multi-frame CT with functional groups, a frame at each height in that order."""
    frames = np.stack([phantom(shift=int(z)) for z in heights])
    per_frame = [
        item(
            PlanePositionSequence=Sequence([item(ImagePositionPatient=[-150.0, -120.0, z])]),
            CTImageFrameTypeSequence=Sequence([item(FrameType=["ORIGINAL", "PRIMARY", "AXIAL"])]),
        )
        for z in heights
    ]
    shared = item(
        PlaneOrientationSequence=Sequence([item(ImageOrientationPatient=AXIAL)]),
        PixelMeasuresSequence=Sequence([item(PixelSpacing=[4.0, 4.0])]),
        PixelValueTransformationSequence=Sequence(
            [item(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU")]
        ),
    )
    absent = dict.fromkeys(
        ("RescaleSlope", "RescaleIntercept", "ImageOrientationPatient", "ImagePositionPatient")
    )
    return dicom(
        frames,
        SOPClassUID=EnhancedCTImageStorage,
        NumberOfFrames=len(heights),
        SharedFunctionalGroupsSequence=Sequence([shared]),
        PerFrameFunctionalGroupsSequence=Sequence(per_frame),
        PixelSpacing=None,
        **absent | attributes,
    )


def nifti(samples: Array, affine: Array, *, gzip: bool = False, **fields: Any) -> bytes:
    """A NIfTI-1 file with marked text; `fields` of its header are overwritten afterwards."""
    body = nibabel.Nifti1Image(samples, affine).to_bytes()
    header = nibabel.Nifti1Header(body[:348], check=False)
    for name, value in ({"descrip": SECRET.encode()} | fields).items():
        header[name] = value
    body = header.binaryblock + body[348:]
    return compression.compress(body) if gzip else body


def volume(count: int = 5) -> Array:
    """Hounsfield units in the order head, back, left; slices differ in their lungs."""
    return np.stack([phantom(shift=10 * place) for place in range(count)])


def picture(pixels: Array, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return buffer.getvalue()


def real(*parts: str) -> list[Path]:
    """Files of the shared development data, none where there is none."""
    return sorted(path for path in REAL.joinpath(*parts).rglob("*") if path.is_file())


def assert_same(made: Volume, hounsfield: Array, most: int = 0) -> None:
    """Every plane shows its plane of `hounsfield` (planes, height, width)."""
    expected = [grey_of(plane) for plane in hounsfield]
    assert len(made.planes) == len(expected)
    for plane, grey in zip(made.planes, expected, strict=True):
        assert plane.grey.shape == grey.shape
        assert np.abs(plane.grey.astype(int) - grey).max() <= most
