"""Rejections that several readers give. Texts hold numbers and words of ours, never the file's."""

from tomodrop.errors import UploadRejected
from tomodrop.imaging.limits import Limits

CHECK_AND_REPEAT = "Check that the file opens in a viewer, and upload it again."


def damaged(what: str = "picture") -> UploadRejected:
    """A decoder failed, or the data ends too early."""
    return UploadRejected(
        "damaged_image",
        f"The {what}'s data is damaged or cut off and cannot be decoded.",
        CHECK_AND_REPEAT,
    )


def unsupported_format() -> UploadRejected:
    """The content is none of the formats that are read."""
    return UploadRejected(
        "unsupported_format",
        "The content is none of DICOM, NIfTI, PNG, JPEG, TIFF, BMP, JPEG 2000, WebP or a zip of "
        "these.",
        "Upload the original DICOM files, or export the slice as a PNG with the lung window "
        "(level -600, width 1500 HU).",
    )


def check_size(width: int, height: int, limits: Limits) -> None:
    """Raise for a plane of too many pixels.

    Each side is limited too: a strip is padded to a square of its longer side.

    Raises
    ------
    UploadRejected
        `too_many_pixels`
    """
    if max(width, height) > limits.max_side_px or width * height > limits.max_pixels_per_plane:
        raise too_many_pixels(limits)


def too_many_pixels(limits: Limits) -> UploadRejected:
    """A plane is larger than any CT slice."""
    return UploadRejected(
        "too_many_pixels",
        f"The picture has a side of more than {limits.max_side_px} pixels.",
        f"Upload single CT slices of at most {limits.max_side_px} x {limits.max_side_px} pixels.",
    )


def check_planes(count: int, plane_bytes: int, limits: Limits) -> None:
    """Raise for more planes, or more bytes of pixels in all, than an upload may have.

    Raises
    ------
    UploadRejected
        `too_many_slices` or `too_large_decoded`
    """
    if count > limits.max_planes:
        raise UploadRejected(
            "too_many_slices",
            f"The upload has {count} slices; at most {limits.max_planes} are read.",
            "Upload the series in parts, or one with thicker slices.",
        )
    if count * plane_bytes > limits.max_decoded_bytes:
        raise too_large_decoded(limits)


def too_large_decoded(limits: Limits) -> UploadRejected:
    """What an upload holds needs too much memory once it is decompressed."""
    return UploadRejected(
        "too_large_decoded",
        f"Decompressed, the upload has more than {limits.max_decoded_bytes // 1024**2} MiB.",
        "Upload the series in parts, or one with thicker slices.",
    )


def decompression_bomb(limits: Limits) -> UploadRejected:
    """Data that inflates further than images do."""
    return UploadRejected(
        "decompression_bomb",
        f"The upload decompresses to more than {limits.max_ratio:g} times its size, which no CT "
        "image does.",
        "Upload the original files, uncompressed or in a plain zip.",
    )


def check_inflation(compressed: int, inflated: int, limits: Limits) -> None:
    """Raise where `inflated` bytes are more than `compressed` bytes may become.

    Raises
    ------
    UploadRejected
        `too_large_decoded` or `decompression_bomb`
    """
    if inflated > limits.max_decoded_bytes:
        raise too_large_decoded(limits)
    if inflated > max(limits.free_bytes, limits.max_ratio * compressed):
        raise decompression_bomb(limits)
