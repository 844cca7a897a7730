"""Decode pictures: PNG and JPEG, told by their content, whatever the file is called."""

import io
import warnings
from dataclasses import dataclass

from PIL import Image, ImageFile, UnidentifiedImageError

from tomodrop.errors import UploadRejected

# Formats are named, so that no other decoder of Pillow ever sees untrusted bytes.
FORMATS = ("PNG", "JPEG")
# A CT slice is 512 x 512, sometimes 1024 or 2048; 4096 x 4096 leaves room for scans of films.
# Each side is limited, not only their product: a strip is padded to a square of its longer side.
MAX_SIDE_PX = 4096
# Modes whose samples are 8 bit or less. 16-bit and float modes need a window, which a picture
# does not carry.
_MODES = frozenset(
    {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}
)


@dataclass(frozen=True)
class Picture:
    """A decoded 8-bit grey picture (mode L) and what it was before."""

    grey: Image.Image
    format: str
    mode: str

    @property
    def is_lossy(self) -> bool:
        """Whether the source was compressed with loss."""
        return self.format == "JPEG"


def decode(body: bytes) -> Picture:
    """Decode one picture to 8-bit grey; alpha and colour are dropped.

    Raises
    ------
    UploadRejected
        `empty_file`, `unsupported_format`, `too_many_pixels`, `several_images`,
        `unsupported_depth` or `damaged_image`. Texts never quote the file.
    """
    if not body:
        raise UploadRejected("empty_file", "The file has no bytes.", "Upload it again.")
    with warnings.catch_warnings():
        # What Pillow only warns of (a half-size bomb, a broken tag) is refused below or harms no
        # pixel, and a warning's text, which may quote the file, must not reach a log.
        warnings.simplefilter("ignore")
        try:
            return _decode(body)
        except (UploadRejected, MemoryError):
            raise
        except UnidentifiedImageError:
            raise _unsupported() from None
        except Image.DecompressionBombError:
            raise _too_many_pixels() from None
        except Exception:  # noqa: BLE001 - a decoder may raise anything on hostile bytes
            raise _damaged() from None


def _decode(body: bytes) -> Picture:
    image = Image.open(io.BytesIO(body), formats=FORMATS)
    _check_header(image)
    # By way of RGB: a palette or CMYK picture goes straight to wrong greys in some modes, and the
    # alpha channel must not show (in the SARS-CoV-2 CT set it gives the class away).
    opaque = image.convert("RGBA") if "transparency" in image.info else image
    grey = opaque if opaque.mode == "L" else opaque.convert("RGB").convert("L")
    grey.load()
    return Picture(grey, str(image.format), image.mode)


def _check_header(image: ImageFile.ImageFile) -> None:
    if max(image.size) > MAX_SIDE_PX:
        raise _too_many_pixels()
    if getattr(image, "n_frames", 1) > 1:
        raise UploadRejected(
            "several_images", "The file holds several images.", "Upload one slice per file."
        )
    if image.mode not in _MODES or _has_wide_samples(image):
        raise UploadRejected(
            "unsupported_depth",
            f"The picture has samples of more than 8 bit (mode {image.mode}) and no window.",
            "Apply the lung window (level -600, width 1500 HU) and export as 8-bit PNG.",
        )


def _has_wide_samples(image: ImageFile.ImageFile) -> bool:
    """Whether Pillow would cut 16-bit colour or alpha down to 8 bit, as it does without a word."""
    return any(";16" in str(tile.args) for tile in image.tile)


def _unsupported() -> UploadRejected:
    return UploadRejected(
        "unsupported_format",
        "The content is neither PNG nor JPEG.",
        "Export the slice as an 8-bit PNG with the lung window (level -600, width 1500 HU).",
    )


def _too_many_pixels() -> UploadRejected:
    return UploadRejected(
        "too_many_pixels",
        f"The picture has a side of more than {MAX_SIDE_PX} pixels.",
        f"Upload single CT slices of at most {MAX_SIDE_PX} x {MAX_SIDE_PX} pixels.",
    )


def _damaged() -> UploadRejected:
    return UploadRejected(
        "damaged_image",
        "The picture's data is damaged or cut off and cannot be decoded.",
        "Check that the file opens in a viewer, and upload it again.",
    )
