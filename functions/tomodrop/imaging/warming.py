"""Small uploads to read once before real ones: a forked process has then what they had loaded."""

import io

from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

_SIDE_PX = 64
_UID = "1.2.826.0.1.3680043.8.498.1"


def samples() -> tuple[bytes, ...]:
    """A picture and a DICOM file."""
    return _picture(), _dicom()


def _picture() -> bytes:
    body = io.BytesIO()
    Image.linear_gradient("L").save(body, "PNG")
    return body.getvalue()


def _dicom() -> bytes:
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
