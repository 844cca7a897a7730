"""The real handlers, one after the other, on moto: from an upload to its one JSON."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema_rs
import pytest

import collect
import dispatch
import intake
from tests.functions.builders import MODEL, go_live, png, s3_event, sqs_event, upload
from tests.functions.conftest import Context
from tomodrop import keys
from tomodrop.clients import App
from tomodrop.collecting import collect as collect_job
from tomodrop.dispatching import dispatch as dispatch_at
from tomodrop.events import JobEnded
from tomodrop.predictions import schema

LATER = timedelta(minutes=10)


def take_in(*records: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = intake.handler(s3_event(*records), Context())
    return answer


def jobs(stack: App) -> list[str]:
    found = stack.sagemaker.list_transform_jobs()["TransformJobSummaries"]
    return sorted(job["TransformJobName"] for job in found)


def answer(stack: App, job: str, answers: dict[str, bytes]) -> None:
    """Write outputs as a transform job does, by the upload key's slice."""
    name = keys.parse_job_name(job, "tomodrop")
    work = stack.settings.work_bucket
    manifest = json.loads(
        stack.s3.get_object(Bucket=work, Key=keys.job_manifest(name))["Body"].read()
    )
    for entry in manifest[1:]:
        body = answers.get(key_of_slice(stack, name.batch, entry))
        if body is not None:
            stack.s3.put_object(Bucket=work, Key=f"{keys.job_outputs(name)}{entry}.out", Body=body)


def key_of_slice(stack: App, batch: str, entry: str) -> str:
    work = stack.settings.work_bucket
    for item in stack.s3.list_objects_v2(Bucket=work, Prefix=keys.batch_index(batch))["Contents"]:
        for line in stack.s3.get_object(Bucket=work, Key=item["Key"])["Body"].read().splitlines():
            described = json.loads(line)
            if f"{described['slice_id']}.png" == entry:
                return str(described["source"]["key"])
    raise AssertionError(entry)


def stored(stack: App) -> dict[str, dict[str, Any]]:
    bucket = stack.settings.predictions_bucket
    found = stack.s3.list_objects_v2(Bucket=bucket).get("Contents", [])
    return {
        item["Key"]: json.loads(stack.s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read())
        for item in found
        if item["Key"].endswith(".json") and not item["Key"].startswith("reports/")
    }


def later() -> datetime:
    return datetime.now(UTC) + LATER


def test_an_upload_becomes_one_valid_prediction(stack: App) -> None:
    record = upload(stack, "incoming/a b/c+ü 肺.png", png())
    assert take_in(record) == {"batchItemFailures": []}
    go_live(stack)
    assert dispatch_at(stack, later()).jobs == 1
    (job,) = jobs(stack)
    answer(stack, job, {"incoming/a b/c+ü 肺.png": b'{"prediction": [0.25, 0.75]}\n\n'})
    collect.handler(transform_ended(job), Context())

    (key,) = stored(stack)
    document = stored(stack)[key]
    assert key == "predictions/a b/c+ü 肺.png.json"
    jsonschema_rs.validate(schema(), document)
    assert document["status"] == "predicted"
    assert document["prediction"] == {
        "label": "covid",
        "index": 1,
        "probability": 0.75,
        "probabilities": {"non_covid": 0.25, "covid": 0.75},
    }
    assert document["source"]["version_id"] == record["s3"]["object"]["versionId"]
    assert document["model"]["name"] == MODEL.model_name
    assert document["batch"].pop("expected")["instance_type"] == "ml.g4dn.xlarge"
    assert document["batch"] == {"id": job.split("-")[1], "job": job}
    assert "Research use only" in document["notice"]
    pictures = stack.s3.list_objects_v2(
        Bucket=stack.settings.predictions_bucket, Prefix="reports/"
    )["Contents"]
    assert [item["Key"].rsplit("/", 1)[1] for item in pictures] == [
        "contact-sheet.png",
        "statistics.json",
        "summary.json",
    ]


def transform_ended(job: str, status: str = "Completed") -> dict[str, Any]:
    return {
        "source": "aws.sagemaker",
        "detail-type": "SageMaker Transform Job State Change",
        "detail": {"TransformJobName": job, "TransformJobStatus": status},
    }


def test_a_broken_file_is_rejected_and_harms_no_neighbour(stack: App) -> None:
    good = upload(stack, "incoming/good.png", png())
    bad = upload(stack, "incoming/bad.png", png()[:60])
    assert take_in(bad, good) == {"batchItemFailures": []}
    rejection = stored(stack)["rejected/bad.png.json"]
    jsonschema_rs.validate(schema(), rejection)
    assert rejection["rejection"]["code"] == "damaged_image"
    go_live(stack)
    assert dispatch_at(stack, later()).jobs == 1


def test_a_repeated_event_changes_nothing(stack: App) -> None:
    record = upload(stack, "incoming/a.png", png())
    for _ in range(3):
        take_in(record)
    go_live(stack)
    dispatch_at(stack, later())
    (job,) = jobs(stack)
    manifest = stack.s3.get_object(
        Bucket=stack.settings.work_bucket,
        Key=keys.job_manifest(keys.parse_job_name(job, "tomodrop")),
    )["Body"].read()
    assert len(json.loads(manifest)) == 2
    assert dispatch_at(stack, later()).jobs == 0


