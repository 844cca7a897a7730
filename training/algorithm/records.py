"""RecordIO framing, byte for byte as MXNet and dmlc-core write it.

A record is cut into frames. Each frame is a magic number, a word with a 3-bit flag and a 29-bit
length, and the payload padded with zeros to four bytes (all little-endian). The flag says whether
the frame is the whole record or its first, middle or last part: wherever the magic number stands
in the payload on a four-byte boundary, it is dropped, the record is cut there, and the reader puts
it back, so that a reader that lost its way can find the next record.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from training.algorithm.failure import NotRecordIOError, TruncatedRecordError

MAGIC = 0xCED7230A
MAGIC_BYTES = struct.pack("<I", MAGIC)
MAX_FRAME_BYTES = (1 << 29) - 1
MAX_RECORD_BYTES = 256 * 1024 * 1024
"""Longer records are refused: a corrupt length must not make the reader allocate gigabytes."""

_HEADER = struct.Struct("<II")
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_SHOWN_BYTES = 8


def write_record(payload: bytes) -> bytes:
    """Return ``payload`` as one RecordIO record.

    :raises ValueError: when a frame would not fit into the 29-bit length.
    """
    parts = _split_at_magic(payload)
    if max(map(len, parts)) > MAX_FRAME_BYTES:
        raise ValueError(f"a RecordIO frame holds at most {MAX_FRAME_BYTES} bytes")
    if len(parts) == 1:
        return _frame(_WHOLE, payload)
    middle = b"".join(_frame(_MIDDLE, part) for part in parts[1:-1])
    return _frame(_FIRST, parts[0]) + middle + _frame(_LAST, parts[-1])


def read_records(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the payload of each record until ``stream`` ends between two records.

    ``stream.read(n)`` must return n bytes unless the stream ends (a buffered reader does).

    :raises NotRecordIOError: when a record does not start with the magic number, its parts are
        out of order or its length is beyond reason.
    :raises TruncatedRecordError: when the stream ends inside a record.
    """
    number = 0
    while (payload := _read_record(stream, number)) is not None:
        yield payload
        number += 1


def _split_at_magic(payload: bytes) -> list[bytes]:
    parts: list[bytes] = []
    start, position = 0, payload.find(MAGIC_BYTES)
    while position != -1:
        if position % 4:
            position = payload.find(MAGIC_BYTES, position + 1)
            continue
        parts.append(payload[start:position])
        start = position + 4
        position = payload.find(MAGIC_BYTES, start)
    return [*parts, payload[start:]]


def _frame(flag: int, part: bytes) -> bytes:
    return _HEADER.pack(MAGIC, flag << 29 | len(part)) + part + bytes(-len(part) % 4)


def _read_record(stream: BinaryIO, number: int) -> bytes | None:
    frame = _read_frame(stream, number)
    if frame is None:
        return None
    flag, payload = frame
    if flag == _WHOLE:
        return payload
    if flag != _FIRST:
        raise NotRecordIOError(f"record {number} starts with a continuation (flag {flag})")
    parts = [payload]
    total = len(payload)
    while flag != _LAST:
        frame = _read_frame(stream, number)
        if frame is None:
            raise TruncatedRecordError(f"the stream ended between the parts of record {number}")
        flag, payload = frame
        if flag not in (_MIDDLE, _LAST):
            raise NotRecordIOError(f"a part of record {number} has flag {flag}, not 2 or 3")
        parts.append(payload)
        total += len(payload) + len(MAGIC_BYTES)
        _check_length(total, number)
    return MAGIC_BYTES.join(parts)


def _read_frame(stream: BinaryIO, number: int) -> tuple[int, bytes] | None:
    header = stream.read(_HEADER.size)
    if not header:
        return None
    if header[:4] != MAGIC_BYTES[: len(header)]:
        raise NotRecordIOError(
            f"record {number} starts with the bytes {header[:_SHOWN_BYTES].hex(' ')}, "
            f"not with RecordIO's {MAGIC_BYTES.hex(' ')}"
        )
    if len(header) < _HEADER.size:
        raise TruncatedRecordError(f"the stream ended in the header of record {number}")
    flag_and_length = _HEADER.unpack(header)[1]
    flag, length = flag_and_length >> 29, flag_and_length & MAX_FRAME_BYTES
    _check_length(length, number)
    padded = stream.read(length + -length % 4)
    if len(padded) < length + -length % 4:
        raise TruncatedRecordError(
            f"the stream ended after {len(padded)} of {length} bytes of record {number}"
        )
    return flag, padded[:length]


def _check_length(length: int, number: int) -> None:
    if length > MAX_RECORD_BYTES:
        raise NotRecordIOError(
            f"record {number} claims {length} bytes; more than {MAX_RECORD_BYTES} is no image"
        )
