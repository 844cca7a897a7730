"""Records of MXNet's im2rec: a header with the labels, and the encoded image behind it.

The header is ``struct IRHeader {uint32 flag; float label; uint64 id, id2;}``, little-endian. With
flag 0 the label is the one in the header; with flag n > 0, n float32 labels follow it
(``mxnet.recordio.pack`` and ``ImageRecordIO`` in MXNet's ``src/io/image_recordio.h``).
"""

import struct
from collections.abc import Sequence

from training.algorithm.records import MAGIC_BYTES

_HEADER = struct.Struct("<IfQQ")
_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")


class BadHeaderError(ValueError):
    """A record does not start with im2rec's header."""


def pack_image(labels: Sequence[float], number: int, encoded: bytes) -> bytes:
    """Return the payload of an im2rec record.

    ``number`` is the record's id. One label goes into the header, several behind it.
    """
    if len(labels) == 1:
        return _HEADER.pack(0, labels[0], number, 0) + encoded
    packed = struct.pack(f"<{len(labels)}f", *labels)
    return _HEADER.pack(len(labels), 0.0, number, 0) + packed + encoded


def unpack_image(payload: bytes) -> tuple[tuple[float, ...], bytes]:
    """Return the labels and the encoded image of an im2rec record.

    :raises BadHeaderError: when there is no such header; the message says what stands there.
    """
    if is_encoded_image(payload):
        raise BadHeaderError("it is a bare image, without im2rec's header")
    if len(payload) < _HEADER.size:
        raise BadHeaderError(f"it has {len(payload)} bytes, im2rec's header {_HEADER.size}")
    count, label, _, _ = _HEADER.unpack_from(payload)
    start = _HEADER.size + 4 * count
    if start > len(payload):
        raise BadHeaderError(
            f"its header announces {count} labels, more than its {len(payload)} bytes can hold"
        )
    labels = struct.unpack_from(f"<{count}f", payload, _HEADER.size) if count else (label,)
    return labels, payload[start:]


def is_encoded_image(payload: bytes) -> bool:
    """Whether ``payload`` starts as PNG and JPEG files do."""
    return payload.startswith(_SIGNATURES)


def holds_image_record(payload: bytes) -> bool:
    """Whether ``payload`` is an image behind im2rec's header."""
    try:
        return is_encoded_image(unpack_image(payload)[1])
    except BadHeaderError:
        return False


def holds_record_file(payload: bytes) -> bool:
    """Whether ``payload`` is itself RecordIO: a file of records that was wrapped once more."""
    return payload.startswith(MAGIC_BYTES)