def test_without_a_live_model_batches_wait(stack: App) -> None:
    take_in(upload(stack, "incoming/a.png", png()))
    assert dispatch_at(stack, later()).waiting == 1
    assert jobs(stack) == []
    go_live(stack)
    assert dispatch_at(stack, later()).jobs == 1


def test_an_open_window_is_left_alone(stack: App) -> None:
    take_in(upload(stack, "incoming/a.png", png()))
    go_live(stack)
    dispatch.handler({"scheduled_time": "2026-11-24T03:00:00Z"}, Context())
    assert jobs(stack) == []


def test_what_a_failed_job_answered_is_published_and_the_rest_tried_again(stack: App) -> None:
    take_in(upload(stack, "incoming/a.png", png()), upload(stack, "incoming/b.png", png(grey=9)))
    go_live(stack)
    dispatch_at(stack, later())
    (first,) = jobs(stack)
    answer(stack, first, {"incoming/a.png": b'{"prediction": [0.9, 0.1]}'})
    done = collect_job(stack, JobEnded(first, "Failed", "one object failed"))
    assert done is not None
    assert (done.predicted, done.rejected, done.retried) == (1, 0, 1)
    assert list(stored(stack)) == ["predictions/a.png.json"]

    dispatch_at(stack, later())
    second = jobs(stack)[1]
    assert second == first[:-1] + "2"
    collect_job(stack, JobEnded(second, "Failed", "again"))
    rejection = stored(stack)["rejected/b.png.json"]
    jsonschema_rs.validate(schema(), rejection)
    assert rejection["rejection"]["code"] == "no_answer"
    assert dispatch_at(stack, later()).waiting == 0


@pytest.mark.parametrize(
    "output",
    [b"", b'{"prediction": [0.5', b"<html>", b'{"prediction": [0.1, 0.2, 0.7]}', b"[NaN, 1]"],
)
def test_an_unreadable_output_is_never_a_prediction(stack: App, output: bytes) -> None:
    take_in(upload(stack, "incoming/a.png", png()))
    go_live(stack)
    dispatch_at(stack, later())
    (job,) = jobs(stack)
    answer(stack, job, {"incoming/a.png": output})
    done = collect_job(stack, JobEnded(job, "Completed", ""))
    assert done is not None
    assert (done.predicted, done.retried) == (0, 1)
    assert stored(stack) == {}


def test_a_second_end_event_is_ignored(stack: App) -> None:
    take_in(upload(stack, "incoming/a.png", png()))
    go_live(stack)
    dispatch_at(stack, later())
    (job,) = jobs(stack)
    answer(stack, job, {"incoming/a.png": b"[0.9, 0.1]"})
    assert collect_job(stack, JobEnded(job, "Completed", "")) is not None
    before = stored(stack)
    assert collect_job(stack, JobEnded(job, "Completed", "")) is None
    assert stored(stack) == before


def test_newest_version_wins_in_either_order(stack: App) -> None:
    old = upload(stack, "incoming/a.png", png(), sequencer="0060")
    new = upload(stack, "incoming/a.png", b"no picture", sequencer="00605F")
    take_in(new)
    assert list(stored(stack)) == ["rejected/a.png.json"]
    take_in(old)
    go_live(stack)
    dispatch_at(stack, later())
    (job,) = jobs(stack)
    answer(stack, job, {"incoming/a.png": b"[0.9, 0.1]"})
    collect_job(stack, JobEnded(job, "Completed", ""))
    (key,) = stored(stack)
    assert key == "rejected/a.png.json"
    assert stored(stack)[key]["source"]["sequencer"] == "00605F"


def test_a_message_that_cannot_be_read_comes_back_alone(stack: App) -> None:
    record = upload(stack, "incoming/a.png", png())
    event = sqs_event("not json", json.dumps({"Records": [record]}))
    assert intake.handler(event, Context()) == {
        "batchItemFailures": [{"itemIdentifier": "message-0"}]
    }
    go_live(stack)
    assert dispatch_at(stack, later()).jobs == 1


def test_a_deleted_upload_is_forgotten(stack: App) -> None:
    record = upload(stack, "incoming/a.png", png())
    stack.s3.delete_object(
        Bucket=stack.settings.uploads_bucket,
        Key="incoming/a.png",
        VersionId=record["s3"]["object"]["versionId"],
    )
    assert take_in(record) == {"batchItemFailures": []}
    assert stored(stack) == {}


def test_large_windows_become_several_jobs(stack: App, change: Callable[..., App]) -> None:
    take_in(*(upload(stack, f"incoming/{n}.png", png(grey=n)) for n in range(5)))
    go_live(stack)
    assert dispatch_at(change(max_slices_per_job=2), later()).jobs == 3
    assert [job.rsplit("-", 2)[1] for job in jobs(stack)] == ["0000", "0001", "0002"]
