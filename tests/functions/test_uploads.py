"""Intake: what an upload becomes, and what is left when the invocation does not come to its end."""

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

import intake
from tests.functions.builders import encoded, gradient, png, results, s3_event, upload
from tests.functions.conftest import Context
from tests.functions.interference import refusing
from tomodrop import keys, objects
from tomodrop.batches import Batches
from tomodrop.clients import App
from tomodrop.decoding import sandbox
from tomodrop.errors import UploadRejected, WindowClosedError
from tomodrop.events import UploadEvent
from tomodrop.settings import Settings
from tomodrop.slices import IndexLine, Label, read_lines
from tomodrop.uploads import Intake, label_of

NOW = datetime(2026, 11, 24, 15, 41, tzinfo=UTC)
BATCH = "20261124T154000Z"
LABELLED = "labelled/covid/p1/a.png"


def put(stack: App, key: str, body: bytes, sequencer: str = "0060") -> UploadEvent:
    answer = stack.s3.put_object(Bucket=stack.settings.uploads_bucket, Key=key, Body=body)
    etag = answer["ETag"].strip('"')
    bucket = stack.settings.uploads_bucket
    return UploadEvent(bucket, key, answer["VersionId"], etag, sequencer, len(body))


def take_in(stack: App, *uploads: UploadEvent) -> list[str]:
    """One invocation."""
    work = Intake(stack, NOW, sandbox())
    outcomes = [work.take_in(one) for one in uploads]
    work.write_index()
    return outcomes


def index(stack: App, folder: str = keys.batch_index(BATCH)) -> list[IndexLine]:
    work = stack.settings.work_bucket
    return [
        line
        for key in objects.keys_under(stack.s3, work, folder)
        for line in read_lines(objects.read(stack.s3, work, key))
    ]


