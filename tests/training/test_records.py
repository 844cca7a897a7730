import io
import json
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from training.algorithm.failure import NotRecordIOError, TruncatedRecordError
from training.algorithm.records import (
    MAGIC_BYTES,
    MAX_RECORD_BYTES,
    read_records,
    write_record,
)

M = MAGIC_BYTES
GOLDEN = Path(__file__).with_name("golden")
PAYLOADS = {
    name: bytes.fromhex(text)
    for name, text in json.loads((GOLDEN / "payloads.json").read_text()).items()
}


def read_all(encoded: bytes) -> list[bytes]:
    return list(read_records(io.BytesIO(encoded)))


def awkward_payloads() -> Iterator[bytes]:
    yield from (b"", b"1", b"1234", M, M + M, M + M + M, b"x" + M, b"AAAA" + M, M[:3], M + b"tail")
    chooser = random.Random(5)
    pieces = [M, b"\x0a", b"\x23\xd7\xce", b"....", b"z", M[:2], bytes(7)]
    for _ in range(400):
        yield b"".join(chooser.choices(pieces, k=chooser.randrange(12)))


def test_what_mxnet_wrote_is_read_and_written_byte_for_byte() -> None:
    encoded = (GOLDEN / "payloads.rec").read_bytes()
    assert dict(zip(PAYLOADS, read_all(encoded), strict=True)) == PAYLOADS
    assert b"".join(map(write_record, PAYLOADS.values())) == encoded


def test_the_golden_payloads_hold_every_kind_of_frame_and_padding() -> None:
    encoded = [write_record(payload) for payload in PAYLOADS.values()]
    words = {word for one in encoded for word in struct.unpack(f"<{len(one) // 4}I", one)}
    assert {word >> 29 for word in words if word & 0x1FFFFFFF < 64} >= {0, 1, 2, 3}
    assert {-len(payload) % 4 for payload in PAYLOADS.values()} == {0, 1, 2, 3}


def test_payloads_with_the_magic_number_use_first_middle_and_last_frames() -> None:
    encoded = write_record(b"AAAA" + M + b"BBBB" + M + b"C")
    flags = [struct.unpack_from("<I", encoded, at)[0] >> 29 for at in (4, 16, 28)]
    assert flags == [1, 2, 3]


def test_magic_off_a_four_byte_boundary_is_left_alone() -> None:
    payload = b"x" + M + b"yyy"
    assert write_record(payload) == M + struct.pack("<I", len(payload)) + payload


def test_every_payload_comes_back() -> None:
    payloads = list(awkward_payloads())
    assert read_all(b"".join(map(write_record, payloads))) == payloads


def test_every_record_is_padded_to_four_bytes() -> None:
    assert all(len(write_record(payload)) % 4 == 0 for payload in awkward_payloads())


def test_an_empty_stream_has_no_records() -> None:
    assert read_all(b"") == []


@pytest.mark.parametrize("kept", range(1, 24))
def test_a_stream_cut_anywhere_is_truncated(kept: int) -> None:
    encoded = write_record(b"AAAA" + M + b"BBB")
    with pytest.raises(TruncatedRecordError):
        read_all(encoded[:kept])


def test_records_before_the_cut_are_still_given() -> None:
    records = read_records(io.BytesIO(write_record(b"whole") + write_record(b"cut short")[:-2]))
    assert next(records) == b"whole"
    with pytest.raises(TruncatedRecordError, match="record 1"):
        next(records)


@pytest.mark.parametrize(
    ("encoded", "said"),
    [
        (b"\x89PNG\r\n\x1a\n", "89 50 4e 47"),
        (b"12", "starts with the bytes 31 32"),
        (write_record(b"ok") + b"junk", "record 1"),
        (M + struct.pack("<I", 2 << 29 | 4) + b"AAAA", "continuation"),
        (M + struct.pack("<I", 3 << 29 | 4) + b"AAAA", "continuation"),
        (M + struct.pack("<I", 7 << 29 | 4) + b"AAAA", "flag 7"),
        (M + struct.pack("<I", 1 << 29 | 4) + b"AAAA" + write_record(b"new"), "flag 0"),
        (M + struct.pack("<I", MAX_RECORD_BYTES + 1), "claims"),
    ],
)
def test_what_is_not_recordio_is_refused(encoded: bytes, said: str) -> None:
    with pytest.raises(NotRecordIOError, match=said):
        read_all(encoded)
