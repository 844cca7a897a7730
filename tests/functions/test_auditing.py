"""The receipt: every upload version with its JSON, what is missing or doubled, the same digest."""

import hashlib
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import intake
import sweep as step
from tests.functions.builders import (
    MODEL,
    backdate,
    lines_of,
    png,
    prediction_of,
    rejection_of,
    s3_event,
    source,
    upload,
)
from tests.functions.conftest import Context
from tomodrop import auditing, keys, objects
from tomodrop.auditing import go_on_with_audit, take_receipt
from tomodrop.clients import App
from tomodrop.errors import EventError
from tomodrop.events import asks_for_audit
from tomodrop.listings import Stored, Upload, Version
from tomodrop.merge_join import Row
from tomodrop.predictions import Result
from tomodrop.publishing import publish
from tomodrop.receipt import digested, read_result
from tomodrop.receipt import lines_of as receipt_lines
from tomodrop.slices import Source, write_lines

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
Lines = dict[tuple[str, str], dict[str, Any]]


def audited(stack: App, now: datetime = NOW) -> tuple[dict[str, Any], Lines]:
    """A whole audit: its summary, and its lines by status and key."""
    summary = take_receipt(stack, now, lambda: 900.0)
    bucket = stack.settings.predictions_bucket
    stored = objects.read(stack.s3, bucket, f"reports/audit/{summary['audit']}.json")
    assert json.loads(stored) == summary
    lines = map(json.loads, receipt(stack, summary).splitlines())
    return summary, {(line["status"], line["key"]): line for line in lines}


def receipt(stack: App, summary: dict[str, Any]) -> bytes:
    return objects.read(stack.s3, stack.settings.predictions_bucket, summary["receipt"])


def put(stack: App, key: str, body: bytes = b"x") -> Source:
    """An upload; returns its version as results name it."""
    answer = stack.s3.put_object(Bucket=stack.settings.uploads_bucket, Key=key, Body=body)
    return source(key, version_id=answer["VersionId"], etag=answer["ETag"].strip('"'))


def answer(stack: App, of: Source, made: Callable[[Source], Result] = prediction_of) -> None:
    assert publish(stack.s3, stack.settings.predictions_bucket, of, made(of))


def write_result(stack: App, key: str, body: bytes) -> None:
    bucket = stack.settings.predictions_bucket
    objects.write(stack.s3, bucket, key, body, "application/json")


def test_every_upload_has_a_line_with_its_json_digest_and_model(stack: App) -> None:
    predicted, rejected = put(stack, "incoming/a/肺.png"), put(stack, "incoming/b")
    answer(stack, predicted)
    answer(stack, rejected, rejection_of)
    summary, lines = audited(stack)
    bucket, home = stack.settings.predictions_bucket, "predictions/a/肺.png.json"
    digest = hashlib.sha256(objects.read(stack.s3, bucket, home)).hexdigest()
    assert lines["answered", "incoming/a/肺.png"] == {
        "status": "answered",
        "key": "incoming/a/肺.png",
        "version_id": predicted.version_id,
        "etag": predicted.etag,
        "size_bytes": 1,
        "results": [
            {
                "json": home,
                "sha256": digest,
                "status": "predicted",
                "version_id": predicted.version_id,
                "name": MODEL.model_name,
                "training_job": MODEL.training_job,
            }
        ],
    }
    assert lines["answered", "incoming/b"]["results"][0]["json"] == "rejected/b.json"
    assert summary["complete"] is True
    assert summary["counts"] == {"answered": 2}
    assert summary["results"] == {"predicted": 1, "rejected": 1}
    assert summary["models"] == {MODEL.model_name: 1}
    assert summary["faults"] == []


def test_a_picture_beside_a_prediction_is_no_result(stack: App) -> None:
    answer(stack, put(stack, "incoming/a.png"))
    write_result(stack, keys.class_maps_key("incoming/a.png"), b"a picture")
    summary, lines = audited(stack)
    assert set(lines) == {("answered", "incoming/a.png")}
    assert summary["results"] == {"predicted": 1}


def test_an_empty_stack_is_complete(stack: App) -> None:
    summary, lines = audited(stack)
    assert (summary["complete"], summary["counts"], lines) == (True, {}, {})
    assert summary["digest"] == f"sha256:{hashlib.sha256(b'').hexdigest()}"


def test_the_digest_is_of_the_lines_that_stay(stack: App) -> None:
    for _ in range(2):
        of = put(stack, "incoming/a.png", png())
    answer(stack, of)
    summary, _ = audited(stack)
    body = receipt(stack, summary)
    passing = re.compile(rb'^\{"status":"(superseded|deleted)".*\n', re.MULTILINE)
    assert body.count(b"\n") == 2
    digest = hashlib.sha256(passing.sub(b"", body)).hexdigest()
    assert summary["digest"] == f"sha256:{digest}"