def test_an_upload_becomes_a_slice_that_the_index_names(stack: App) -> None:
    body = encoded(gradient().convert("RGBA"))
    event = put(stack, "incoming/a b/肺.png", body)
    assert take_in(stack, event) == ["taken_in"]
    (line,) = index(stack)
    upload_id = keys.upload_id(event.key, event.version_id, event.etag)
    assert line.slice_id == f"{upload_id}-00000"
    assert (line.index, line.count, line.label, line.position_mm) == (0, 1, None, None)
    assert line.source.model_dump(exclude={"last_modified"}) == {
        "bucket": event.bucket,
        "key": "incoming/a b/肺.png",
        "version_id": event.version_id,
        "etag": event.etag,
        "sequencer": "0060",
        "size_bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    assert datetime.fromisoformat(line.source.last_modified).tzinfo is not None
    assert line.processing["mode"] == "RGBA"
    work = stack.settings.work_bucket
    slices = objects.keys_under(stack.s3, work, keys.batch_slices(BATCH))
    assert slices == [f"batches/{BATCH}/slices/{line.slice_id}.png"]
    assert objects.read(stack.s3, work, slices[0]).startswith(b"\x89PNG")
    assert list(Batches(stack.table).windows()) == [BATCH]


def test_a_labelled_upload_goes_to_the_data_set_and_opens_no_window(stack: App) -> None:
    assert take_in(stack, put(stack, LABELLED, png())) == ["taken_in"]
    (line,) = index(stack, keys.DATASET_INDEX)
    assert line.label == Label(name="covid", group="p1")
    work = stack.settings.work_bucket
    assert objects.keys_under(stack.s3, work, "dataset/slices/") == [
        f"dataset/slices/{line.slice_id}.png"
    ]
    assert list(Batches(stack.table).windows()) == []
    assert results(stack) == {}


def test_one_invocation_writes_one_part_however_many_uploads(stack: App) -> None:
    events = [put(stack, f"incoming/{n}.png", png(grey=n)) for n in range(4)]
    take_in(stack, *events, put(stack, LABELLED, png()))
    work = stack.settings.work_bucket
    assert len(objects.keys_under(stack.s3, work, keys.batch_index(BATCH))) == 1
    assert len(index(stack)) == 4
    assert len(index(stack, keys.DATASET_INDEX)) == 1


def test_a_repeat_writes_the_same_objects(stack: App) -> None:
    event = put(stack, "incoming/a.png", png())
    take_in(stack, event)
    work = stack.settings.work_bucket
    before = objects.keys_under(stack.s3, work, "")
    first = index(stack)
    take_in(stack, event)
    assert objects.keys_under(stack.s3, work, "") == before
    assert index(stack) == first


def test_nothing_to_do_writes_nothing(stack: App) -> None:
    assert Intake(stack, NOW, sandbox()).write_index() == 0
    assert objects.keys_under(stack.s3, stack.settings.work_bucket, "") == []
    assert list(Batches(stack.table).windows()) == []


def test_a_version_that_was_deleted_is_gone(stack: App) -> None:
    event = put(stack, "incoming/a.png", png())
    stack.s3.delete_object(Bucket=event.bucket, Key=event.key, VersionId=event.version_id)
    assert take_in(stack, event) == ["gone"]
    assert results(stack) == {}


def test_a_version_that_was_replaced_is_still_read(stack: App) -> None:
    first = put(stack, "incoming/a.png", png())
    put(stack, "incoming/a.png", b"something else")
    assert take_in(stack, first) == ["taken_in"]
    (line,) = index(stack)
    assert line.source.sha256 == hashlib.sha256(png()).hexdigest()


@pytest.mark.parametrize("version", ["", "null"])
def test_a_bucket_without_versioning_serves_as_well(stack: App, version: str) -> None:
    bucket = "plain-uploads-bucket"
    stack.s3.create_bucket(Bucket=bucket)
    stack.s3.put_object(Bucket=bucket, Key="incoming/a.png", Body=png())
    event = UploadEvent(bucket, "incoming/a.png", version, "", "", 0)
    assert take_in(stack, event) == ["taken_in"]
    (line,) = index(stack)
    assert line.source.etag == hashlib.md5(png()).hexdigest()
    assert line.slice_id.startswith(keys.upload_id("incoming/a.png", version, line.source.etag))


@pytest.mark.parametrize(
    ("key", "body", "code"),
    [
        ("incoming/a.png", b"", "empty_file"),
        ("incoming/a.png", b"no picture", "unsupported_format"),
        ("incoming/a.png", png()[:-50], "damaged_image"),
        ("incoming/a.png", png((20, 20)), "too_small"),
        ("labelled/covid/a.png", png(), "labelled_path"),
        ("labelled/influenza/p1/a.png", png(), "unknown_class"),
        ("labelled/covid/p1/a.png", b"no picture", "unsupported_format"),
    ],
)
def test_what_cannot_be_classified_is_rejected(
    stack: App, key: str, body: bytes, code: str
) -> None:
    event = put(stack, key, body)
    assert take_in(stack, event) == ["rejected"]
    (document,) = results(stack).values()
    assert list(results(stack)) == [keys.rejection_key(key)]
    assert document["rejection"]["code"] == code
    assert document["source"]["version_id"] == event.version_id
    assert document["source"]["sha256"] == hashlib.sha256(body).hexdigest()
    assert objects.keys_under(stack.s3, stack.settings.work_bucket, "") == []


@pytest.mark.parametrize("key", ["incoming/", "incoming/a/", "labelled/covid/"])
def test_what_only_stands_for_a_folder_is_ignored(stack: App, key: str) -> None:
    assert take_in(stack, put(stack, key, b"")) == ["ignored"]
    assert results(stack) == {}
    assert objects.keys_under(stack.s3, stack.settings.work_bucket, "") == []


def test_a_file_that_is_named_like_a_folder_is_an_upload(stack: App) -> None:
    assert take_in(stack, put(stack, "incoming/a/", b"no picture")) == ["rejected"]
    assert list(results(stack)) == ["rejected/a/.json"]


def test_what_is_too_large_is_not_read(stack: App, change: Callable[..., App]) -> None:
    small = change(max_upload_mb=1)
    event = put(stack, "incoming/a.png", bytes(1024 * 1024 + 1))
    fits = put(stack, "incoming/b.png", bytes(1024 * 1024))
    assert take_in(small, event, fits) == ["rejected", "rejected"]
    large, read = (results(stack)[f"rejected/{name}.png.json"] for name in "ab")
    assert large["rejection"]["code"] == "too_large"
    said = "The file has 1048577 bytes; at most 1 MiB are read."
    assert large["rejection"]["message"] == said
    assert "MaxUploadMb" in large["rejection"]["remedy"]
    assert (large["source"]["sha256"], large["source"]["size_bytes"]) == (None, 1048577)
    assert read["rejection"]["code"] == "unsupported_format"


def test_a_swept_upload_that_is_too_large_replaces_the_result_of_an_older_version(
    stack: App, change: Callable[..., App]
) -> None:
    take_in(stack, put(stack, "incoming/a.png", b"no picture", sequencer=""))
    event = put(stack, "incoming/a.png", bytes(2**20 + 1), sequencer="")
    bucket, key = stack.settings.predictions_bucket, "rejected/a.png.json"
    body = objects.read(stack.s3, bucket, key)
    stack.s3.put_object(
        Bucket=bucket,
        Key=key,
        Body=body,
        Metadata={"upload-version": "v0", "upload-modified": "2020-01-01T00:00:00+00:00"},
    )
    assert take_in(change(max_upload_mb=1), event) == ["rejected"]
    assert results(stack)[key]["rejection"]["code"] == "too_large"


def test_a_planned_window_takes_nothing_more(stack: App) -> None:
    batches = Batches(stack.table)
    batches.open_window(BATCH)
    batches.close_window(BATCH, 0)
    with pytest.raises(WindowClosedError, match=f"window {BATCH} is planned already"):
        take_in(stack, put(stack, "incoming/a.png", png()), put(stack, LABELLED, png()))
    assert index(stack) == index(stack, keys.DATASET_INDEX) == []


# Labels


@pytest.mark.parametrize(
    ("key", "label"),
    [
        ("incoming/covid/p1/a.png", None),
        ("incoming/labelled/covid/p1/a.png", None),
        ("labelled/covid/p1/a.png", Label(name="covid", group="p1")),
        ("labelled/non_covid/患者 1/deep/er/a.png", Label(name="non_covid", group="患者 1")),
    ],
)
def test_class_and_group_are_folders(settings: Settings, key: str, label: Label | None) -> None:
    assert label_of(key, settings) == label


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("labelled/", "labelled_path"),
        ("labelled/a.png", "labelled_path"),
        ("labelled/covid/", "labelled_path"),
        ("labelled/covid/a.png", "labelled_path"),
        ("labelled/covid/p1/", "labelled_path"),
        ("labelled/covid//a.png", "labelled_path"),
        ("labelled//p1/a.png", "labelled_path"),
        ("labelled/Covid/p1/a.png", "unknown_class"),
        ("labelled/covid /p1/a.png", "unknown_class"),
    ],
)
def test_other_paths_are_no_labels(settings: Settings, key: str, code: str) -> None:
    with pytest.raises(UploadRejected) as refused:
        label_of(key, settings)
    assert refused.value.code == code
    assert "covid" in str(refused.value) or "<class>" in str(refused.value)


