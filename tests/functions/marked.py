"""Files of hospitals with a mark in every place where text can stand."""

import gzip
import io
import struct
import zipfile
from collections.abc import Iterator
from functools import cache

import numpy as np
from pydicom import config
from pydicom._dicom_dict import DicomDictionary
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

MARK = "SECRET"
UID_MARK = "7357735773577357"
DATE_MARK = "19770707"
SIZE = 64

# What marks look like by value representation (DICOM PS3.5, section 6.2).
_MARKED = {
    **dict.fromkeys(("LO", "SH", "LT", "ST", "UT", "UC", "UR", "AE", "CS"), MARK),
    "PN": f"{MARK}^{MARK}",
    "DA": DATE_MARK,
    "DT": f"{DATE_MARK}070707",
    "UI": f"1.2.{UID_MARK}",
}
# What says how the rest is to be read, and that it is a CT slice; (0002,eeee) is written apart.
_MEANT = {
    "SpecificCharacterSet": "ISO_IR 192",
    "SOPClassUID": CTImageStorage,
    "Modality": "CT",
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
    "PatientPosition": "HFS",
    "PhotometricInterpretation": "MONOCHROME2",
    "SamplesPerPixel": 1,
    "Rows": SIZE,
    "Columns": SIZE,
    "BitsAllocated": 16,
    "BitsStored": 16,
    "HighBit": 15,
    "PixelRepresentation": 1,
    "RescaleIntercept": "0",
    "RescaleSlope": "1",
    "RescaleType": "HU",
    "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
    "ImagePositionPatient": ["-160", "-160", "0"],
    "PixelSpacing": ["5", "5"],
    "SliceThickness": "5",
    "InstanceNumber": "1",
}


@cache
def marked_dicom() -> bytes:
    """A CT slice of a chest, roughly, with every other text, date and UID marked."""
    with config.disable_value_validation():
        made = Dataset()
        for tag, representation in _text_tags():
            made.add(DataElement(tag, representation, _MARKED[representation]))
        item = Dataset()
        item.PatientName = _MARKED["PN"]
        item.PatientID = MARK
        made.RequestAttributesSequence = [item]
        block = made.private_block(0x0011, MARK, create=True)
        block.add_new(1, "LO", MARK)
        for keyword, value in _MEANT.items():
            setattr(made, keyword, value)
        made.PixelData = _chest().tobytes()
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.file_meta.MediaStorageSOPClassUID = CTImageStorage
        made.file_meta.MediaStorageSOPInstanceUID = generate_uid(prefix=f"1.2.{UID_MARK}.")
        made.file_meta.SourceApplicationEntityTitle = MARK
        made.preamble = (MARK.encode() * 32)[:128]
        file = io.BytesIO()
        made.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _text_tags() -> Iterator[tuple[BaseTag, str]]:
    for number, (representation, _, _, _, keyword) in DicomDictionary.items():
        tag = Tag(number)
        if representation in _MARKED and tag.group not in (0x0000, 0x0002) and keyword:
            yield tag, representation


def _chest() -> np.ndarray:
    """Hounsfield units: air, a body of soft tissue, two lungs."""
    down, right = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    units = np.full((SIZE, SIZE), -1000, "<i2")
    units[(right / 0.9) ** 2 + (down / 0.7) ** 2 < 1] = 40
    for side in (-0.42, 0.42):
        units[((right - side) / 0.3) ** 2 + (down / 0.5) ** 2 < 1] = -850
    return units


def marked_zip() -> bytes:
    """The same in an archive whose names and comments are marked."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{MARK}/{MARK}.dcm", marked_dicom())
        archive.writestr(f"{MARK}/notes-{MARK}.txt", MARK)
        archive.comment = MARK.encode()
    return file.getvalue()


def marked_nifti() -> bytes:
    """A NIfTI-1 volume of three slices, whose text fields are marked (nifti1.h)."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    header[4:22] = (MARK * 3).encode()  # data_type, db_name
    struct.pack_into("<8h", header, 40, 3, SIZE, SIZE, 3, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 4, 16)  # int16
    struct.pack_into("<8f", header, 76, 1, 5, 5, 5, 0, 0, 0, 0)
    struct.pack_into("<3f", header, 108, 352, 1, 0)
    header[148:166] = (MARK * 3).encode()  # descrip
    header[228:240] = (MARK * 2).encode()  # aux_file
    struct.pack_into("<2h", header, 252, 0, 1)
    for row in range(3):
        struct.pack_into("<4f", header, 280 + 16 * row, *(5.0 * (row == n) for n in range(4)))
    header[328:340] = (MARK * 2).encode()  # intent_name
    header[344:348] = b"n+1\0"
    return bytes(header) + _chest().T.tobytes() * 3


def marked_gzip() -> bytes:
    """The same packed, under a marked name."""
    file = io.BytesIO()
    with gzip.GzipFile(f"{MARK}.nii", "wb", fileobj=file) as packed:
        packed.write(marked_nifti())
    return file.getvalue()
