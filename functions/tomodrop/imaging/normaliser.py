"""The one normaliser: training and classification see the same pixels.

Version 2: decode → Hounsfield units or grey levels → window → 8-bit grey in display orientation →
pad with black to a centred square → resize (bilinear with antialiasing) to the model's image shape
→ the same grey in each channel → PNG. Version 1 read 8-bit PNG and JPEG only, and did not turn
them as EXIF says.
"""

import contextlib
from typing import Any

from PIL import Image

from tomodrop.errors import UploadRejected
from tomodrop.imaging.encoding import encode
from tomodrop.imaging.formats import Family
from tomodrop.imaging.limits import Limits
from tomodrop.imaging.normalised import NormalisedSlice
from tomodrop.imaging.phash import phash
from tomodrop.imaging.reading import read
from tomodrop.imaging.version import NORMALISER
from tomodrop.imaging.volume import Plane, Volume
from tomodrop.imaging.warming import samples
from tomodrop.pixels import pixels_of

# Every slice's index line repeats what was left out.
_MOST_LEFT_OUT = 20


def normalise(
    body: bytes, image_shape: tuple[int, int, int], limits: Limits | None = None
) -> list[NormalisedSlice]:
    """Every slice in an upload, as PNGs of `image_shape` (channels, height, width).

    Raises
    ------
    UploadRejected
        The upload holds no axial CT slice that is read; see `reading.read`.
    """
    volume = read(body, limits or Limits())
    processing = _processing(volume, image_shape)
    warnings = _warnings(volume, image_shape)
    return [_slice(plane, image_shape, processing, warnings) for plane in volume.planes]


def warm_up(family: Family = Family.ALL) -> None:
    """Have libraries load what they load on first use, and the interpreter see the way once.

    A process that forks for every upload calls it, lest each child does the same anew.
    """
    Image.init()
    for sample in samples(family):
        with contextlib.suppress(UploadRejected):
            normalise(sample, (3, 224, 224))


def _processing(volume: Volume, image_shape: tuple[int, int, int]) -> dict[str, Any]:
    made = volume.processing | {"normaliser": NORMALISER, "image_shape": list(image_shape)}
    if not volume.left_out:
        return made
    named = list(volume.left_out[:_MOST_LEFT_OUT])
    if more := len(volume.left_out) - len(named):
        named.append(f"and {more} more")
    return made | {"left_out": named}


def _warnings(volume: Volume, image_shape: tuple[int, int, int]) -> tuple[str, ...]:
    found = list(volume.warnings)
    if count := len(volume.left_out):
        found.append(f"Left out: {count} of the upload's images; processing.left_out names them.")
    if max(max(plane.grey.shape) for plane in volume.planes) < min(image_shape[1:]):
        found.append("Upsampled: the source is smaller than what the model looks at.")
    return tuple(found)


def _slice(
    plane: Plane,
    image_shape: tuple[int, int, int],
    processing: dict[str, Any],
    warnings: tuple[str, ...],
) -> NormalisedSlice:
    channels, height, width = image_shape
    grey = Image.fromarray(plane.grey)
    resized = pad_to_square(grey).resize((width, height), Image.Resampling.BILINEAR)
    return NormalisedSlice(
        png=encode(resized, channels),
        processing=processing,
        warnings=warnings,
        index=plane.index,
        position_mm=plane.position_mm,
        has_lung=plane.has_lung,
        pixels=pixels_of(resized.histogram(), resized.tobytes(), phash(resized)),
    )


def pad_to_square(grey: Image.Image) -> Image.Image:
    """Centre on a black square, so that resizing keeps the aspect ratio."""
    side = max(grey.size)
    if grey.size == (side, side):
        return grey
    square = Image.new("L", (side, side))
    square.paste(grey, ((side - grey.width) // 2, (side - grey.height) // 2))
    return square