# The handler


def handle(*records: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = intake.handler(s3_event(*records), Context())
    return answer


def test_the_sample_events_are_handled(
    stack: App, load_event: Callable[[str], dict[str, Any]]
) -> None:
    for name in ("s3-put", "s3-put-odd-keys", "s3-two-records", "s3-test-event"):
        # None of these objects is in the bucket (any more): there is nothing to answer.
        assert intake.handler(load_event(name), Context()) == {"batchItemFailures": []}
    assert results(stack) == {}


def test_a_service_that_fails_returns_its_message_alone(stack: App) -> None:
    records = [upload(stack, f"incoming/{n}.png", png(grey=n)) for n in range(3)]
    with refusing(stack.s3, "GetObject", "AccessDenied", status=403, times=1):
        answer = handle(*records)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-0"}]}
    assert results(stack) == {}
    assert handle(records[0]) == {"batchItemFailures": []}


def test_if_every_message_fails_every_message_returns(stack: App) -> None:
    records = [upload(stack, f"incoming/{n}.png", png(grey=n)) for n in range(2)]
    with refusing(stack.s3, "GetObject", "SlowDown", status=503):
        answer = handle(*records)
    assert [failure["itemIdentifier"] for failure in answer["batchItemFailures"]] == [
        "message-0",
        "message-1",
    ]


def test_one_record_that_fails_returns_its_message_and_keeps_the_other_once(stack: App) -> None:
    good, other = upload(stack, "incoming/a.png", b"x"), upload(stack, "incoming/b.png", b"y")
    garbled = {**other, "eventVersion": "3.0"}
    event = s3_event(good, good)
    event["Records"][0]["body"] = json.dumps({"Records": [good, garbled]})
    answer = intake.handler(event, Context())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-0"}]}
    assert list(results(stack)) == ["rejected/a.png.json"]
