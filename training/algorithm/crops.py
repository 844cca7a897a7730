"""The built-in's ``augmentation_type``, and the crop that goes with it.

Kinds and ranges are those of its documentation; order and formulas those of MXNet's image
iterator (``image_aug_default.cc``), on which it is built: resize, turn, crop, colour, flip.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from training.algorithm.failure import BadSampleError
from training.algorithm.images import Pixels, as_pixels

CROP: Final = "crop"
CROP_COLOR: Final = "crop_color"
CROP_COLOR_TRANSFORM: Final = "crop_color_transform"
KINDS: Final = (CROP, CROP_COLOR, CROP_COLOR_TRANSFORM)

MAX_HUE: Final = 36
"""On a circle of 180, as 8-bit HSL counts it."""
MAX_SATURATION: Final = 50
MAX_LIGHTNESS: Final = 50
"""Both of 255."""
MAX_TURN_DEG: Final = 10
MAX_SHEAR: Final = 0.1
MAX_ASPECT: Final = 0.25


def resize_shortest(picture: Image.Image, side: int) -> Image.Image:
    """Return the picture with ``side`` pixels along its shorter side, its aspect kept."""
    factor = side / min(picture.size)
    if factor == 1:
        return picture
    size = (max(side, round(picture.width * factor)), max(side, round(picture.height * factor)))
    return picture.resize(size, Image.Resampling.BILINEAR)


def crop_centre(picture: Image.Image, height: int, width: int) -> Image.Image:
    """Cut ``height`` x ``width`` pixels out of the middle.

    :raises BadSampleError: when the picture is smaller than that.
    """
    _check_size(picture, height, width)
    return _crop(
        picture, (picture.width - width) // 2, (picture.height - height) // 2, (width, height)
    )


def vary_crop(
    picture: Image.Image, kind: str, height: int, width: int, random: np.random.Generator
) -> Pixels:
    """Return a random ``height`` x ``width`` part, changed as ``kind`` says.

    :raises BadSampleError: when the picture is smaller than that.
    """
    _check_size(picture, height, width)
    if kind == CROP_COLOR_TRANSFORM:
        picture = _transform(picture, random)
    left = int(random.integers(picture.width - width + 1))
    top = int(random.integers(picture.height - height + 1))
    pixels = as_pixels(_crop(picture, left, top, (width, height)))
    if kind != CROP:
        pixels = _jitter(pixels, random)
    flipped: Pixels = pixels[:, ::-1] if random.integers(2) else pixels
    return flipped


def _check_size(picture: Image.Image, height: int, width: int) -> None:
    if picture.width < width or picture.height < height:
        raise BadSampleError(
            f"an image of {picture.height} x {picture.width} pixels is smaller than the "
            f"{height} x {width} of image_shape: set resize to {max(height, width)} or more, or "
            "leave both resize and augmentation_type unset, and images are resized to image_shape"
        )


def _crop(picture: Image.Image, left: int, top: int, size: tuple[int, int]) -> Image.Image:
    if size == picture.size:
        return picture
    return picture.crop((left, top, left + size[0], top + size[1]))


def _transform(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """Turn, shear and stretch about the centre, the size kept; what comes in is black, as air."""
    shear = random.uniform(-MAX_SHEAR, MAX_SHEAR)
    angle = math.radians(random.uniform(-MAX_TURN_DEG, MAX_TURN_DEG))
    aspect = 1 + random.uniform(-MAX_ASPECT, MAX_ASPECT)
    high = 2 / (1 + aspect)
    wide = aspect * high
    cos, sin = math.cos(angle), math.sin(angle)
    forward = np.array(
        [
            [high * cos - shear * sin * wide, high * sin + shear * cos * wide],
            [-sin * wide, cos * wide],
        ]
    )
    back = np.linalg.inv(forward)
    centre = np.array([picture.width / 2, picture.height / 2])
    shift = centre - back @ centre
    return picture.transform(
        picture.size,
        Image.Transform.AFFINE,
        (*back[0], shift[0], *back[1], shift[1]),
        resample=Image.Resampling.BILINEAR,
    )


def _jitter(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """Shift hue, lightness and saturation of the whole image; of one channel, the lightness."""
    hue, lightness, saturation = (
        random.uniform(-most, most) for most in (MAX_HUE, MAX_LIGHTNESS, MAX_SATURATION)
    )
    if pixels.shape[2] == 1:
        return _as_levels(pixels / 255 + lightness / 255)
    h, s, light = _to_hsl(pixels.astype(np.float32) / np.float32(255))
    return _as_levels(
        _from_hsl(
            h + 2 * hue, (s + saturation / 255).clip(0, 1), (light + lightness / 255).clip(0, 1)
        )
    )


Plane = npt.NDArray[np.float32]


def _to_hsl(rgb: Plane) -> tuple[Plane, Plane, Plane]:
    """Return hue in degrees, saturation and lightness in 0…1 of (H, W, 3) in 0…1."""
    high, low = rgb.max(2), rgb.min(2)
    spread, light = high - low, (high + low) / 2
    safe = np.where(spread == 0, 1, spread)
    red, green, blue = np.moveaxis(rgb, 2, 0)
    sector = np.select(
        [high == red, high == green],
        [(green - blue) / safe, (blue - red) / safe + 2],
        (red - green) / safe + 4,
    )
    room = 1 - np.abs(2 * light - 1)
    return 60 * sector, np.where(spread == 0, 0, spread / np.where(room == 0, 1, room)), light


def _from_hsl(hue: Plane, saturation: Plane, light: Plane) -> Plane:
    reach = saturation * np.minimum(light, 1 - light)
    steps = (np.array([0, 8, 4], np.float32) + (hue / 30)[:, :, None]) % 12
    ramp = np.minimum(steps - 3, 9 - steps).clip(-1, 1)
    rgb: Plane = light[:, :, None] - reach[:, :, None] * ramp
    return rgb


def _as_levels(shares: npt.NDArray[np.floating]) -> Pixels:
    levels: Pixels = np.round(255 * shares.clip(0, 1)).astype(np.uint8)
    return levels
