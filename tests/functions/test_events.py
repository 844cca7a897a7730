"""What wakes the functions: AWS's own shapes, and what is refused."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.functions.builders import ENVIRONMENT, s3_record
from tomodrop.errors import EventError
from tomodrop.events import (
    UploadEvent,
    parse_s3_message,
    s3_message,
)

Load = Callable[[str], dict[str, Any]]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=4,
)
NOW = datetime(2026, 11, 24, 15, 39, tzinfo=UTC)


def message(**record: Any) -> str:
    return json.dumps({"Records": [s3_record("incoming/a.png", "v1", "0060") | record]})


def keys_of(event: dict[str, Any]) -> list[str]:
    return [u.key for record in event["Records"] for u in parse_s3_message(record["body"])]


# S3 through SQS


def test_an_upload_as_s3_announces_it(load_event: Load) -> None:
    (record,) = load_event("s3-put")["Records"]
    assert parse_s3_message(record["body"]) == [
        UploadEvent(
            bucket="tomodrop-uploads-123456789012",
            key="incoming/ward-3/slice-017.png",
            version_id="AOGYdDWo.Fn9l0OjZ0VbV1nM2Fq8GkqX",
            etag="9b2cf535f27731c974343645a3985328",
            sequencer="006924A1B3F0A4D9C2",
            size_bytes=48213,
        )
    ]


def test_odd_keys_are_decoded_as_s3_encodes_them(load_event: Load) -> None:
    assert keys_of(load_event("s3-put-odd-keys")) == [
        "incoming/red flower.png",
        "incoming/C++ and 50%.png",
        "incoming/患者 一/胸部CT.png",
        "incoming/Müller, Jörg (2).png",
        "labelled/covid/p 01/slice+1.png",
    ]


@pytest.mark.parametrize(
    ("encoded", "key"),
    [
        ("a+b", "a b"),
        ("a%2Bb", "a+b"),
        ("a%2Fb", "a/b"),
        ("a%252Fb", "a%2Fb"),
        ("%F0%9F%AB%81.png", "🫁.png"),
        ("%C3%BC", "ü"),
        ("..%2F..%2Fetc", "../../etc"),
        ("folder/", "folder/"),
    ],
)
def test_a_key_is_decoded_once(encoded: str, key: str) -> None:
    found = json.loads(message())
    found["Records"][0]["s3"]["object"]["key"] = encoded
    (upload,) = parse_s3_message(json.dumps(found))
    assert upload.key == key


def test_two_records_are_two_uploads(load_event: Load) -> None:
    (record,) = load_event("s3-two-records")["Records"]
    uploads = parse_s3_message(record["body"])
    assert [upload.key for upload in uploads] == [
        "incoming/ward-3/slice-017.png",
        "incoming/ward-3/volume.png",
    ]
    assert uploads[1].etag == "5d41402abc4b2a76b9719d911017c592-2"


def test_the_test_message_holds_no_upload(load_event: Load) -> None:
    assert keys_of(load_event("s3-test-event")) == []


def test_no_records_are_no_uploads() -> None:
    assert parse_s3_message('{"Records": []}') == []


@pytest.mark.parametrize("version", ["2.0", "2.1", "2.9", "2.10"])
def test_minor_versions_and_unknown_fields_are_accepted(version: str) -> None:
    (upload,) = parse_s3_message(message(eventVersion=version, glacierEventData={"new": 1}))
    assert upload.key == "incoming/a.png"


@pytest.mark.parametrize("version", ["3.0", "1.9", "20.1", "", None, 3, "two"])
def test_another_major_version_is_refused_loudly(version: object) -> None:
    with pytest.raises(EventError, match=r"is unknown \(this reads 2\.x\)"):
        parse_s3_message(message(eventVersion=version))


@pytest.mark.parametrize(
    "name", ["ObjectCreated:Put", "ObjectCreated:Copy", "s3:ObjectCreated:Post"]
)
def test_every_way_to_create_an_object_counts(name: str) -> None:
    assert len(parse_s3_message(message(eventName=name))) == 1


@pytest.mark.parametrize(
    "name", ["ObjectRemoved:Delete", "ObjectRestore:Completed", "ObjectCreated", ""]
)
def test_what_creates_nothing_is_passed_over(name: str) -> None:
    assert parse_s3_message(message(eventName=name)) == []


def test_without_versioning_there_is_neither_version_nor_order() -> None:
    (upload,) = parse_s3_message(json.dumps({"Records": [s3_record("incoming/a", None, None)]}))
    assert (upload.version_id, upload.sequencer) == ("", "")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no JSON",
        "[]",
        "null",
        "{}",
        '{"Records": null}',
        '{"Records": {}}',
        '{"Records": [1]}',
        '{"Records": [{}]}',
        '{"Records": [null]}',
        '{"Event": "s3:OtherEvent"}',
        "[" * 100_000,
        '{"Records": ' + "9" * 5000 + "}",
        message(eventName=None),
        message(eventName=["ObjectCreated:Put"]),
        message(s3={}),
        message(s3=None),
        message(s3={"bucket": {"name": "b"}, "object": {}}),
        message(s3={"bucket": {"name": "b"}, "object": {"key": ""}}),
        message(s3={"bucket": {"name": "b"}, "object": {"key": 7}}),
        message(s3={"bucket": {"name": "b"}, "object": {"key": None}}),
        message(s3={"bucket": {"name": ""}, "object": {"key": "k"}}),
        message(s3={"bucket": {}, "object": {"key": "k"}}),
        message(s3={"bucket": "b", "object": {"key": "k"}}),
        message(s3={"bucket": {"name": "b"}, "object": {"key": "k", "size": "many"}}),
        message(s3={"bucket": {"name": "b"}, "object": {"key": "k", "size": float("inf")}}),
        message(s3={"bucket": {"name": "b"}, "object": {"key": "k", "versionId": 5}}),
        message(s3={"bucket": {"name": "b"}, "object": {"key": "k", "sequencer": ["0"]}}),
    ],
)
def test_what_s3_never_sends_is_refused(body: str) -> None:
    with pytest.raises(EventError):
        parse_s3_message(body)


def test_one_garbled_record_refuses_its_message() -> None:
    records = [s3_record("incoming/a", "v", "1"), {"eventVersion": "2.1"}]
    with pytest.raises(EventError, match="lacks or garbles a field"):
        parse_s3_message(json.dumps({"Records": records}))


def test_a_refusal_does_not_quote_the_message() -> None:
    garbled = message(s3={"bucket": {"name": "b"}, "object": {"key": ["SECRET"]}})
    with pytest.raises(EventError) as refused:
        parse_s3_message(garbled)
    assert "SECRET" not in str(refused.value)


@given(JSON)
def test_whatever_the_message_it_is_read_or_refused(anything: Any) -> None:
    for body in (json.dumps(anything), json.dumps({"Records": [anything]}), str(anything)):
        try:
            parse_s3_message(body)
        except EventError:
            continue


@given(st.dictionaries(st.sampled_from(["eventName", "eventVersion", "s3"]), JSON))
def test_whatever_a_record_holds_it_is_read_or_refused(changes: dict[str, Any]) -> None:
    try:
        parse_s3_message(message(**changes))
    except EventError:
        return


KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60)


@given(KEYS, st.text("0123456789ABCDEF", max_size=20), st.integers(0, 10**12))
def test_what_sweep_sends_is_what_intake_reads(key: str, sequencer: str, size: int) -> None:
    sent = UploadEvent(ENVIRONMENT["UPLOADS_BUCKET"], key, "v1", "e", sequencer, size)
    body = s3_message(sent, event_name="ObjectCreated:Put", event_time=NOW)
    assert parse_s3_message(body) == [sent]


@pytest.mark.parametrize(
    "key",
    [
        "incoming/a b+c%2F.png",
        "incoming/患者/肺.png",
        "incoming/🫁.png",
        "labelled/covid/p~1/(x)*.png",
    ],
)
def test_a_sweeps_message_encodes_keys_as_s3_does(key: str) -> None:
    sent = UploadEvent("bucket", key, "", "e", "", 5)
    body = s3_message(sent, event_name="ObjectCreated:Put", event_time=NOW)
    (record,) = json.loads(body)["Records"]
    assert record["eventTime"] == "2026-11-24T15:39:00.000Z"
    assert record["s3"]["object"]["key"].isascii()
    assert " " not in record["s3"]["object"]["key"]
    assert set(record["s3"]["object"]) == {"key", "size", "eTag"}
    assert parse_s3_message(body) == [sent]
