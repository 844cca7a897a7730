"""Small uploads to read once before real ones: a forked process has then what they had loaded."""

import io
from collections.abc import Iterator

from PIL import Image

from tomodrop.imaging.formats import Family

_SIDE_PX = 64
_UID = "1.2.826.0.1.3680043.8.498.1"


def samples(family: Family) -> Iterator[bytes]:
    """What a process for a family of formats reads first."""
    yield _picture()
    if family is Family.ALL:
        yield _dicom()
        yield _nifti()


def _picture() -> bytes:
    body = io.BytesIO()
    Image.linear_gradient("L").save(body, "PNG")
    return body.getvalue()


def _dicom() -> bytes:
    from pydicom.dataset import Dataset, FileMetaDataset  # noqa: PLC0415
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian  # noqa: PLC0415

    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID, made.Modality = CTImageStorage, _UID, "CT"
    made.Rows = made.Columns = _SIDE_PX
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 12, 11
    made.SamplesPerPixel, made.PixelRepresentation = 1, 0
    made.PhotometricInterpretation = "MONOCHROME2"
    made.RescaleSlope, made.RescaleIntercept = 1, -1024
    made.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    made.ImagePositionPatient = [0, 0, 0]
    made.PixelSpacing = [1, 1]
    made.PixelData = bytes(2 * _SIDE_PX**2)
    body = io.BytesIO()
    made.save_as(body, enforce_file_format=True)
    return body.getvalue()


def _nifti() -> bytes:
    import nibabel  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    samples = np.full((_SIDE_PX, _SIDE_PX, 1), -1000, np.int16)
    return nibabel.Nifti1Image(samples, np.diag([5.0, 5.0, 5.0, 1.0])).to_bytes()
