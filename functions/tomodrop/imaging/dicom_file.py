"""A DICOM file as pydicom's data set, with or without a preamble, never inflated without bounds."""

import io

import pydicom
from pydicom.dataset import Dataset, FileDataset
from pydicom.filereader import read_dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from tomodrop.imaging.inflating import inflate_raw
from tomodrop.imaging.limits import Limits

# pydicom's own checks of values only warn, and quote what they warn of.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE

_PREAMBLE_BYTES = 128
_PREFIX = b"DICM"
_META_GROUP = 2


def parse(body: bytes, limits: Limits) -> FileDataset:
    """The data set of a file; what it holds is decoded when it is asked for.

    Raises
    ------
    UploadRejected
        `decompression_bomb`, `too_large_decoded` or `damaged_image`, of a deflated data set.
    Exception
        Whatever pydicom raises on damaged data.
    """
    inflated = None
    if DeflatedExplicitVRLittleEndian.encode() in body[:4096]:
        inflated = _inflated(body, limits)
    dataset = pydicom.dcmread(io.BytesIO(inflated or body), force=True)
    if inflated:
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    elif "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = _guessed_syntax(dataset)
    return dataset


def _inflated(body: bytes, limits: Limits) -> bytes | None:
    """A file with its data set in full, None unless the file meta information says it is deflated.

    The data set lies after the meta information (DICOM PS3.5 A.5); pydicom would inflate it
    whatever its size.
    """
    start = _PREAMBLE_BYTES + len(_PREFIX)
    stream = io.BytesIO(body)
    stream.seek(start if body[_PREAMBLE_BYTES:start] == _PREFIX else 0)
    meta = read_dataset(
        stream,
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, _vr, _length: tag.group != _META_GROUP,
    )
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return None
    return bytes(_PREAMBLE_BYTES) + _PREFIX + _EXPLICIT + inflate_raw(body[stream.tell() :], limits)


def _meta_of(syntax: str) -> bytes:
    """File meta information that names a transfer syntax and nothing else (PS3.10, 7.1)."""
    name = syntax.encode() + b"\0" * (len(syntax) % 2)
    return b"\x02\x00\x10\x00UI" + len(name).to_bytes(2, "little") + name


_EXPLICIT = _meta_of(ExplicitVRLittleEndian)


def _guessed_syntax(dataset: Dataset) -> UID:
    is_implicit, is_little = dataset.original_encoding
    if is_implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian
