"""Decompress what may be a bomb: never more than a bound, and in pieces."""

import zlib
from collections.abc import Iterator
from io import BytesIO

import numpy as np

from tomodrop.imaging.limits import Limits
from tomodrop.imaging.refusals import check_inflation, damaged
from tomodrop.imaging.volume import Grey

_PIECE = 1 << 20
_FED = 1 << 16
_RAW_DEFLATE = -zlib.MAX_WBITS
_GZIP = zlib.MAX_WBITS | 16


def inflate_raw(compressed: bytes, limits: Limits) -> bytes:
    """A raw deflate stream (RFC 1951) in full.

    Raises
    ------
    UploadRejected
        `too_large_decoded`, `decompression_bomb` or `damaged_image`
    """
    found = BytesIO()
    for piece in _pieces(compressed, _RAW_DEFLATE):
        found.write(piece)
        check_inflation(len(compressed), found.tell(), limits)
    return found.getvalue()


def gunzip(compressed: bytes, size: int) -> Grey:
    """The first `size` bytes that a gzip file of one or several members holds, as uint8.

    Raises
    ------
    UploadRejected
        `damaged_image`: there are fewer, or the check sum of a member is wrong.
    """
    found = np.empty(size, np.uint8)
    filled = 0
    for piece in _pieces(compressed, _GZIP):
        part = np.frombuffer(piece, np.uint8)[: size - filled]
        found[filled : filled + len(part)] = part
        filled += len(part)
        if filled == size:
            return found
    raise damaged("file")


def _pieces(compressed: bytes, kind: int) -> Iterator[bytes]:
    """What a stream, or several in a row, inflates to, in pieces of bounded size.

    zlib copies what it is given and has not used, so it is given little at a time.
    """
    inflater = zlib.decompressobj(kind)
    for start in range(0, len(compressed), _FED):
        rest = compressed[start : start + _FED]
        try:
            while rest:
                yield inflater.decompress(rest, _PIECE)
                rest = inflater.unconsumed_tail
                if inflater.eof:
                    rest = inflater.unused_data.lstrip(b"\0")
                    inflater = zlib.decompressobj(kind)
        except zlib.error:
            raise damaged("file") from None
    while piece := inflater.decompress(b"", _PIECE):
        yield piece
