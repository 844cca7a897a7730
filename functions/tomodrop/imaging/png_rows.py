"""Whether a PNG holds all of its rows: Pillow leaves black what the file lacks, without a word.

It does so if the compressed stream ends in good order before the picture does. To inflate each
stream once more would cost a third of its decoding, so pictures are decoded over white, and only
where the row that is decoded last is still white is the stream measured.
"""

import zlib
from collections.abc import Iterator

from PIL import Image, ImageFile

from tomodrop.imaging.refusals import damaged

_SIGNATURE_BYTES = 8
_PIECE = 1 << 18
# Samples per pixel by colour type (PNG specification, third edition, 11.2.1).
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# First column and row of the seven passes of Adam7, and their steps (section 8.1).
_PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_WHOLE = ((0, 0, 1, 1),)


def decode_over_white(image: ImageFile.ImageFile) -> None:
    """Give a picture, not decoded yet, pixels of the highest value."""
    white = {"I;16": 65535, "1": 255}.get(image.mode, (255,) * len(image.getbands()))
    image.im = Image.new(image.mode, image.size, white).im


def check_rows(image: ImageFile.ImageFile, body: bytes) -> None:
    """Raise for a decoded picture that lacks rows.

    Raises
    ------
    UploadRejected
        `damaged_image`
    """
    interlaced = bool(image.info.get("interlace"))
    # The last pass of an interlaced picture has the rows of odd numbers.
    last = image.height - 1 - (interlaced and image.height % 2)
    row = image.crop((0, last, image.width, last + 1))
    white = 65535 if image.mode == "I;16" else 255
    extrema = row.getextrema()
    lowest = [low for low, _ in extrema] if isinstance(extrema[0], tuple) else [extrema[0]]
    if min(lowest) < white:
        return
    expected = _bytes_of_rows(body, _PASSES if interlaced else _WHOLE)
    if _inflated_bytes(body, expected) < expected:
        raise damaged()


def _bytes_of_rows(body: bytes, passes: tuple[tuple[int, int, int, int], ...]) -> int:
    width, height = int.from_bytes(body[16:20]), int.from_bytes(body[20:24])
    bits = body[24] * _SAMPLES[body[25]]
    total = 0
    for column, row, across, down in passes:
        columns, rows = -(-max(0, width - column) // across), -(-max(0, height - row) // down)
        if columns:
            total += rows * (1 + -(-columns * bits // 8))
    return total


def _inflated_bytes(body: bytes, enough: int) -> int:
    """What the pixels inflate to, counted up to `enough`."""
    inflater, found = zlib.decompressobj(), 0
    try:
        for part in _pixel_chunks(body):
            rest = part
            while rest and found < enough:
                found += len(inflater.decompress(rest, _PIECE))
                rest = inflater.unconsumed_tail
        while found < enough and (piece := inflater.decompress(b"", _PIECE)):
            found += len(piece)
    except zlib.error:
        raise damaged() from None
    return found


def _pixel_chunks(body: bytes) -> Iterator[bytes]:
    place = _SIGNATURE_BYTES
    while place + 8 <= len(body):
        length = int.from_bytes(body[place : place + 4])
        if body[place + 4 : place + 8] == b"IDAT":
            yield body[place + 8 : place + 8 + length]
        place += 12 + length
