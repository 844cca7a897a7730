"""Stored samples of DICOM frames, by pydicom and those of its plug-ins that carry no GPL."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from pydicom import uid
from pydicom._uid_dict import UID_dictionary
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder

from tomodrop.errors import UploadRejected
from tomodrop.imaging.dicom_scope import has_pixels
from tomodrop.imaging.dicom_values import value, whole, word
from tomodrop.imaging.limits import Limits
from tomodrop.imaging.refusals import check_planes, check_size, damaged


@dataclass(frozen=True)
class Syntax:
    """A transfer syntax that is read. `plugin`: the fastest of pydicom's, where several can."""

    name: str
    is_lossy: bool = False
    plugin: str = ""


# JPEG Extended (…4.51) of 12 bit, and the retired processes, have no decoder but in GPL code.
SYNTAXES = {
    uid.ImplicitVRLittleEndian: Syntax("Implicit VR Little Endian"),
    uid.ExplicitVRLittleEndian: Syntax("Explicit VR Little Endian"),
    uid.DeflatedExplicitVRLittleEndian: Syntax("Deflated Explicit VR Little Endian"),
    uid.ExplicitVRBigEndian: Syntax("Explicit VR Big Endian"),
    uid.RLELossless: Syntax("RLE Lossless", plugin="pylibjpeg"),
    uid.JPEGBaseline8Bit: Syntax("JPEG Baseline", is_lossy=True),
    uid.JPEGLossless: Syntax("JPEG Lossless"),
    uid.JPEGLosslessSV1: Syntax("JPEG Lossless SV1"),
    uid.JPEGLSLossless: Syntax("JPEG-LS Lossless", plugin="pyjpegls"),
    uid.JPEGLSNearLossless: Syntax("JPEG-LS Near Lossless", is_lossy=True, plugin="pyjpegls"),
    uid.JPEG2000Lossless: Syntax("JPEG 2000 Lossless", plugin="pylibjpeg"),
    uid.JPEG2000: Syntax("JPEG 2000", is_lossy=True, plugin="pylibjpeg"),
    uid.HTJ2KLossless: Syntax("HTJ2K Lossless"),
    uid.HTJ2KLosslessRPCL: Syntax("HTJ2K Lossless RPCL"),
    uid.HTJ2K: Syntax("HTJ2K", is_lossy=True),
}
_NOT_ERRORS = (GeneratorExit, KeyboardInterrupt, SystemExit)
# The decoders' libraries are loaded here, before any upload is looked at.
_DECODERS = {syntax: get_decoder(syntax) for syntax in SYNTAXES}
_J2K_START, _JPEG_START = b"\xff\x4f\xff\x51", b"\xff\xd8"
# Start of frame: SOF0 to SOF15 but for DHT, JPG and DAC (ITU T.81 table B.1); SOF55 of JPEG-LS.
_SOF = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})


def syntax_of(dataset: Dataset) -> Syntax:
    """The transfer syntax of a file.

    Raises
    ------
    UploadRejected
        `unsupported_transfer_syntax`
    """
    name = str(dataset.file_meta.TransferSyntaxUID)
    found = SYNTAXES.get(uid.UID(name))
    if found is None:
        # Names of the standard only: a private syntax could spell anything.
        known = UID_dictionary.get(name)
        raise UploadRejected(
            "unsupported_transfer_syntax",
            f"The transfer syntax is {known[0] if known else 'a private or unknown one'}, which no "
            "free decoder reads.",
            "Export the series uncompressed (Explicit VR Little Endian) or as JPEG 2000 Lossless.",
        )
    return found


def frame_count(dataset: Dataset) -> int:
    """Frames of a file: 1 where it does not say."""
    return max(1, whole(dataset, "NumberOfFrames", 1))


def check_pixels(dataset: Dataset, limits: Limits) -> None:
    """Raise before anything is decoded that is too large, or has samples no CT slice has.

    Raises
    ------
    UploadRejected
        A code of the limits, `unsupported_depth`, `no_image` or `damaged_image`
    """
    height, width = whole(dataset, "Rows"), whole(dataset, "Columns")
    bits = whole(dataset, "BitsAllocated")
    if not has_pixels(dataset) or height < 1 or width < 1:
        raise damaged("image's header")
    check_size(width, height, limits)
    check_planes(frame_count(dataset), width * height * bits // 8, limits)
    if bits not in (8, 16, 32) or whole(dataset, "SamplesPerPixel", 1) != 1:
        raise UploadRejected(
            "unsupported_depth",
            f"The image has {whole(dataset, 'SamplesPerPixel', 1)} samples of {bits} bit per "
            "pixel; a CT has one of 8, 16 or 32.",
            "Export the series with one sample of 16 bit per pixel.",
        )


def frames(dataset: Dataset) -> Iterator[NDArray[Any]]:
    """Each frame's samples (height, width), in the file's order.

    Raises
    ------
    UploadRejected
        `damaged_image`
    """
    count = frame_count(dataset)
    _check_codestreams(dataset, count)
    syntax = SYNTAXES[uid.UID(str(dataset.file_meta.TransferSyntaxUID))]
    try:
        yield from _decoded(dataset, count, syntax.plugin)
    except (MemoryError, *_NOT_ERRORS):
        raise
    except BaseException:  # noqa: BLE001 - a panic of Rust code, as pylibjpeg-rle's, is no Exception
        raise damaged("image") from None


def _decoded(dataset: Dataset, count: int, plugin: str) -> Iterator[NDArray[Any]]:
    decoder = _DECODERS[uid.UID(str(dataset.file_meta.TransferSyntaxUID))]
    if count == 1:
        yield decoder.as_array(dataset, index=0, raw=True, decoding_plugin=plugin)[0]
        return
    for samples, _ in decoder.iter_array(dataset, raw=True, decoding_plugin=plugin):
        yield samples


def _check_codestreams(dataset: Dataset, count: int) -> None:
    """Raise where a codestream says it is larger than its frame: decoders allocate what it says."""
    if not uid.UID(str(dataset.file_meta.TransferSyntaxUID)).is_encapsulated:
        return
    height, width = whole(dataset, "Rows"), whole(dataset, "Columns")
    for frame in generate_frames(value(dataset, "PixelData"), number_of_frames=count):
        size = codestream_size(frame)
        if size is not None and (size[0] > width or size[1] > height):
            raise damaged("image")


def codestream_size(frame: bytes) -> tuple[int, int] | None:
    """Width and height that a JPEG, JPEG-LS or JPEG 2000 codestream gives; None for others."""
    start = frame[:256].find(_J2K_START)
    if start >= 0:
        # SIZ: the image's far corner, as 32-bit numbers after the marker, its length and Rsiz.
        corner = frame[start + 8 : start + 16]
        return int.from_bytes(corner[:4]), int.from_bytes(corner[4:])
    if not frame.startswith(_JPEG_START):
        return None
    place = 2
    while place + 9 <= len(frame) and frame[place] == 0xFF:
        if frame[place + 1] in _SOF:
            size = frame[place + 5 : place + 9]
            return int.from_bytes(size[2:]), int.from_bytes(size[:2])
        place += 2 + int.from_bytes(frame[place + 2 : place + 4])
    return None


def is_lossy(dataset: Dataset, syntax: Syntax) -> bool:
    """Whether the pixels were compressed with loss, now or ever."""
    return syntax.is_lossy or word(dataset, "LossyImageCompression") == "01"
