"""Whether bytes are a plain PNG of the expected shape, told without a decoder."""

import struct
import zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHUNK = struct.Struct(">I4s")
_FRAME = 12  # length, name and checksum
_COLOUR_TYPES = {1: 0, 3: 2}
_ALLOWED = (b"IHDR", b"IDAT", b"IEND")


def is_plain_png(body: bytes, image_shape: tuple[int, int, int]) -> bool:
    """8-bit grey or RGB of `image_shape`, with pixels and nothing else (no text, no profile).

    The pixels' own compression is undone, within bounds: later readers meet no bomb. PNG
    specification, third edition, sections 5 and 11.
    """
    if not body.startswith(_SIGNATURE):
        return False
    chunks = _chunks(body)
    if not chunks or chunks[0][0] != b"IHDR" or chunks[-1] != (b"IEND", b""):
        return False
    if any(name not in _ALLOWED for name, _ in chunks):
        return False
    if sum(name != b"IDAT" for name, _ in chunks) > 2:
        return False
    channels, height, width = image_shape
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    packed = b"".join(data for name, data in chunks if name == b"IDAT")
    return chunks[0][1] == header and _inflates_to(packed, height * (1 + channels * width))


def _chunks(body: bytes) -> list[tuple[bytes, bytes]]:
    """Name and data of every chunk; none at all when one is cut off or has a wrong checksum."""
    found, place = [], len(_SIGNATURE)
    while place < len(body):
        if place + _FRAME > len(body):
            return []
        length, name = _CHUNK.unpack_from(body, place)
        end = place + _FRAME + length
        if end > len(body) or int.from_bytes(body[end - 4 : end]) != zlib.crc32(
            memoryview(body)[place + 4 : end - 4]
        ):
            return []
        found.append((name, body[place + 8 : end - 4]))
        place = end
    return found


def _inflates_to(packed: bytes, length: int) -> bool:
    inflater = zlib.decompressobj()
    try:
        return len(inflater.decompress(packed, length + 1)) == length and inflater.eof
    except zlib.error:
        return False
