"""The audit before a training: what the handler leaves for people, and when it refuses."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from html import escape
from html.parser import HTMLParser
from typing import Any

import pytest

from tests.functions.labelled import label, near, pixels_of
from tomodrop import objects
from tomodrop.clients import App
from tomodrop.halves import group_code
from tomodrop.predictions import NOTICE
from tomodrop.refused_sets import LAST_REFUSAL
from tomodrop.retraining import retrain

TIME = datetime(2026, 11, 22, 3, tzinfo=UTC)
JOB = "tomodrop-train-20261122T030000Z"


def label_enough(app: App, **processing: Any) -> None:
    for name in ("covid", "non_covid"):
        of_class = {key: value[name] for key, value in processing.items()}
        label(app, *(f"{name}/p{group}/{file}" for group in "123" for file in "ab"), **of_class)


def read(app: App, name: str) -> str:
    key = f"models/{JOB}/{name}"
    return objects.read(app.s3, app.settings.predictions_bucket, key).decode()


def audit(app: App) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(read(app, "audit.json"))
    return found


def jobs(app: App) -> list[str]:
    found = app.sagemaker.list_training_jobs()["TrainingJobSummaries"]
    return [job["TrainingJobName"] for job in found]


def test_what_is_in_the_set_is_told(stack: App) -> None:
    label_enough(stack)
    label(stack, "influenza/p1/a")
    for key in ("rejected-labelled/covid/p1/bad.png.json", "rejected/other.png.json"):
        objects.write(stack.s3, stack.settings.predictions_bucket, key, b"{}", "application/json")
    retrain(stack, TIME)
    found = audit(stack)
    codes = {name: group_code(name, "tomodrop") for name in ("p1", "p2", "p3")}
    largest = found.pop("largest_groups")
    assert {one["group"] for one in largest} == set(codes.values())
    assert all(one["slices"] == {"non_covid": 2, "covid": 2} for one in largest)
    assert [one["half"] for one in largest].count("validation") == 1
    shortcuts = found.pop("shortcuts")
    assert {one["fact"]: one["auc"] for one in shortcuts} == dict.fromkeys(
        ("alpha", "compression", "format", "mean", "spread"), 0.5
    )
    assert found == {
        "training_job": JOB,
        "decision": "training",
        "reason": "a training job was started on this set",
        "classes": ["non_covid", "covid"],
        "slices": {
            "train": {"non_covid": 4, "covid": 4},
            "validation": {"non_covid": 2, "covid": 2},
        },
        "groups": {"train": 2, "validation": 1},
        "left_out": {
            "slices": {
                "opposite_labels": {"exact": 0, "near": 0},
                "across_the_split": {"exact": 0, "near": 0},
            },
            "named": [],
            "all": f"models/{JOB}/left_out.jsonl",
        },
        "copies_within_groups": 0,
        "near_copies": {
            "compared": 12,
            "passes": 16,
            "window": 32,
            "max_distance": 24,
            "is_whole": True,
            "without_hash": 0,
        },
        "unusable": {
            "no_lung": {"uploads": 0, "slices": 0},
            "other_class": {"uploads": 1, "slices": 1},
            "rejected": {"uploads": 1, "slices": 0},
        },
        "warnings": [],
        "repeats": {"non_covid": 1.0, "covid": 1.0},
        "notice": NOTICE,
    }
    assert read(stack, "left_out.jsonl") == ""
    assert "rejected-labelled/ says why" in read(stack, "audit.html")


def held_out_group(app: App) -> str:
    (code,) = (one["group"] for one in audit(app)["largest_groups"] if one["half"] == "validation")
    return next(name for name in ("p1", "p2", "p3") if group_code(name, "tomodrop") == code)


def test_copies_are_left_out_and_named(stack: App) -> None:
    label_enough(stack)
    retrain(stack, TIME)
    held_out = held_out_group(stack)
    trained = next(name for name in ("p1", "p2", "p3") if name != held_out)
    label(stack, f"covid/{trained}/x", pixels=pixels_of("x"))
    label(stack, f"non_covid/{held_out}/x2", pixels=pixels_of("x2", near("x", 5)))
    label(stack, f"covid/{trained}/y", f"covid/{held_out}/y2", pixels=pixels_of("y"))
    later = "tomodrop-train-20261129T030000Z"
    assert retrain(stack, TIME.replace(day=29)) == later
    bucket, folder = stack.settings.predictions_bucket, f"models/{later}/"
    lines = objects.read(stack.s3, bucket, f"{folder}left_out.jsonl").decode().splitlines()
    named = {line["key"]: line for line in map(json.loads, lines)}
    x, x2 = f"labelled/covid/{trained}/x", f"labelled/non_covid/{held_out}/x2"
    y, y2 = f"labelled/covid/{trained}/y", f"labelled/covid/{held_out}/y2"
    assert named == {
        x: {
            "key": x,
            "slice": 0,
            "label": 1,
            "reason": "opposite_labels",
            "differing_bits": 5,
            "copy_of": {"key": x2, "slice": 0, "label": 0},
        },
        x2: {
            "key": x2,
            "slice": 0,
            "label": 0,
            "reason": "opposite_labels",
            "differing_bits": 5,
            "copy_of": {"key": x, "slice": 0, "label": 1},
        },
        y: {
            "key": y,
            "slice": 0,
            "label": 1,
            "reason": "across_the_split",
            "differing_bits": 0,
            "copy_of": {"key": y2, "slice": 0, "label": 1},
        },
    }
    found = json.loads(objects.read(stack.s3, bucket, f"{folder}audit.json"))
    assert {one["key"]: one for one in found["left_out"]["named"]} == named
    assert found["left_out"]["slices"] == {
        "opposite_labels": {"exact": 0, "near": 2},
        "across_the_split": {"exact": 1, "near": 0},
    }
    page = objects.read(stack.s3, bucket, f"{folder}audit.html").decode()
    assert all(key in page for key in named)
    work = stack.settings.work_bucket
    body = b"".join(
        objects.read(stack.s3, work, f"training/{later}/{name}.manifest")
        for name in ("train", "validation")
    )
    assert len(body.splitlines()) == 12 + 1


@pytest.mark.parametrize(
    ("fact", "values"),
    [
        ("format", {"format": {"covid": "PNG", "non_covid": "JPEG"}}),
        ("alpha", {"alpha": {"covid": "opaque", "non_covid": ""}}),
        ("compression", {"lossy": {"covid": True, "non_covid": False}}),
    ],
)
def test_a_shortcut_is_warned_of_and_trained_on_all_the_same(
    stack: App, caplog: pytest.LogCaptureFixture, fact: str, values: dict[str, Any]
) -> None:
    label_enough(stack, **values)
    assert retrain(stack, TIME) == JOB
    found = audit(stack)
    (warning,) = found["warnings"]
    assert warning.startswith(f"{fact} alone tells 'covid' from the rest on held-out groups")
    assert found["shortcuts"][0] == {
        "fact": fact,
        "class_name": "covid",
        "auc": 1.0,
        "balanced_accuracy": 1.0,
    }
    assert f"audit: {warning}" in caplog.messages
    assert jobs(stack) == [JOB]


FORMATS = {"format": {"covid": "PNG", "non_covid": "JPEG"}}


def test_a_shortcut_may_refuse_the_training(
    stack: App, change: Callable[..., App], caplog: pytest.LogCaptureFixture
) -> None:
    label_enough(stack, **FORMATS)
    strict = change(shortcut_action="refuse")
    assert retrain(strict, TIME) is None
    assert jobs(stack) == []
    assert objects.keys_under(stack.s3, stack.settings.work_bucket, "training/") == [LAST_REFUSAL]
    found = audit(stack)
    assert found["decision"] == "refused"
    assert found["reason"] == "the labelled set has shortcuts, and ShortcutAction is refuse"
    assert any(text.startswith(f"no training: {found['reason']}") for text in caplog.messages)
    assert found["reason"] in read(stack, "audit.html")


def test_below_the_threshold_nothing_is_refused(stack: App, change: Callable[..., App]) -> None:
    label_enough(stack)
    assert retrain(change(shortcut_action="refuse"), TIME) == JOB
    assert audit(stack)["warnings"] == []


def test_classes_are_balanced_in_training_only(stack: App, change: Callable[..., App]) -> None:
    label_enough(stack)
    label(stack, *(f"covid/{group}/more{file}" for group in ("p1", "p2", "p3") for file in "abcd"))
    assert retrain(change(balance_classes=True), TIME) == JOB
    found = audit(stack)
    assert found["slices"]["train"] == {"non_covid": 4, "covid": 12}
    assert found["repeats"] == {"non_covid": 3.0, "covid": 1.0}
    made = stack.sagemaker.describe_training_job(TrainingJobName=JOB)
    assert made["HyperParameters"]["num_training_samples"] == "24"
    work = stack.settings.work_bucket
    train, validation = (
        objects.read(stack.s3, work, f"training/{JOB}/{name}.manifest").splitlines()
        for name in ("train", "validation")
    )
    assert (len(train), len(validation)) == (24, 8)
    assert sum(b'"class": "0"' in line for line in train) == 12
    assert len(set(validation)) == 8
    assert "non_covid x 3" in read(stack, "audit.html")


def test_a_class_whose_training_slices_are_all_copies_of_held_out_ones_is_refused(
    stack: App, caplog: pytest.LogCaptureFixture
) -> None:
    label(stack, "covid/p1/a", "covid/p2/a", "covid/p3/a", pixels=pixels_of("same"))
    label(stack, "non_covid/p1/a", "non_covid/p2/a", "non_covid/p3/a")
    assert retrain(stack, TIME) is None
    assert jobs(stack) == []
    assert "no training: class 'covid' has no training slice that is not a copy" in caplog.text
    found = audit(stack)
    assert found["reason"].startswith("class 'covid' has no training slice that is not a copy")
    assert found["slices"]["train"] == {"non_covid": 2, "covid": 0}


# Sets that no training is started on


def test_a_set_that_cannot_be_halved_has_its_page(
    stack: App, caplog: pytest.LogCaptureFixture
) -> None:
    label(stack, "covid/p1/a", "covid/p2/a", "non_covid/p1/a", "influenza/p1/a")
    rejected = "rejected-labelled/non_covid/p2/a.json"
    objects.write(stack.s3, stack.settings.predictions_bucket, rejected, b"{}", "application/json")
    assert retrain(stack, TIME) is None
    reason = (
        "class 'non_covid' has 1 group(s) of labelled slices; at least two are needed, one to "
        "learn from and one to validate on: add labelled/non_covid/<group>/"
    )
    found, page = audit(stack), read(stack, "audit.html")
    assert (found["decision"], found["reason"]) == ("refused", reason)
    nothing = {"non_covid": 0, "covid": 0}
    undecided = {"non_covid": 1, "covid": 2}
    assert found["slices"] == {"train": nothing, "validation": nothing, "undecided": undecided}
    assert found["groups"] == {"train": 0, "validation": 0, "undecided": 2}
    assert found["unusable"] == {
        "no_lung": {"uploads": 0, "slices": 0},
        "other_class": {"uploads": 1, "slices": 1},
        "rejected": {"uploads": 1, "slices": 0},
    }
    assert found["shortcuts"] == found["warnings"] == []
    assert escape(reason) in page
    assert all(said in page for said in ("in neither half yet", "a half lacks a class"))
    assert f"no training: {reason}; see models/{JOB}/audit.html" in caplog.messages


def test_groups_keep_the_half_that_they_have_on_a_page_of_a_set_that_cannot_be_halved(
    stack: App, change: Callable[..., App]
) -> None:
    label_enough(stack)
    assert retrain(stack, TIME.replace(day=15)) is not None
    label(stack, "influenza/p1/a")
    assert retrain(change(class_names=("non_covid", "covid", "influenza")), TIME) is None
    assert audit(stack)["groups"] == {"train": 2, "validation": 1}


LATER, MUCH_LATER = TIME.replace(day=29), TIME.replace(day=30)


def audits(app: App) -> list[str]:
    """The days of the jobs that have an audit."""
    found = objects.keys_under(app.s3, app.settings.predictions_bucket, "models/")
    return [key[28:30] for key in found if key.endswith("audit.json")]


def test_a_set_that_is_refused_again_has_no_other_page(
    stack: App, change: Callable[..., App], caplog: pytest.LogCaptureFixture
) -> None:
    label_enough(stack, **FORMATS)
    strict = change(shortcut_action="refuse")
    assert retrain(strict, TIME) is None
    caplog.clear()
    assert retrain(strict, LATER) is None
    (message,) = caplog.messages
    assert message == (
        "no training: the labelled set has shortcuts, and ShortcutAction is refuse; nothing has "
        f"changed since models/{JOB}/audit.html"
    )
    assert audits(stack) == ["22"]
    assert retrain(stack, MUCH_LATER) is not None


def test_what_changes_in_a_refused_set_is_told(stack: App, change: Callable[..., App]) -> None:
    label(stack, "covid/p1/a", "non_covid/p1/a")
    changes: list[tuple[str, Callable[[], App]]] = [
        ("nothing", lambda: stack),
        ("an upload", lambda: add(stack, "covid/p1/b")),
        ("another in its place", lambda: add(stack, "covid/p1/b")),
        ("a rejection", lambda: reject(stack, "covid/p2/a.png")),
        ("the classes", lambda: change(class_names=("covid", "non_covid"))),
    ]
    days = []
    for day, (what, changed) in enumerate(changes, start=10):
        app = changed()
        for again in (day, day + 10):
            assert retrain(app, TIME.replace(day=again)) is None
        days.append(str(day))
        assert audits(stack) == days, what


def add(app: App, path: str) -> App:
    label(app, path)
    return app


def reject(app: App, path: str) -> App:
    key = f"rejected-labelled/{path}.json"
    objects.write(app.s3, app.settings.predictions_bucket, key, b"{}", "application/json")
    return app


def test_a_note_of_another_version_is_no_hindrance(stack: App) -> None:
    label(stack, "covid/p1/a")
    work = stack.settings.work_bucket
    objects.write(stack.s3, work, LAST_REFUSAL, b"{}", "application/json")
    assert retrain(stack, TIME) is None
    assert audits(stack) == ["22"]


class _Loads(HTMLParser):
    """Everything that a page would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {name for name, _ in attrs}
        if tag in ("script", "link", "iframe", "img") or names & {"src", "href", "onload"}:
            self.found.append(tag)


def test_the_page_stands_alone_and_escapes_what_it_names(stack: App) -> None:
    label_enough(stack)
    bad = "<script>alert(1)</script>&.png"
    label(stack, f"covid/p1/{bad}", f"non_covid/p1/{bad}", pixels=pixels_of("same"))
    retrain(stack, TIME)
    page = read(stack, "audit.html")
    loads = _Loads()
    loads.feed(page)
    assert loads.found == []
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;.png" in page
    assert NOTICE in page
    assert re.match("<!DOCTYPE html>", page)
    head = stack.s3.head_object(
        Bucket=stack.settings.predictions_bucket, Key=f"models/{JOB}/audit.html"
    )
    assert head["ContentType"] == "text/html; charset=utf-8"


def test_groups_are_told_by_code_alone(stack: App) -> None:
    for name in ("covid", "non_covid"):
        label(stack, *(f"{name}/Doe^Jane{number}/a" for number in range(4)))
    retrain(stack, TIME)
    assert "Doe" not in read(stack, "audit.json") + read(stack, "audit.html")
