"""Decode pictures, told by their content, whatever the file is called.

8-bit pictures become greys here. Deeper samples are handed on as they are: what they mean is for
`windowing` to say.
"""

import io
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from tomodrop.errors import UploadRejected
from tomodrop.imaging.formats import PICTURES, Format, sniff
from tomodrop.imaging.limits import Limits
from tomodrop.imaging.png_rows import check_rows, decode_over_white
from tomodrop.imaging.refusals import check_planes, check_size, damaged, too_many_pixels
from tomodrop.imaging.refusals import unsupported_format as unsupported
from tomodrop.imaging.scope import Colour, colour_of

# Formats are named, so that no other decoder of Pillow ever sees untrusted bytes.
FORMATS = tuple(sorted(kind.value for kind in PICTURES))
# Modes whose samples are 8 bit or less, and what deeper ones are read as.
_MODES = frozenset(
    {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"}
)
_DEEP_BITS = {"I;16": 16, "I;16L": 16, "I;16B": 16, "I;16N": 16, "I": 32, "F": 32}
_GREY_MODES = frozenset({"1", "L", "LA", "La"})
# EXIF 2.32, tag 0x0112: how to turn what is stored so as to show it.
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TIFF_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
# TIFF 6.0, tag 254: bit 0 marks a smaller version of another page.
_TIFF_SUBFILE = 254
# In 16-bit colour Pillow keeps the high byte; 12-bit values would be left with 16 greys.
_FEW_GREYS = 16


@dataclass(frozen=True)
class Picture:
    """A decoded picture: `pages` are (height, width), 8-bit greys where `bits` is 8.

    `left_out` names the pages that are none of its slices. `alpha`: "" without that channel, else
    whether any pixel is "transparent" or all are "opaque".
    """

    pages: tuple[NDArray[Any], ...]
    format: str
    mode: str
    bits: int
    is_lossy: bool
    colour: Colour
    left_out: tuple[str, ...] = ()
    alpha: str = ""


def decode(body: bytes, limits: Limits | None = None) -> Picture:
    """Decode a picture; alpha and colour are dropped.

    Raises
    ------
    UploadRejected
        `empty_file`, `unsupported_format`, `too_many_pixels`, `too_many_slices`,
        `too_large_decoded`, `several_images`, `unsupported_depth` or `damaged_image`. Texts never
        quote the file.
    """
    if not body:
        raise UploadRejected("empty_file", "The file has no bytes.", "Upload it again.")
    limits = limits or Limits()
    kind = sniff(body)
    if kind not in PICTURES:
        raise unsupported()
    with warnings.catch_warnings():
        # What Pillow only warns of (a half-size bomb, a broken tag) is refused below or harms no
        # pixel, and a warning's text, which may quote the file, must not reach a log.
        warnings.simplefilter("ignore")
        try:
            return _decode(body, kind.value, limits)
        except (UploadRejected, MemoryError):
            raise
        except UnidentifiedImageError:
            # Two letters begin a BMP, and many a text; the other formats' marks are no accident.
            raise (unsupported() if kind is Format.BMP else damaged("picture's header")) from None
        except Image.DecompressionBombError:
            raise too_many_pixels(limits) from None
        except Exception:  # noqa: BLE001 - a decoder may raise anything on hostile bytes
            raise damaged() from None


def _decode(body: bytes, kind: str, limits: Limits) -> Picture:
    image = Image.open(io.BytesIO(body), formats=(kind,))
    first = (image.size, image.mode)
    count = _check_header(image, limits)
    if kind == "PNG":
        decode_over_white(image)
    pages: list[NDArray[Any]] = []
    left_out: list[str] = []
    colour = Colour()
    for number in range(count):
        image.seek(number)
        if (image.size, image.mode) != first or _is_reduced(image):
            left_out.append(f"page {number + 1} of {count}: another size or depth")
            continue
        samples, seen = _samples(image)
        pages.append(samples)
        colour = max(colour, seen, key=lambda one: one.strong)
    if not pages:
        raise damaged()
    if kind == "PNG":
        check_rows(image, body)
    return Picture(
        pages=tuple(pages),
        format=kind,
        mode=first[1],
        bits=_DEEP_BITS.get(first[1], 8),
        is_lossy=_is_lossy(image, body),
        colour=colour,
        left_out=tuple(left_out),
        alpha=_alpha(image),
    )


def _check_header(image: ImageFile.ImageFile, limits: Limits) -> int:
    """How many pages there are to decode, once nothing speaks against it."""
    check_size(*image.size, limits)
    count = int(getattr(image, "n_frames", 1))
    if count > 1 and image.format != "TIFF":
        raise UploadRejected(
            "several_images", "The file holds several images.", "Upload one slice per file."
        )
    if image.mode not in _MODES and image.mode not in _DEEP_BITS:
        raise _unsupported_depth(f"samples of a kind that no CT slice has (mode {image.mode})")
    bits = _DEEP_BITS.get(image.mode, 8)
    check_planes(count, image.width * image.height * bits // 8, limits)
    return count


def _samples(image: ImageFile.ImageFile) -> tuple[NDArray[Any], Colour]:
    if image.mode in _DEEP_BITS:
        return _deep(image), Colour()
    is_wide = _has_wide_samples(image)
    grey, colour = _grey(image)
    samples = np.asarray(grey)
    if is_wide and int(samples.max()) < _FEW_GREYS:
        raise _unsupported_depth("16-bit colour or alpha that uses the lowest 12 bit only")
    return samples, colour


def _grey(image: ImageFile.ImageFile) -> tuple[Image.Image, Colour]:
    # By way of RGB: a palette or CMYK picture goes straight to wrong greys in some modes, and the
    # alpha channel must not show (in the SARS-CoV-2 CT set it gives the class away).
    opaque = image.convert("RGBA") if "transparency" in image.info else image
    if opaque.mode == "L":
        opaque.load()
        return _upright(image, opaque), Colour()
    rgb = opaque.convert("RGB")
    colour = Colour() if image.mode in _GREY_MODES else colour_of(rgb)
    return _upright(image, rgb.convert("L")), colour


def _alpha(image: ImageFile.ImageFile) -> str:
    """What the alpha channel of the last page says."""
    if not image.has_transparency_data:
        return ""
    lowest, _ = image.convert("RGBA").getchannel("A").getextrema()
    return "opaque" if lowest == 255 else "transparent"


def _upright(image: ImageFile.ImageFile, grey: Image.Image) -> Image.Image:
    """Turned as EXIF says; Pillow turns TIFF itself."""
    if image.format == "TIFF":
        return grey
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - a broken tag spoils no pixel
        return grey
    return grey if turn is None else grey.transpose(turn)


def _deep(image: ImageFile.ImageFile) -> NDArray[Any]:
    samples = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    if tags.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO and image.mode.startswith("I;16"):
        return np.iinfo(np.uint16).max - samples  # Pillow inverts 8-bit samples only
    return samples


def _has_wide_samples(image: ImageFile.ImageFile) -> bool:
    """Whether Pillow cuts 16-bit colour or alpha down to 8 bit, as it does without a word."""
    return any(";16" in str(tile.args) for tile in image.tile)


def _is_reduced(image: ImageFile.ImageFile) -> bool:
    return bool(int(getattr(image, "tag_v2", {}).get(_TIFF_SUBFILE, 0)) & 1)


def _is_lossy(image: ImageFile.ImageFile, body: bytes) -> bool:
    """Whether the source was compressed with loss, as far as its headers tell."""
    if image.format == "TIFF":
        return str(image.info.get("compression")) in ("jpeg", "tiff_jpeg", "webp")
    if image.format == "WEBP":
        return b"VP8 " in body[:64]
    if image.format == "JPEG2000":
        return j2k_is_irreversible(body)
    return image.format == "JPEG"


def j2k_is_irreversible(codestream: bytes) -> bool:
    """Whether JPEG 2000 used the 9-7 wavelet: the last field of COD (ISO 15444-1, A.6.1)."""
    start = codestream.find(b"\xff\x52")
    return start >= 0 and codestream[start + 13 : start + 14] == b"\0"


def _unsupported_depth(what: str) -> UploadRejected:
    return UploadRejected(
        "unsupported_depth",
        f"The picture has {what}.",
        "Apply the lung window (level -600, width 1500 HU) and export as 8-bit grey PNG.",
    )
