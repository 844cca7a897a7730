"""A picture file as 8-bit grey, whatever mode it was saved in."""

import warnings
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageFile, UnidentifiedImageError

from training.datasets.failure import SourceSkipped

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})
FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
MIN_SIDE = 32
MAX_SIDE = 4096
"""As intake takes them. Larger ones are refused undecoded: a small file may claim gigabytes."""

# 16-bit and float samples need a window, and a picture does not say which.
_EIGHT_BIT = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr"})


def read_grey(path: Path) -> Image.Image:
    """Decode a picture to mode "L"; alpha is dropped, colour becomes its luminance.

    Raises
    ------
    SourceSkipped
        The file is no whole picture of these formats, or one that cannot be taken as a slice.
    """
    try:
        with (
            warnings.catch_warnings(action="ignore"),  # of files that are refused or read anyway
            Image.open(path, formats=FORMATS) as picture,
        ):
            _check(picture)
            return _to_grey(picture)
    except UnidentifiedImageError as error:
        raise SourceSkipped("not_a_picture", "its content is no PNG, JPEG, TIFF or BMP") from error
    except Image.DecompressionBombError as error:
        raise SourceSkipped("too_large", str(error)) from error
    except SourceSkipped:
        raise
    except Exception as error:  # a decoder may raise anything on damaged bytes
        raise SourceSkipped("broken_picture", f"it cannot be decoded: {error}") from error


def encode_png(picture: Image.Image) -> bytes:
    """The pixels as PNG and nothing else: no text, profile or time of the file they came from."""
    bare, buffer = Image.frombytes(picture.mode, picture.size, picture.tobytes()), BytesIO()
    bare.save(buffer, "PNG")
    return buffer.getvalue()


def _check(picture: ImageFile.ImageFile) -> None:
    width, height = picture.size
    if max(width, height) > MAX_SIDE:
        raise SourceSkipped("too_large", f"{width} x {height} pixels; at most {MAX_SIDE} a side")
    if min(width, height) < MIN_SIDE:
        raise SourceSkipped("too_small", f"{width} x {height} pixels; at least {MIN_SIDE} a side")
    if picture.mode not in _EIGHT_BIT or any(";16" in str(tile.args) for tile in picture.tile):
        raise SourceSkipped("deep_grey", "more than 8 bits a sample, and no window is known")
    if getattr(picture, "n_frames", 1) > 1:
        raise SourceSkipped("several_pages", "more than one picture in a file")


def _to_grey(picture: Image.Image) -> Image.Image:
    # A palette with transparency turns into colours only by way of an alpha channel. The alpha is
    # never blended in: in the SARS-CoV-2 set it gives the class away.
    shown = picture.convert("RGBA") if "transparency" in picture.info else picture
    grey = shown if shown.mode == "L" else shown.convert("RGB").convert("L")
    grey.load()
    return grey
