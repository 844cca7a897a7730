"""Sweep: what events alone do not promise. Lost uploads, hung jobs, ends nobody heard of."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import intake
import sweep as step
from tests.functions.builders import (
    backdate,
    go_live,
    job_becomes,
    lines_of,
    png,
    prediction_of,
    put_answers,
    results,
    s3_event,
    source,
    sqs_event,
    upload,
)
from tests.functions.conftest import Context
from tests.functions.interference import refusing
from tomodrop import keys, objects
from tomodrop.batches import Batches
from tomodrop.clients import App
from tomodrop.decoding import sandbox
from tomodrop.dispatching import dispatch
from tomodrop.events import UploadEvent, parse_s3_message
from tomodrop.slices import read_lines, write_lines
from tomodrop.sweeping import Swept, metrics_of, sweep
from tomodrop.uploads import Intake

HOUR = timedelta(hours=1)
NOTHING = Swept()
# The promise is broken, whatever the reason.
WAITING = Swept(sent_again=0, uploads_overdue=1, oldest_minutes=180.0)


def put(stack: App, key: str, body: bytes = b"", age: timedelta = 3 * HOUR) -> dict[str, Any]:
    """An upload of some age; returns the record that S3 sent of it."""
    record = upload(stack, key, body or png())
    backdate(stack.settings.uploads_bucket, key, age)
    return record


def take_in(*records: dict[str, Any]) -> None:
    assert intake.handler(s3_event(*records), Context()) == {"batchItemFailures": []}


def now() -> datetime:
    return datetime.now(UTC)


def messages(stack: App) -> list[UploadEvent]:
    """What was sent to intake, taken from the queue (ten at most)."""
    queue = stack.settings.intake_queue_url
    answer = stack.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
    bodies = (message["Body"] for message in answer.get("Messages", []))
    return [sent for body in bodies for sent in parse_s3_message(body)]


# Uploads without a result


def test_an_upload_without_a_result_goes_round_again(stack: App) -> None:
    record = put(stack, "incoming/a b+肺%.png")
    done = sweep(stack, now())
    assert done == Swept(sent_again=1, uploads_overdue=1, oldest_minutes=180.0)
    (sent,) = messages(stack)
    head = stack.s3.head_object(Bucket=stack.settings.uploads_bucket, Key="incoming/a b+肺%.png")
    assert sent == UploadEvent(
        bucket=stack.settings.uploads_bucket,
        key="incoming/a b+肺%.png",
        version_id=record["s3"]["object"]["versionId"],
        etag=head["ETag"].strip('"'),
        sequencer="",
        size_bytes=len(png()),
    )


def test_what_is_not_overdue_is_left_alone(stack: App) -> None:
    put(stack, "incoming/young.png", age=timedelta(minutes=59))
    put(stack, "labelled/covid/p1/young.png", age=timedelta(minutes=59))
    assert sweep(stack, now()) == NOTHING
    assert messages(stack) == []


@pytest.mark.parametrize("body", [b"no picture", b""], ids=["unsupported", "empty"])
def test_a_rejected_upload_has_its_result(stack: App, body: bytes) -> None:
    record = upload(stack, "incoming/a.png", body)
    backdate(stack.settings.uploads_bucket, "incoming/a.png", 3 * HOUR)
    take_in(record)
    assert sweep(stack, now()) == NOTHING


def test_a_predicted_upload_has_its_result(stack: App) -> None:
    take_in(put(stack, "incoming/a.png"))
    go_live(stack)
    dispatch(stack, now() + HOUR)
    (part,) = Batches(stack.table).submitted()
    job = keys.parse_job_name(part.job, "tomodrop")
    body = objects.read(stack.s3, stack.settings.work_bucket, part.slices_key)
    put_answers(stack, job, list(read_lines(body)), b"[0.9, 0.1]")
    assert sweep(stack, now()) == Swept(jobs_collected=1)
    assert list(results(stack)) == ["predictions/a.png.json"]
    assert sweep(stack, now()) == NOTHING


def test_a_result_older_than_the_upload_is_none(stack: App) -> None:
    take_in(put(stack, "incoming/a.png", b"no picture", age=5 * HOUR))
    backdate(stack.settings.predictions_bucket, "rejected/a.png.json", 4 * HOUR)
    put(stack, "incoming/a.png")
    assert sweep(stack, now()).sent_again == 1


def test_what_waits_in_an_open_batch_is_not_sent_again(stack: App) -> None:
    take_in(put(stack, "incoming/a.png"))
    assert sweep(stack, now()) == WAITING


def test_a_newer_version_of_what_waits_is_sent(stack: App) -> None:
    take_in(put(stack, "incoming/a.png"))
    put(stack, "incoming/a.png", png(grey=7))
    assert sweep(stack, now()).sent_again == 1


def test_what_waits_for_a_model_is_not_sent_again(stack: App) -> None:
    take_in(put(stack, "incoming/a.png"))
    dispatch(stack, now() + HOUR)
    assert len(list(Batches(stack.table).ready())) == 1
    assert sweep(stack, now()) == WAITING


def test_what_a_job_works_on_is_not_sent_again(stack: App) -> None:
    take_in(put(stack, "incoming/a.png"))
    go_live(stack)
    dispatch(stack, now() + HOUR)
    (part,) = Batches(stack.table).submitted()
    job_becomes(part.job, transform_job_status="InProgress")
    assert sweep(stack, now()) == WAITING


def test_what_expired_while_it_waited_for_a_model_is_sent_again(stack: App) -> None:
    take_in(put(stack, "incoming/a.png"))
    dispatch(stack, now() + HOUR)
    (part,) = Batches(stack.table).ready()
    stack.s3.delete_object(Bucket=stack.settings.work_bucket, Key=part.slices_key)
    assert sweep(stack, now()).sent_again == 1


def test_slices_without_an_index_do_not_wait(stack: App) -> None:
    """An invocation that died after the slices, before the index: nobody knows of them."""
    record = put(stack, "incoming/a.png")
    (event,) = parse_s3_message(json.dumps({"Records": [record]}))
    assert Intake(stack, now(), sandbox()).take_in(event) == "taken_in"
    assert len(objects.keys_under(stack.s3, stack.settings.work_bucket, "batches/")) == 1
    assert sweep(stack, now()).sent_again == 1


def test_what_is_sent_again_gets_its_one_result(stack: App) -> None:
    put(stack, "incoming/a.png", b"no picture")
    put(stack, "incoming/b.png", b"no picture")
    sweep(stack, now())
    sweep(stack, now())  # twice: the queue may hold both
    queue = stack.settings.intake_queue_url
    found = stack.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    assert len(found) == 4
    event = sqs_event(*(message["Body"] for message in found))
    assert intake.handler(event, Context()) == {"batchItemFailures": []}
    assert list(results(stack)) == ["rejected/a.png.json", "rejected/b.png.json"]
    assert sweep(stack, now()) == NOTHING


def test_a_deleted_upload_is_forgotten(stack: App) -> None:
    put(stack, "incoming/a.png")
    stack.s3.delete_object(Bucket=stack.settings.uploads_bucket, Key="incoming/a.png")
    assert sweep(stack, now()) == NOTHING


def test_the_result_of_a_deleted_upload_stays(stack: App) -> None:
    take_in(put(stack, "incoming/a.png", b"no picture"))
    stack.s3.delete_object(Bucket=stack.settings.uploads_bucket, Key="incoming/a.png")
    assert sweep(stack, now()) == NOTHING
    assert list(results(stack)) == ["rejected/a.png.json"]


def test_a_result_that_came_after_its_successor_is_none_for_it(stack: App) -> None:
    """The first version was under way when the second was put, whose message was lost."""
    first = put(stack, "incoming/a.png", b"no picture", age=5 * HOUR)
    put(stack, "incoming/a.png", b"no picture either")
    take_in(first)
    assert sweep(stack, now()).sent_again == 1
    (sent,) = messages(stack)
    assert sent.version_id != first["s3"]["object"]["versionId"]


def test_a_result_of_the_same_second_is_looked_at(stack: App) -> None:
    for name, answered in (("old", False), ("new", True)):
        key = f"incoming/{name}.png"
        first = put(stack, key, b"no picture", age=timedelta(0))
        second = put(stack, key, b"no picture either", age=timedelta(0))
        take_in(second if answered else first)
    later = now() + 2 * HOUR
    assert sweep(stack, later).sent_again == 1
    assert [sent.key for sent in messages(stack)] == ["incoming/old.png"]


def test_what_cannot_be_looked_at_is_left_alone_and_harms_no_other(stack: App) -> None:
    for name in ("a", "b"):
        put(stack, f"incoming/{name}.png", b"no picture", age=5 * HOUR)
        take_in(put(stack, f"incoming/{name}.png", b"no picture"))
    put(stack, "incoming/lost.png")
    with refusing(stack.s3, "HeadObject", "403", status=403):
        done = sweep(stack, now())
    assert (done.faults, done.sent_again, done.uploads_overdue) == (2, 1, 1)
    assert [sent.key for sent in messages(stack)] == ["incoming/lost.png"]
    assert sweep(stack, now()).faults == 0


def test_a_prediction_and_a_rejection_do_not_stay_side_by_side(stack: App) -> None:
    take_in(put(stack, "incoming/a.png", b"no picture"))
    bucket, of = stack.settings.predictions_bucket, source("incoming/a.png", sequencer="0059")
    metadata = {
        "upload-version": of.version_id,
        "upload-sequencer": of.sequencer,
        "upload-modified": of.last_modified,
    }
    stack.s3.put_object(
        Bucket=bucket,
        Key="predictions/a.png.json",
        Body=prediction_of(of).to_json(),
        Metadata=metadata,
    )
    assert sweep(stack, now()).sent_again == 0
    assert list(results(stack)) == ["rejected/a.png.json"]


def test_what_waits_in_a_long_queue_is_not_sent_again(
    stack: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tomodrop.sending.LONGEST_QUEUE", 15)
    for number in range(12):
        put(stack, f"incoming/{number:02d}.png", b"x")
    assert sweep(stack, now()).sent_again == 12
    done = sweep(stack, now())
    assert (done.sent_again, done.uploads_overdue) == (3, 12)
    assert sweep(stack, now()).sent_again == 0


@pytest.mark.parametrize("key", ["incoming/", "incoming/a/", "labelled/covid/"])
def test_what_only_stands_for_a_folder_is_no_upload(stack: App, key: str) -> None:
    stack.s3.put_object(Bucket=stack.settings.uploads_bucket, Key=key, Body=b"")
    backdate(stack.settings.uploads_bucket, key, 3 * HOUR)
    assert sweep(stack, now()) == NOTHING


def test_objects_outside_the_two_folders_are_none_of_ours(stack: App) -> None:
    put(stack, "notes.txt")
    assert sweep(stack, now()) == NOTHING


def test_the_longest_keys_are_known_by_their_cut_names(stack: App) -> None:
    longest = "incoming/" + "a" * 1015, "labelled/covid/p1/" + "b" * 1006
    for key in longest:
        take_in(put(stack, key, b"no picture"))
    assert len(results(stack)) == 2
    assert sweep(stack, now()) == NOTHING


def test_every_page_of_uploads_is_compared(stack: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "3")
    for number in range(8):
        put(stack, f"incoming/{number}.png", b"x")
    take_in(put(stack, "incoming/9.png", b"no picture"))
    assert sweep(stack, now()).sent_again == 8


# Labelled uploads


def test_a_labelled_upload_that_was_taken_in_stays(stack: App) -> None:
    take_in(put(stack, "labelled/covid/p1/a.png"))
    assert sweep(stack, now()) == NOTHING


def test_a_labelled_upload_that_was_rejected_stays(stack: App) -> None:
    take_in(put(stack, "labelled/influenza/p1/a.png"), put(stack, "labelled/b.png"))
    assert sorted(results(stack)) == [
        "rejected-labelled/b.png.json",
        "rejected-labelled/influenza/p1/a.png.json",
    ]
    assert sweep(stack, now()) == NOTHING


def test_a_labelled_upload_that_was_never_heard_of_goes_round_again(stack: App) -> None:
    put(stack, "labelled/covid/p1/a.png")
    assert sweep(stack, now()).sent_again == 1
    assert [sent.key for sent in messages(stack)] == ["labelled/covid/p1/a.png"]


def test_a_labelled_upload_that_was_replaced_goes_round_again(stack: App) -> None:
    take_in(put(stack, "labelled/covid/p1/a.png"))
    put(stack, "labelled/covid/p1/a.png", png(grey=7))
    assert sweep(stack, now()).sent_again == 1


def test_a_labelled_upload_whose_pixels_were_made_anew_otherwise_goes_round_again(
    stack: App,
) -> None:
    """Taken in, then made by another normaliser: the later line says what the picture is."""
    record = put(stack, "labelled/covid/p1/a.png")
    take_in(record)
    work, version = stack.settings.work_bucket, record["s3"]["object"]["versionId"]
    (part,) = objects.keys_under(stack.s3, work, keys.DATASET_INDEX)
    backdate(work, part, HOUR)
    lines = lines_of(source("labelled/covid/p1/a.png", version_id=version), normaliser="0")
    later = f"{keys.DATASET_INDEX}later.jsonl"
    objects.write(stack.s3, work, later, write_lines(lines), "application/jsonl")
    assert sweep(stack, now()).sent_again == 1


def test_a_prediction_is_no_answer_to_a_labelled_upload(stack: App) -> None:
    put(stack, "labelled/covid/p1/a.png")
    bucket, key = stack.settings.predictions_bucket, "predictions/labelled/covid/p1/a.png.json"
    objects.write(stack.s3, bucket, key, b"{}", "application/json")
    assert sweep(stack, now()).sent_again == 1


@pytest.mark.parametrize("values", [{"normaliser": "0"}, {"image_shape": [3, 224, 224]}])
def test_labelled_uploads_go_round_again_when_their_pixels_would_be_others(
    stack: App, values: dict[str, Any]
) -> None:
    put(stack, "labelled/covid/p1/a.png")
    lines = lines_of(source("labelled/covid/p1/a.png"), **values)
    key, work = f"{keys.DATASET_INDEX}part.jsonl", stack.settings.work_bucket
    objects.write(stack.s3, work, key, write_lines(lines), "application/jsonl")
    assert sweep(stack, now()).sent_again == 1


# Time and memory


def clock(*left_s: float) -> Callable[[], float]:
    """What is left of an invocation, each time it is asked; nothing after the last."""
    times = iter(left_s)
    return lambda: next(times, 0.0)


def test_a_sweep_without_time_goes_on_where_it_was(
    stack: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tomodrop.overdue.CHUNK_ROWS", 2)
    paths = ["scan", "scan-1", "scan-2", "scan.b", "scan/c", "z"]
    for path in paths:
        put(stack, f"incoming/{path}", b"x", age=timedelta(hours=3 + len(path)))
    put(stack, "labelled/covid/p1/a.png")
    done: list[Swept] = []
    sent: list[str] = []
    while not done or done[-1].uploads_overdue is None:
        done.append(sweep(stack, now(), clock(900, 59)))
        sent += [one.key.removeprefix("incoming/") for one in messages(stack)]
    assert [one.sent_again for one in done] == [2, 2, 2, 1, 0]
    assert sorted(sent) == sorted([*paths, "labelled/covid/p1/a.png"])
    assert (done[-1].uploads_overdue, done[-1].oldest_minutes) == (7, 60.0 * 9)
    assert objects.keys_under(stack.s3, stack.settings.work_bucket, "sweep/") == []


def test_what_another_version_left_is_no_hindrance(stack: App) -> None:
    put(stack, "incoming/a.png")
    work = stack.settings.work_bucket
    objects.write(stack.s3, work, "sweep/uploads.json", b'{"place": 7}', "application/json")
    assert sweep(stack, now()).sent_again == 1


def test_half_a_count_is_not_told() -> None:
    whole = {name for name, _, _ in metrics_of(Swept())}
    half = {name for name, _, _ in metrics_of(Swept(uploads_overdue=None, oldest_minutes=None))}
    assert whole - half == {"UploadsOverdue", "OldestUploadMinutes"}


# The handler


def test_the_handler_counts_what_it_did(
    stack: App,
    load_event: Callable[[str], dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    put(stack, "incoming/a.png")
    assert step.handler(load_event("schedule-sweep"), Context()) == {
        "sent_again": 1,
        "jobs_stopped": 0,
        "jobs_collected": 0,
        "jobs_failed": 0,
        "trainings_decided": 0,
        "faults": 0,
        "uploads_overdue": 1,
        "oldest_minutes": 180.0,
    }
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["UploadsOverdue"], told["OldestUploadMinutes"]) == ([1.0], [180.0])
