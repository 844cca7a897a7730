import json
from pathlib import Path
from typing import Any

import pytest

from training.algorithm.image_records import (
    BadHeaderError,
    holds_image_record,
    holds_record_file,
    is_encoded_image,
    pack_image,
    unpack_image,
)
from training.algorithm.images import decode_image
from training.algorithm.records import read_records, write_record

GOLDEN = Path(__file__).with_name("golden")
ROWS: list[dict[str, Any]] = json.loads((GOLDEN / "images.json").read_text())
PNG = bytes.fromhex(ROWS[0]["image"])


def golden_payloads() -> list[bytes]:
    with (GOLDEN / "images.rec").open("rb") as stream:
        return list(read_records(stream))


def test_what_mxnet_packed_is_read() -> None:
    found = [unpack_image(payload) for payload in golden_payloads()]
    assert found == [(tuple(row["labels"]), bytes.fromhex(row["image"])) for row in ROWS]


def test_what_mxnet_packed_is_packed_byte_for_byte() -> None:
    payloads = golden_payloads()
    for row, payload in zip(ROWS, payloads, strict=True):
        if row["flag"] != 1:  # one label behind the header: read, but never written by us
            assert pack_image(row["labels"], row["id"], bytes.fromhex(row["image"])) == payload
    assert b"".join(map(write_record, payloads)) == (GOLDEN / "images.rec").read_bytes()


def test_images_of_pack_img_can_be_decoded() -> None:
    for payload in golden_payloads()[:4]:
        assert decode_image(unpack_image(payload)[1], (1, 8, 8)).shape == (8, 8, 1)


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (PNG, "bare image"),
        (b"\xff\xd8\xff\xe0 a JPEG", "bare image"),
        (b"", "0 bytes"),
        (b"1", "1 bytes"),
        (pack_image([1], 0, b"")[:-1], "23 bytes"),
        (b"\x02" + bytes(24), "2 labels"),
        (b"\xff" * 40, "4294967295 labels"),
    ],
)
def test_what_has_no_header_is_refused(payload: bytes, said: str) -> None:
    with pytest.raises(BadHeaderError, match=said):
        unpack_image(payload)


def test_the_kinds_of_payload_are_told_apart() -> None:
    packed = pack_image([1, 0, 1], 5, PNG)
    kinds = [PNG, packed, write_record(packed), b"1"]
    assert [is_encoded_image(kind) for kind in kinds] == [True, False, False, False]
    assert [holds_image_record(kind) for kind in kinds] == [False, True, False, False]
    assert [holds_record_file(kind) for kind in kinds] == [False, False, True, False]
