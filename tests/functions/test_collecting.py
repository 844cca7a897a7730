"""Collect: what a job answered is published, what it did not goes to the next attempt."""

import base64
import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jsonschema_rs
import pytest
from botocore.exceptions import ClientError
from PIL import Image

import collect as step
from tests.functions.builders import (
    CHOICE,
    JOB,
    MODEL,
    REPOSITORY,
    grey_map,
    lines_of,
    png,
    put_answers,
    results,
    source,
)
from tests.functions.conftest import Context
from tests.functions.interference import refusing
from tomodrop import collecting, keys, objects
from tomodrop.batches import Batches, Part
from tomodrop.clients import App
from tomodrop.collecting import Collected, collect
from tomodrop.errors import EventError
from tomodrop.events import JobEnded
from tomodrop.keys import JobName
from tomodrop.references import Expected
from tomodrop.slices import IndexLine, read_lines, write_lines

ENDED = JobEnded(str(JOB), "Completed", "")
FAILED = JobEnded(str(JOB), "Failed", "AlgorithmError: See job logs for more information")
SCHEMA = json.loads((REPOSITORY / "docs/prediction.schema.json").read_text())
RECORD = MODEL.model_dump(mode="json")


def submit(
    stack: App, *counts: int, job: JobName = JOB, expected: dict[str, Any] | None = None
) -> list[list[IndexLine]]:
    """A submitted part with uploads of so many slices, and the slices' pictures."""
    uploads = [lines_of(source(f"incoming/{n}.png"), count) for n, count in enumerate(counts)]
    lines = [line for slices in uploads for line in slices]
    key = keys.part_slices(job.batch, job.part, job.attempt)
    work = stack.settings.work_bucket
    objects.write(stack.s3, work, key, write_lines(lines), "application/jsonl")
    for line in lines:
        name = f"{keys.batch_slices(job.batch)}{line.slice_id}.png"
        objects.write(stack.s3, work, name, png((64, 64)), "image/png")
    part = Part(job.batch, job.part, "READY", job.attempt, key)
    Batches(stack.table).add_part(part)
    Batches(stack.table).submit(part, str(job), RECORD, expected)
    return uploads


def report(stack: App, job: JobName = JOB) -> dict[str, Any]:
    key = f"reports/{job.batch}/{job}/summary.json"
    read: dict[str, Any] = json.loads(
        objects.read(stack.s3, stack.settings.predictions_bucket, key)
    )
    return read


def state(stack: App) -> str:
    part = Batches(stack.table).part(JOB.batch, JOB.part)
    assert part is not None
    return part.state


def test_what_is_answered_is_published_and_the_part_is_done(stack: App) -> None:
    one, volume = submit(stack, 1, 3)
    put_answers(stack, JOB, one, b"[0.9, 0.1]")
    put_answers(stack, JOB, volume, b'{"prediction": [0.2, 0.8]}\n')
    assert collect(stack, ENDED) == Collected(predicted=2, rejected=0, retried=0)
    found = results(stack)
    assert {key: doc["prediction"]["label"] for key, doc in found.items()} == {
        "predictions/0.png.json": "non_covid",
        "predictions/1.png.json": "covid",
    }
    assert len(found["predictions/1.png.json"]["slices"]) == 3
    assert found["predictions/0.png.json"]["model"]["training_job"] == MODEL.training_job
    assert state(stack) == "DONE"
    assert report(stack)["predicted"] == {"covid": 1, "non_covid": 1}


def test_an_atypical_slice_is_answered_with_a_warning(stack: App) -> None:
    odd, usual = submit(stack, 1, 1)
    named = b'"classes": ["non_covid", "covid"], "model": "m"'
    body = b'{"prediction": [0.3, 0.7], "calibrated": [0.6, 0.4], %s, "typicality": %s}\n'
    put_answers(stack, JOB, odd, body % (named, b"0.049"))
    put_answers(stack, JOB, usual, body % (named, b"0.05"))
    assert collect(stack, ENDED) == Collected(predicted=2, rejected=0, retried=0)
    first, second = (results(stack)[f"predictions/{n}.png.json"] for n in (0, 1))
    assert first["prediction"] == {
        "label": "non_covid",
        "index": 0,
        "probability": 0.6,
        "probabilities": {"non_covid": 0.6, "covid": 0.4},
        "typicality": 0.049,
    }
    (warning,) = first["warnings"]
    assert warning.startswith("Atypical: only 4.9 % of held-out slices are less typical")
    assert (second["prediction"]["typicality"], second["warnings"]) == (0.05, [])
    assert report(stack)["atypical"] == 1


