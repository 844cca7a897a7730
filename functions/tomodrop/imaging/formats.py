"""Tell formats by their content: a file's name is never asked."""

import zlib
from enum import Enum

_GZIP = b"\x1f\x8b"
# What tells a NIfTI header lies in its first 348 bytes (NIfTI-1) or 12 (NIfTI-2).
_SNIFFED = 512
# DICOM's mark ends there.
_FAMILY_BYTES = 132
# Value representations of DICOM PS3.5 table 6.2-1 that start a data set without a preamble.
_FIRST_VRS = frozenset({b"UI", b"UL", b"OB", b"CS", b"SH", b"DA", b"TM", b"LO"})


class Format(Enum):
    """What the first bytes say; the pictures' values are Pillow's names."""

    PNG = "PNG"
    JPEG = "JPEG"
    TIFF = "TIFF"
    BMP = "BMP"
    JPEG2000 = "JPEG2000"
    WEBP = "WEBP"
    DICOM = "DICOM"
    NIFTI = "NIfTI"
    NIFTI_GZ = "NIfTI, gzip"
    NIFTI_PAIR = "NIfTI pair"
    GZIP = "gzip"
    ZIP = "zip"
    OTHER_ARCHIVE = "archive"


class Family(Enum):
    """Formats that are read by the same libraries: a process may hold those of one family only."""

    PICTURES = "pictures"
    ALL = "all"


_SIGNATURES = {
    Format.PNG: (b"\x89PNG\r\n\x1a\n",),
    Format.JPEG: (b"\xff\xd8\xff",),
    Format.TIFF: (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    Format.BMP: (b"BM",),
    Format.JPEG2000: (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n"),
    Format.ZIP: (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"),
    # 7z, rar, bzip2, xz, zstd: inside an archive, each would be an archive in an archive.
    Format.OTHER_ARCHIVE: (
        b"7z\xbc\xaf\x27\x1c",
        b"Rar!\x1a\x07",
        b"BZh",
        b"\xfd7zXZ\0",
        b"\x28\xb5\x2f\xfd",
    ),
}
PICTURES = frozenset(
    {Format.PNG, Format.JPEG, Format.TIFF, Format.BMP, Format.JPEG2000, Format.WEBP}
)


def sniff(body: bytes) -> Format | None:
    """The format of `body`, or None for one that is not read."""
    if body[128:132] == b"DICM":
        return Format.DICOM
    signed = (kind for kind, signatures in _SIGNATURES.items() if body.startswith(signatures))
    if found := next(signed, None):
        return found
    if body.startswith(b"RIFF") and body[8:12] == b"WEBP":
        return Format.WEBP
    if body.startswith(_GZIP):
        return Format.NIFTI_GZ if nifti_kind(_gzip_head(body)) else Format.GZIP
    return _without_signature(body)


def family_of(body: bytes) -> Family:
    """Whose libraries will read `body`, by a look at its first bytes, which decodes nothing."""
    is_picture = sniff(body[:_FAMILY_BYTES]) in PICTURES and not body.startswith(_GZIP)
    return Family.PICTURES if is_picture else Family.ALL


def _without_signature(body: bytes) -> Format | None:
    if kind := nifti_kind(body[:_SNIFFED]):
        return Format.NIFTI if kind == "single" else Format.NIFTI_PAIR
    if body[257:262] == b"ustar":
        return Format.OTHER_ARCHIVE
    return Format.DICOM if _is_bare_dicom(body) else None


def nifti_kind(head: bytes) -> str | None:
    """Tell a NIfTI header by its `sizeof_hdr` and `magic`: a "single" file, a "pair", None."""
    size = int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")
    if 348 in size and head[344:348] in (b"n+1\0", b"ni1\0"):
        return "single" if head[345:346] == b"+" else "pair"
    if 540 in size and head[4:8] in (b"n+2\0", b"ni2\0"):
        return "single" if head[5:6] == b"+" else "pair"
    return None


def _gzip_head(body: bytes) -> bytes:
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(body[:65536], _SNIFFED)
    except zlib.error:
        return b""


def _is_bare_dicom(body: bytes) -> bool:
    """Whether `body` starts with a data element of group 2 or 8, as DICOM without a preamble does.

    The element's length must be plausible too, so that binary data at random is not taken for one.
    """
    head = body[:12]
    if len(body) < 132 or head[:2] not in (b"\2\0", b"\x08\0", b"\0\x08"):
        return False
    order = "big" if head[:2] == b"\0\x08" else "little"
    element = int.from_bytes(head[2:4], order)  # type: ignore[arg-type]
    if element > 0x0100:
        return False
    if head[4:6] in _FIRST_VRS:
        return True
    return order == "little" and int.from_bytes(head[4:8], "little") <= 256