def test_an_upload_without_a_json_is_missing(stack: App) -> None:
    put(stack, "incoming/old.png")
    put(stack, "incoming/young.png")
    backdate(stack.settings.uploads_bucket, "incoming/old.png", timedelta(hours=2))
    summary, lines = audited(stack, datetime.now(UTC))
    assert set(lines) == {("missing", "incoming/old.png"), ("missing", "incoming/young.png")}
    assert lines["missing", "incoming/old.png"]["results"] == []
    assert summary["complete"] is False
    assert summary["missing_within_promise"] == 1
    assert summary["faults"] == [
        {"status": "missing", "key": "incoming/old.png"},
        {"status": "missing", "key": "incoming/young.png"},
    ]


def test_a_prediction_and_a_rejection_are_doubled(stack: App) -> None:
    of = put(stack, "incoming/a.png")
    write_result(stack, "predictions/a.png.json", prediction_of(of).to_json())
    write_result(stack, "rejected/a.png.json", rejection_of(of).to_json())
    summary, lines = audited(stack)
    [line] = lines.values()
    assert line["status"] == "doubled"
    assert [one["status"] for one in line["results"]] == ["predicted", "rejected"]
    assert summary["complete"] is False


def test_a_json_of_an_older_version_is_stale(stack: App) -> None:
    older, newer = put(stack, "incoming/a.png"), put(stack, "incoming/a.png", b"y")
    answer(stack, older)
    summary, lines = audited(stack)
    stale, superseded = lines["stale", "incoming/a.png"], lines["superseded", "incoming/a.png"]
    assert stale["version_id"] == newer.version_id
    assert stale["results"][0]["version_id"] == older.version_id
    assert superseded["version_id"] == older.version_id
    assert (summary["complete"], summary["counts"]) == (False, {"stale": 1, "superseded": 1})


def test_the_result_of_a_deleted_upload_is_no_fault(stack: App) -> None:
    of = put(stack, "incoming/a.png")
    answer(stack, of)
    before, _ = audited(stack)
    stack.s3.delete_object(Bucket=stack.settings.uploads_bucket, Key="incoming/a.png")
    summary, lines = audited(stack)
    assert set(lines) == {("upload_gone", "incoming/a.png"), ("deleted", "incoming/a.png")}
    assert summary["complete"] is True
    # The lifecycle forgets the version some day; the receipt stays the same.
    bucket = stack.settings.uploads_bucket
    stack.s3.delete_object(Bucket=bucket, Key="incoming/a.png", VersionId=of.version_id)
    later, lines = audited(stack)
    assert set(lines) == {("upload_gone", "incoming/a.png")}
    assert later["digest"] == summary["digest"] != before["digest"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"source": {"key": 7}, "status": "predicted"}', b"[" * 100_000],
)
def test_a_json_that_cannot_be_read_is_damaged(stack: App, body: bytes) -> None:
    put(stack, "incoming/a.png")
    write_result(stack, "predictions/a.png.json", body)
    summary, lines = audited(stack)
    assert set(lines) == {("damaged", "incoming/a.png")}
    digest = hashlib.sha256(body).hexdigest()
    shown = [{"json": "predictions/a.png.json", "sha256": digest}]
    assert lines["damaged", "incoming/a.png"]["results"] == shown
    assert summary["complete"] is False


@pytest.mark.parametrize("is_uploaded", [True, False])
def test_a_json_that_names_another_upload_is_damaged(stack: App, is_uploaded: bool) -> None:
    if is_uploaded:
        put(stack, "incoming/a.png")
    other = prediction_of(source("incoming/b.png")).to_json()
    write_result(stack, "predictions/a.png.json", other)
    assert audited(stack)[0]["counts"] == {"damaged": 1}


def test_a_json_that_was_changed_changes_the_digest(stack: App) -> None:
    of = put(stack, "incoming/a.png")
    answer(stack, of)
    before, _ = audited(stack)
    assert audited(stack, NOW + timedelta(days=200))[0]["digest"] == before["digest"]
    tampered = prediction_of(of, covid=0.1).to_json()
    write_result(stack, "predictions/a.png.json", tampered)
    after, _ = audited(stack)
    assert after["digest"] != before["digest"]
    assert after["complete"] is True


def test_a_version_that_was_superseded_may_be_forgotten(stack: App) -> None:
    first = put(stack, "incoming/a.png")
    answer(stack, put(stack, "incoming/a.png", b"y"))
    before, _ = audited(stack)
    bucket = stack.settings.uploads_bucket
    stack.s3.delete_object(Bucket=bucket, Key="incoming/a.png", VersionId=first.version_id)
    after, lines = audited(stack)
    assert set(lines) == {("answered", "incoming/a.png")}
    assert after["digest"] == before["digest"]


