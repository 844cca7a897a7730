"""Random changes that a CT slice may undergo without changing its class.

They stand for what differs between scanners, kernels and breath-holds: position and size, the
window, sharpness and noise. Left and right are never swapped: the heart is on one side.
"""

from typing import Final

import numpy as np
from PIL import Image, ImageFilter

from training.algorithm.images import Pixels

MAX_TURN_DEG: Final = 8.0
MAX_SHIFT: Final = 0.06
"""Share of the side."""
MAX_ZOOM: Final = 0.12
MAX_BRIGHTNESS: Final = 0.12
"""Share of the full range of grey levels."""
MAX_CONTRAST: Final = 0.2
MAX_GAMMA: Final = 0.25
"""Of the natural logarithm of gamma."""
MAX_BLUR_PX: Final = 1.0
MAX_SHARPEN: Final = 1.5
MAX_NOISE: Final = 8.0
"""Grey levels, one standard deviation."""


def vary_ct(image: Pixels, random: np.random.Generator) -> Pixels:
    """Return a varied copy of ``image`` (height, width, channels; uint8).

    The draws come from ``random`` only, so the same generator state gives the same image.
    """
    moved = _move(_as_picture(image), random)
    textured = _resharpen(moved, random)
    levels: Pixels = _window_table(random)[np.asarray(textured).reshape(image.shape)]
    return _add_noise(levels, random)


def _as_picture(image: Pixels) -> Image.Image:
    return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)


def _move(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """Turn, scale and shift about the centre; what comes in from outside is black, as air is."""
    angle = np.deg2rad(random.uniform(-MAX_TURN_DEG, MAX_TURN_DEG))
    zoom = np.exp(random.uniform(-MAX_ZOOM, MAX_ZOOM))
    shift_x, shift_y = random.uniform(-MAX_SHIFT, MAX_SHIFT, size=2)
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    centre_x, centre_y = picture.width / 2, picture.height / 2
    from_x = centre_x + shift_x * picture.width
    from_y = centre_y + shift_y * picture.height
    inverse = (
        *(cos, sin, from_x - cos * centre_x - sin * centre_y),
        *(-sin, cos, from_y + sin * centre_x - cos * centre_y),
    )
    return picture.transform(
        picture.size, Image.Transform.AFFINE, inverse, resample=Image.Resampling.BILINEAR
    )


def _resharpen(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """Blur or sharpen as another reconstruction kernel would; a third stays as it is."""
    kind, amount = random.integers(3), random.uniform()
    if kind == 0:
        return picture.filter(ImageFilter.GaussianBlur(amount * MAX_BLUR_PX))
    if kind == 1:
        percent = int(100 * amount * MAX_SHARPEN)
        return picture.filter(ImageFilter.UnsharpMask(radius=1.5, percent=percent, threshold=0))
    return picture


def _window_table(random: np.random.Generator) -> Pixels:
    """Return the new grey level of each of the 256: another window, another gamma."""
    gamma = np.exp(random.uniform(-MAX_GAMMA, MAX_GAMMA))
    contrast = 1 + random.uniform(-MAX_CONTRAST, MAX_CONTRAST)
    brightness = random.uniform(-MAX_BRIGHTNESS, MAX_BRIGHTNESS)
    levels = np.linspace(0, 1, 256) ** gamma
    varied = (levels - 0.5) * contrast + 0.5 + brightness
    table: Pixels = np.round(255 * varied.clip(0, 1)).astype(np.uint8)
    return table


def _add_noise(image: Pixels, random: np.random.Generator) -> Pixels:
    spread = max(0.0, random.uniform(-MAX_NOISE, MAX_NOISE))
    if spread == 0.0:
        return image
    # One draw for all channels: CT noise is grey.
    noise = random.standard_normal(image.shape[:2], dtype=np.float32)[:, :, None] * spread
    noisy: Pixels = np.clip(image + noise, 0, 255).astype(np.uint8)
    return noisy
