import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from training.algorithm.images import Scaling, UndecodableImageError, decode_image, stack_images

SHAPE = (3, 40, 30)


def encode(picture: Image.Image, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form)
    return buffer.getvalue()


def gradient(height: int = 40, width: int = 30) -> np.ndarray:
    rows = np.linspace(0, 255, height * width).astype(np.uint8)
    return np.repeat(rows.reshape(height, width, 1), 3, axis=2)


def test_a_png_of_the_right_shape_comes_back_unchanged() -> None:
    assert np.array_equal(decode_image(encode(Image.fromarray(gradient())), SHAPE), gradient())


def test_a_jpeg_comes_close() -> None:
    decoded = decode_image(encode(Image.fromarray(gradient()), "JPEG"), SHAPE)
    assert np.abs(decoded.astype(int) - gradient()).mean() < 4


def test_other_sizes_are_resized_without_regard_to_aspect() -> None:
    picture = Image.fromarray(gradient(97, 211))
    assert decode_image(encode(picture), SHAPE).shape == (40, 30, 3)


def test_grey_is_repeated_and_one_channel_is_kept_one() -> None:
    grey = Image.fromarray(gradient()[:, :, 0])
    assert np.array_equal(decode_image(encode(grey), SHAPE), gradient())
    assert np.array_equal(decode_image(encode(grey), (1, 40, 30)), gradient()[:, :, :1])


def test_alpha_is_dropped() -> None:
    rgba = np.concatenate([gradient(), np.full((40, 30, 1), 7, np.uint8)], axis=2)
    assert np.array_equal(decode_image(encode(Image.fromarray(rgba)), SHAPE), gradient())


def test_sixteen_bits_keep_their_upper_byte() -> None:
    deep = Image.fromarray(gradient()[:, :, 0].astype(np.uint16) * 256 + 99)
    assert np.array_equal(decode_image(encode(deep), SHAPE), gradient())


def test_a_palette_with_transparency_gives_its_colours() -> None:
    palette = Image.fromarray(gradient()).quantize(16)
    encoded = io.BytesIO()
    palette.save(encoded, "PNG", transparency=bytes(range(16)))
    expected = np.asarray(palette.convert("RGB"))
    assert np.array_equal(decode_image(encoded.getvalue(), SHAPE), expected)


def png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("encoded", "said"),
    [
        (b"", "neither a PNG nor a JPEG"),
        (b"1", "neither a PNG nor a JPEG"),
        (b"GIF89a" + bytes(40), "neither a PNG nor a JPEG"),
        (encode(Image.fromarray(gradient()), "TIFF"), "neither a PNG nor a JPEG"),
        (encode(Image.fromarray(gradient()))[:-40], "broken"),
        (encode(Image.fromarray(gradient(200, 200)), "JPEG")[:900], "broken"),
        (png_that_claims(9000, 9000), "at most"),
        (png_that_claims(60000, 60000), "pixels"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_is_no_usable_picture_is_refused(encoded: bytes, said: str) -> None:
    with pytest.raises(UndecodableImageError, match=said):
        decode_image(encoded, SHAPE)


def test_scaling_survives_json_and_scales() -> None:
    scaling = Scaling.from_json(Scaling(mean=0.5, std=0.25).as_json())
    images = stack_images([np.full((2, 2, 3), level, np.uint8) for level in (0, 255)])
    inputs = scaling.to_input(images)
    assert inputs.dtype is torch.float32
    assert inputs[:, 0, 0, 0].tolist() == [-2.0, 2.0]
    assert inputs.is_contiguous(memory_format=torch.channels_last)
