"""The one normaliser: training and classification see the same pixels.

Version 1: 8-bit grey → pad with black to a centred square → resize (bilinear with antialiasing) to
the model's image shape → the same grey in each channel → PNG.
"""

import contextlib
import io

from PIL import Image

from tomodrop.errors import UploadRejected
from tomodrop.imaging.limits import Limits
from tomodrop.imaging.normalised import NormalisedSlice
from tomodrop.imaging.pictures import Picture, decode
from tomodrop.imaging.version import NORMALISER

# Level 1 encodes 3.6 times faster than the default at the same size for such slices.
_PNG_COMPRESSION = 1
_SMALLEST_SIDE_PX = 32


def normalise(
    body: bytes, image_shape: tuple[int, int, int], limits: Limits | None = None
) -> list[NormalisedSlice]:
    """Every slice in an upload, as PNGs of `image_shape` (channels, height, width).

    Raises
    ------
    UploadRejected
        The upload is no picture of a slice that this version reads; see `pictures.decode`.
    """
    picture = decode(body)
    grey = picture.grey
    if min(grey.size) < _SMALLEST_SIDE_PX:
        raise UploadRejected(
            "too_small",
            f"The picture is {grey.width} x {grey.height} pixels; a slice has at least "
            f"{_SMALLEST_SIDE_PX} on each side.",
            "Upload the slice at its original resolution.",
        )
    processing = {
        "format": picture.format,
        "mode": picture.mode,
        "width_px": grey.width,
        "height_px": grey.height,
        "window": "as displayed in the picture",
        "normaliser": NORMALISER,
        "image_shape": list(image_shape),
    }
    return [NormalisedSlice(_encode(grey, image_shape), processing, _warn(picture, image_shape))]


def warm_up() -> None:
    """Have libraries load what they load on first use, and the interpreter see the way once.

    A process that forks for every upload calls it, lest each child does the same anew.
    """
    Image.init()
    sample = io.BytesIO()
    Image.linear_gradient("L").save(sample, "PNG")
    with contextlib.suppress(UploadRejected):
        normalise(sample.getvalue(), (3, 224, 224))


def _encode(grey: Image.Image, image_shape: tuple[int, int, int]) -> bytes:
    channels, height, width = image_shape
    resized = pad_to_square(grey).resize((width, height), Image.Resampling.BILINEAR)
    encoded = io.BytesIO()
    shown = resized.convert("RGB") if channels == 3 else resized
    shown.save(encoded, "PNG", compress_level=_PNG_COMPRESSION)
    return encoded.getvalue()


def pad_to_square(grey: Image.Image) -> Image.Image:
    """Centre on a black square, so that resizing keeps the aspect ratio."""
    side = max(grey.size)
    if grey.size == (side, side):
        return grey
    square = Image.new("L", (side, side))
    square.paste(grey, ((side - grey.width) // 2, (side - grey.height) // 2))
    return square


def _warn(picture: Picture, image_shape: tuple[int, int, int]) -> tuple[str, ...]:
    found = ["No Hounsfield scale: a picture carries none, its window was taken as it is."]
    if picture.is_lossy:
        found.append("Lossy source: JPEG compression can hide or imitate fine texture.")
    if max(picture.grey.size) < min(image_shape[1:]):
        found.append("Upsampled: the source is smaller than what the model looks at.")
    return tuple(found)