def test_maps_are_kept_beside_the_predictions_when_asked_for(stack: App) -> None:
    stack = replace(
        stack,
        settings=stack.settings.model_copy(
            update={"answer_detail": "verbose", "keep_class_maps": True}
        ),
    )
    one, volume, without = submit(stack, 1, 2, 1)
    greys = base64.b64encode(grey_map(0, 1, 2, 255))
    told = b'{"prediction": [0.3, 0.7], "map": "%s", "map_class": "covid", "map_range": [-1, 3.5]}'
    put_answers(stack, JOB, one, told % greys)
    put_answers(stack, JOB, volume, told % greys)
    put_answers(stack, JOB, without, b'{"prediction": [0.3, 0.7]}')
    assert collect(stack, ENDED) == Collected(predicted=3, rejected=0, retried=0)
    found = results(stack)
    bucket = stack.settings.predictions_bucket
    kept = [key for key in objects.keys_under(stack.s3, bucket, "") if key.endswith(".map.png")]
    assert kept == ["predictions/0.png.map.png", "predictions/1.png.map.png"]
    assert found["predictions/0.png.json"]["class_maps"] == {
        "key": "predictions/0.png.map.png",
        "width": 2,
        "height": 2,
        "maps": [{"index": 0, "label": "covid", "low": -1.0, "high": 3.5}],
    }
    assert len(found["predictions/1.png.json"]["class_maps"]["maps"]) == 2
    with Image.open(io.BytesIO(objects.read(stack.s3, bucket, kept[1]))) as picture:
        assert list(picture.tobytes()) == [0, 1, 2, 255] * 2
    assert "class_maps" not in found["predictions/2.png.json"]
    (warning,) = found["predictions/2.png.json"]["warnings"]
    assert "no class-activation map" in warning
    for document in found.values():
        jsonschema_rs.validate(SCHEMA, document)


def test_an_answer_of_other_classes_is_no_answer(stack: App) -> None:
    (one,) = submit(stack, 1)
    put_answers(stack, JOB, one, b'{"prediction": [0.3, 0.7], "classes": ["covid", "non_covid"]}')
    assert collect(stack, ENDED) == Collected(predicted=0, rejected=0, retried=1)


def test_a_job_that_failed_is_collected_all_the_same(stack: App) -> None:
    good, bad = submit(stack, 1, 1)
    put_answers(stack, JOB, good, b"[0.9, 0.1]")
    assert collect(stack, FAILED) == Collected(predicted=1, rejected=0, retried=1)
    assert list(results(stack)) == ["predictions/0.png.json"]
    (part,) = Batches(stack.table).ready()
    assert (part.attempt, part.slices_key) == (2, f"batches/{JOB.batch}/parts/0000/2.jsonl")
    body = objects.read(stack.s3, stack.settings.work_bucket, part.slices_key)
    assert list(read_lines(body)) == bad
    assert report(stack) == {
        "batch": JOB.batch,
        "job": str(JOB),
        "attempt": 1,
        "job_status": "Failed",
        "failure_reason": FAILED.failure_reason,
        "expected": None,
        "uploads": 2,
        "slices": 2,
        "predicted": {"non_covid": 1},
        "atypical": 0,
        "rejected": {},
        "left_for_next_attempt": 1,
        "notice": "Research use only. Not a medical device: do not use for diagnosis or treatment "
        "decisions.",
    }


def test_a_volume_that_lacks_one_slice_has_no_answer(stack: App) -> None:
    (volume,) = submit(stack, 3)
    put_answers(stack, JOB, volume[:2], b"[0.9, 0.1]")
    assert collect(stack, ENDED) == Collected(predicted=0, rejected=0, retried=1)
    assert results(stack) == {}


def test_after_the_last_attempt_what_has_no_answer_is_rejected(stack: App) -> None:
    last = JobName(JOB.prefix, JOB.batch, JOB.part, 2)
    good, _ = submit(stack, 1, 1, job=last)
    put_answers(stack, last, good, b"[0.9, 0.1]")
    ended = JobEnded(str(last), "Stopped", "")
    assert collect(stack, ended) == Collected(predicted=1, rejected=1, retried=0)
    rejection = results(stack)["rejected/1.png.json"]
    assert rejection["rejection"]["code"] == "no_answer"
    assert "2 attempts" in rejection["rejection"]["message"]
    assert rejection["batch"] == {"id": JOB.batch, "job": str(last)}
    assert state(stack) == "DONE"
    assert report(stack, last)["rejected"] == {"no_answer": 1}


def test_a_job_without_any_answer_leaves_no_picture(stack: App) -> None:
    submit(stack, 1)
    collect(stack, FAILED)
    bucket = stack.settings.predictions_bucket
    assert objects.keys_under(stack.s3, bucket, "reports/") == [
        f"reports/{JOB.batch}/{JOB}/summary.json"
    ]


