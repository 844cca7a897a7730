"""Read an upload of any format: the entry of all readers, and where their errors end.

A reader is imported with the first upload that it reads: a process for pictures holds nothing of
DICOM, and is forked for each of them in a third of the time (`sandbox/`).
"""

import logging
import warnings
from collections.abc import Callable

from tomodrop.errors import UploadRejected
from tomodrop.imaging.formats import PICTURES, Format, sniff
from tomodrop.imaging.limits import Limits
from tomodrop.imaging.picture_volume import read_picture
from tomodrop.imaging.refusals import damaged, unsupported_format
from tomodrop.imaging.volume import Volume

# They log what they find odd in a file, and quote it.
_TALKATIVE = ("pydicom", "nibabel", "nibabel.global", "PIL", "openjpeg", "pylibjpeg", "rle")
Reader = Callable[[bytes, Limits], Volume]

for name in _TALKATIVE:
    logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def read(body: bytes, limits: Limits) -> Volume:
    """The planes of an upload, whatever its format, told by its content.

    Raises
    ------
    UploadRejected
        It holds no axial CT slice that is read, is damaged or beyond a limit. `docs/formats.md`
        lists the codes. Texts never quote the file.
    """
    if not body:
        raise UploadRejected("empty_file", "The file has no bytes.", "Upload it again.")
    with warnings.catch_warnings():
        # As in `pictures.decode`, for all libraries.
        warnings.simplefilter("ignore")
        reader = _reader(sniff(body))
        try:
            return reader(body, limits)
        except (UploadRejected, MemoryError):
            raise
        except Exception:  # noqa: BLE001 - a decoder may raise anything on hostile bytes
            raise damaged("file") from None


def _reader(kind: Format | None) -> Reader:
    if kind is None:
        raise unsupported_format()
    if kind is Format.NIFTI_PAIR:
        raise UploadRejected(
            "unsupported_format",
            "The file is one half of a NIfTI pair (.hdr and .img).",
            "Save the volume as a single .nii or .nii.gz file.",
        )
    if kind in (Format.GZIP, Format.OTHER_ARCHIVE):
        raise UploadRejected(
            "unsupported_archive",
            "The file is an archive that is no zip, and no gzipped NIfTI.",
            "Upload the files themselves, or a plain zip of one series.",
        )
    return read_picture if kind in PICTURES else _imported(kind)


def _imported(kind: Format) -> Reader:
    # ruff: noqa: PLC0415 - see the top
    if kind is Format.DICOM:
        from tomodrop.imaging.dicom import read_dicom

        return read_dicom
    if kind is Format.ZIP:
        from tomodrop.imaging.archives import read_archive

        return read_archive
    from tomodrop.imaging.nifti import read_nifti

    return read_nifti
