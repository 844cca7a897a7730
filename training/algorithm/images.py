"""From the bytes of a PNG or JPEG to what the network sees; the same for training and serving."""

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

if TYPE_CHECKING:
    import torch

Pixels: TypeAlias = npt.NDArray[np.uint8]
"""(height, width, channels), grey levels 0…255."""

FORMATS = ("PNG", "JPEG")
MAX_PIXELS = 64 * 1024 * 1024
"""Larger pictures are refused before they are decoded: a small file may claim gigabytes."""


class UndecodableImageError(ValueError):
    """The bytes are no picture this algorithm takes; the message says why."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """How grey levels become the network's input: (level / 255 - mean) / std."""

    mean: float = 0.0
    std: float = 1.0

    def to_input(self, images: "torch.Tensor") -> "torch.Tensor":
        """Turn uint8 images (N, C, H, W) into float32 of the same shape and memory format."""
        return images.float().div_(255.0).sub_(self.mean).div_(self.std)

    def as_json(self) -> dict[str, float]:
        """Return what ``model.json`` keeps."""
        return {"mean": self.mean, "std": self.std}

    @classmethod
    def from_json(cls, content: dict[str, float]) -> Self:
        """Undo :meth:`as_json`."""
        return cls(mean=float(content["mean"]), std=float(content["std"]))


def decode_image(encoded: bytes, image_shape: tuple[int, int, int]) -> Pixels:
    """Decode a PNG or JPEG and bring it to ``image_shape`` (channels, height, width).

    As the built-in does when serving: resized without regard to aspect, alpha dropped, grey
    repeated over three channels.

    :raises UndecodableImageError: when ``encoded`` is anything else, broken or too large.
    """
    channels, height, width = image_shape
    picture = decode_picture(encoded, channels)
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    return as_pixels(picture)


def as_pixels(picture: Image.Image) -> Pixels:
    """Return the grey levels of a picture, which may have one channel or three."""
    return np.asarray(picture, dtype=np.uint8).reshape(picture.height, picture.width, -1)


def decode_picture(encoded: bytes, channels: int) -> Image.Image:
    """Decode a PNG or JPEG in its own size, to grey (1 channel) or RGB (3).

    :raises UndecodableImageError: when ``encoded`` is anything else, broken or too large.
    """
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as picture:
            return _to_channels(picture, channels)
    except UnidentifiedImageError as error:
        raise UndecodableImageError("neither a PNG nor a JPEG") from error
    except _TOO_LARGE as error:
        raise UndecodableImageError(str(error)) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UndecodableImageError(f"a broken PNG or JPEG: {error}") from error


_TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)


def _to_channels(picture: Image.Image, channels: int) -> Image.Image:
    if picture.width * picture.height > MAX_PIXELS:
        raise Image.DecompressionBombError(
            f"{picture.width} x {picture.height} pixels; at most {MAX_PIXELS} are taken"
        )
    if picture.mode.startswith("I"):
        # Pillow would clip 16-bit grey at 255; MXNet's decoder keeps the upper byte.
        levels = np.asarray(picture).astype(np.uint32) >> 8
        picture = Image.fromarray(levels.astype(np.uint8))
    elif "transparency" in picture.info:
        # A palette with transparency turns into colours only by way of an alpha channel.
        picture = picture.convert("RGBA")
    return picture.convert("L" if channels == 1 else "RGB")


def stack_images(images: list[Pixels]) -> "torch.Tensor":
    """Return one uint8 tensor (N, C, H, W), channels last in memory as the network wants it."""
    # Not for those who only decode: serving on a CPU goes without PyTorch.
    import torch  # noqa: PLC0415

    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
