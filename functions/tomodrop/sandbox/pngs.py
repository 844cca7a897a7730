"""Whether bytes are a plain PNG of the expected shape, told without a decoder."""

import struct
import zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHUNK = struct.Struct(">I4s")
_FRAME = 12  # length, name and checksum
_COLOUR_TYPES = {1: 0, 3: 2}


def is_plain_png(body: bytes, image_shape: tuple[int, int, int]) -> bool:
    """8-bit grey or RGB of `image_shape`, with pixels and nothing else (no text, no profile).

    The pixels themselves stay packed: a reader unpacks what the header's shape needs, and no more,
    and unpacking here would cost an eighth of what making the picture did. PNG specification, third
    edition, sections 5 and 11.
    """
    if not body.startswith(_SIGNATURE):
        return False
    chunks = _chunks(body)
    if not chunks or chunks[0][0] != b"IHDR" or chunks[-1] != (b"IEND", b""):
        return False
    names = [name for name, _ in chunks]
    channels, height, width = image_shape
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    return chunks[0][1] == header and set(names[1:-1]) == {b"IDAT"}


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