def test_labelled_uploads_are_in_the_data_set_or_rejected(stack: App) -> None:
    taken_in = upload(stack, "labelled/covid/p1/a.png", png())
    assert intake.handler(s3_event(taken_in), Context()) == {"batchItemFailures": []}
    rejected = upload(stack, "labelled/covid/p1/b.png", b"no picture")
    intake.handler(s3_event(rejected), Context())
    upload(stack, "labelled/covid/p1/c.png", png())
    summary, lines = audited(stack)
    assert set(lines) == {
        ("taken_in", "labelled/covid/p1/a.png"),
        ("answered", "labelled/covid/p1/b.png"),
        ("missing", "labelled/covid/p1/c.png"),
    }
    assert summary["results"] == {"rejected": 1}


def test_a_labelled_upload_whose_earlier_version_was_taken_in_is_missing(stack: App) -> None:
    of = put(stack, "labelled/covid/p1/a.png")
    key, work = f"{keys.DATASET_INDEX}part.jsonl", stack.settings.work_bucket
    objects.write(stack.s3, work, key, write_lines(lines_of(of)), "application/jsonl")
    assert audited(stack)[0]["counts"] == {"taken_in": 1}
    put(stack, "labelled/covid/p1/a.png", b"y")
    assert audited(stack)[0]["counts"] == {"missing": 1, "superseded": 1}


def test_what_only_stands_for_a_folder_is_no_upload(stack: App) -> None:
    put(stack, "incoming/a/", b"")
    put(stack, "labelled/covid/", b"")
    assert audited(stack)[0]["counts"] == {}


def test_uploads_of_an_unversioned_bucket_are_told_by_their_etag(stack: App) -> None:
    version = Version("null", "e", 1, NOW)
    row = Row("a.json", Upload("incoming/a", version), (Stored("predictions/a.json", "x", 1, NOW),))
    for etag, status in (("e", "answered"), ("other", "stale")):
        body = prediction_of(source("incoming/a", version_id="", etag=etag)).to_json()
        found = read_result("predictions/a.json", body)
        assert [line["status"] for line in receipt_lines(row, [found])] == [status]


def test_only_the_beginning_of_a_line_leaves_it_out_of_the_digest() -> None:
    kept = b'{"status":"answered","key":"{\\"status\\":\\"deleted\\""}\n'
    assert list(digested(b'{"status":"deleted","key":"a"}\n' + kept)) == [kept]


# Time and memory


def fill(stack: App) -> None:
    for name in ("scan", "scan-1", "scan-2", "scan.b", "scan/c", "z"):
        answer(stack, put(stack, f"incoming/{name}"), rejection_of)
    put(stack, "incoming/z2")
    answer(stack, put(stack, "labelled/covid/p/a"), rejection_of)


def test_an_audit_without_time_goes_on_and_ends_the_same(
    stack: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(stack)
    whole, _ = audited(stack)
    in_one = receipt(stack, whole)
    monkeypatch.setattr(auditing, "CHUNK_ROWS", 3)
    answers = [take_receipt(stack, NOW, lambda: 59.0) for _ in range(5)]
    goes_on = {"audit": whole["audit"], "goes_on": True}
    assert answers[:4] == [goes_on] * 4
    assert answers[4] | {"audited_at": ""} == whole | {"audited_at": ""}
    assert receipt(stack, answers[4]) == in_one
    assert objects.keys_under(stack.s3, stack.settings.work_bucket, "sweep/") == []


def test_a_receipt_of_many_pieces_is_one_file(stack: App, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(stack)
    whole, _ = audited(stack)
    monkeypatch.setattr(auditing, "CHUNK_ROWS", 1)
    monkeypatch.setattr(auditing, "PIECE_BYTES", 1)
    assert audited(stack)[0] == whole


def test_a_sweep_goes_on_with_an_audit(stack: App, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(stack)
    monkeypatch.setattr(auditing, "CHUNK_ROWS", 3)
    go_on_with_audit(stack, NOW, lambda: 900.0)
    folder, bucket = "reports/audit/", stack.settings.predictions_bucket
    assert objects.keys_under(stack.s3, bucket, folder) == []
    assert take_receipt(stack, NOW, lambda: 59.0)["goes_on"]
    go_on_with_audit(stack, NOW, lambda: 119.0)
    assert objects.keys_under(stack.s3, bucket, folder) == []
    go_on_with_audit(stack, NOW, lambda: 900.0)
    assert len(objects.keys_under(stack.s3, bucket, folder)) == 2


# The handler


def test_the_handler_audits_when_asked(
    stack: App, load_event: Callable[[str], dict[str, Any]]
) -> None:
    put(stack, "incoming/a.png")
    summary = step.handler(load_event("audit"), Context())
    assert summary["counts"] == {"missing": 1}
    assert json.loads(json.dumps(summary)) == summary


@pytest.mark.parametrize("asked", [False, None, "yes", 1, {}])
def test_an_audit_is_asked_for_by_true_alone(asked: Any) -> None:
    with pytest.raises(EventError, match="audit is"):
        asks_for_audit({"audit": asked})
