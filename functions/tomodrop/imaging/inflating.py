"""Decompress what may be a bomb: never more than a bound, and in pieces."""

import zlib
from io import BytesIO

import numpy as np

from tomodrop.imaging.limits import Limits
from tomodrop.imaging.refusals import check_inflation, damaged
from tomodrop.imaging.volume import Grey

_PIECE = 1 << 20
_RAW_DEFLATE = -zlib.MAX_WBITS
_GZIP = zlib.MAX_WBITS | 16


def inflate_raw(compressed: bytes, limits: Limits) -> bytes:
    """A raw deflate stream (RFC 1951) in full.

    Raises
    ------
    UploadRejected
        `too_large_decoded`, `decompression_bomb` or `damaged_image`
    """
    inflater, found = zlib.decompressobj(_RAW_DEFLATE), BytesIO()
    rest = compressed
    try:
        while not inflater.eof:
            piece = inflater.decompress(rest, _PIECE)
            rest = inflater.unconsumed_tail
            if not piece and not rest:
                break  # cut off, or a stream without its end, which some devices write
            found.write(piece)
            check_inflation(len(compressed), found.tell(), limits)
    except zlib.error:
        raise damaged("file") from None
    return found.getvalue()


def gunzip(compressed: bytes, size: int) -> Grey:
    """The first `size` bytes that a gzip file of one or several members holds, as uint8.

    Raises
    ------
    UploadRejected
        `damaged_image`: there are fewer, or the check sum of a member is wrong.
    """
    found = np.empty(size, np.uint8)
    filled, rest = 0, compressed
    try:
        while filled < size and rest:
            inflater = zlib.decompressobj(_GZIP)
            while filled < size and not inflater.eof:
                piece = inflater.decompress(rest, min(_PIECE, size - filled))
                rest = inflater.unconsumed_tail
                if not piece and not rest and not inflater.eof:
                    break
                found[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
                filled += len(piece)
            rest = inflater.unused_data.lstrip(b"\0") if inflater.eof else b""
    except zlib.error:
        raise damaged("file") from None
    if filled < size:
        raise damaged("file")
    return found