def test_what_the_job_was_expected_to_take_is_told(stack: App) -> None:
    (one,) = submit(stack, 1, expected=Expected.of(CHOICE).model_dump(mode="json"))
    put_answers(stack, JOB, one, b"[0.9, 0.1]")
    collect(stack, ENDED)
    told = {"instance_type": "ml.g4dn.xlarge", "instance_count": 1, "minutes": 5.5, "usd": 0.0675}
    (document,) = results(stack).values()
    assert document["batch"] == {"id": JOB.batch, "job": str(JOB), "expected": told}
    assert report(stack)["expected"] == told


def test_a_part_of_many_chunks_ends_as_one(stack: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "CHUNK_SLICES", 3)
    uploads = submit(stack, 1, 2, 5, 1, 1, 3)
    unanswered = uploads[1] + uploads[4]
    for slices in uploads:
        if slices[0] not in unanswered:
            put_answers(stack, JOB, slices, b"[0.9, 0.1]")
    assert collect(stack, ENDED) == Collected(predicted=4, rejected=0, retried=2)
    assert sorted(results(stack)) == [f"predictions/{n}.png.json" for n in (0, 2, 3, 5)]
    (part,) = Batches(stack.table).ready()
    body = objects.read(stack.s3, stack.settings.work_bucket, part.slices_key)
    assert sorted(read_lines(body), key=str) == sorted(unanswered, key=str)
    told = report(stack)
    assert (told["uploads"], told["slices"], told["left_for_next_attempt"]) == (6, 13, 2)


def test_a_repeated_event_finds_nothing_that_waits(stack: App) -> None:
    (one,) = submit(stack, 1)
    put_answers(stack, JOB, one, b"[0.9, 0.1]")
    assert collect(stack, ENDED) is not None
    before = results(stack)
    assert collect(stack, ENDED) is None
    assert results(stack) == before


@pytest.mark.parametrize(
    "job",
    [
        JobName("tomodrop", JOB.batch, "0000", 2),  # not made yet
        JobName("tomodrop", JOB.batch, "0001", 1),  # no such part
        JobName("tomodrop", "20200101T000000Z", "0000", 1),  # no such batch
    ],
    ids=["attempt", "part", "batch"],
)
def test_a_job_that_nothing_waits_for_changes_nothing(stack: App, job: JobName) -> None:
    submit(stack, 1)
    assert collect(stack, JobEnded(str(job), "Completed", "")) is None
    assert state(stack) == "SUBMITTED"
    assert results(stack) == {}


@pytest.mark.parametrize("name", ["other-20261124T153900Z-0000-1", "tomodrop-train-1", ""])
def test_a_job_of_another_stack_is_refused(stack: App, name: str) -> None:
    with pytest.raises(EventError, match="is not a transform job of this stack"):
        collect(stack, JobEnded(name, "Completed", ""))


def test_a_result_that_cannot_be_stored_leaves_the_part_for_the_next_time(stack: App) -> None:
    uploads = submit(stack, 1, 1, 1)
    for slices in uploads:
        put_answers(stack, JOB, slices, b"[0.9, 0.1]")
    with (
        refusing(stack.s3, "PutObject", "AccessDenied", status=403, times=1),
        pytest.raises(ClientError, match="AccessDenied"),
    ):
        collect(stack, ENDED)
    assert state(stack) == "SUBMITTED"
    assert collect(stack, ENDED) == Collected(predicted=3, rejected=0, retried=0)
    assert len(results(stack)) == 3


def test_an_older_version_s_answer_does_not_replace_a_newer_result(stack: App) -> None:
    old = lines_of(source(version_id="v1", sequencer="0060"))
    new = lines_of(source(version_id="v2", sequencer="0061"))
    submit(stack)
    key = keys.part_slices(JOB.batch, JOB.part, 1)
    work = stack.settings.work_bucket
    objects.write(stack.s3, work, key, write_lines([*new, *old]), "application/jsonl")
    for line in (*old, *new):
        name = f"{keys.batch_slices(JOB.batch)}{line.slice_id}.png"
        objects.write(stack.s3, work, name, png(), "image/png")
    put_answers(stack, JOB, old, b"[0.9, 0.1]")
    put_answers(stack, JOB, new, b"[0.1, 0.9]")
    collect(stack, ENDED)
    (document,) = results(stack).values()
    assert document["source"]["version_id"] == "v2"
    assert document["prediction"]["label"] == "covid"


def test_the_handler_answers_with_counts(
    stack: App, load_event: Callable[[str], dict[str, Any]]
) -> None:
    event = load_event("transform-failed")
    job = keys.parse_job_name(event["detail"]["TransformJobName"], "tomodrop")
    (one,) = submit(stack, 1, job=job)
    put_answers(stack, job, one, b"[0.9, 0.1]")
    assert step.handler(event, Context()) == {"predicted": 1, "rejected": 0, "retried": 0}
    assert step.handler(event, Context()) is None
    assert report(stack, job)["failure_reason"] == event["detail"]["FailureReason"]
