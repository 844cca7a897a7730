"""Retrain: one training per schedule, and only when there is something new to learn."""

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

import retrain as step
from tests.functions.builders import ENVIRONMENT, MODEL, job_becomes
from tests.functions.conftest import Context, create_resources
from tests.functions.interference import Crash, dies_before, losing_reply, refusing
from tests.functions.labelled import label, usable
from tests.functions.test_training_request import OUR_IMAGE, WHOLE
from tomodrop import objects
from tomodrop.clients import App
from tomodrop.halves import group_code, read_kept
from tomodrop.imaging.version import NORMALISER
from tomodrop.live_model import write_live_model
from tomodrop.retraining import retrain
from tomodrop.summaries import Summary, summary_of_training
from tomodrop.training_jobs import training_fingerprint

TIME = datetime(2026, 11, 22, 3, tzinfo=UTC)
JOB = "tomodrop-train-20261122T030000Z"
AUDIT = [f"models/{JOB}/{name}" for name in ("audit.html", "audit.json", "left_out.jsonl")]


def label_enough(stack: App) -> None:
    classes = ("covid", "non_covid")
    label(
        stack, *(f"{name}/p{group}/{file}" for name in classes for group in "123" for file in "ab")
    )


def create(stack: App, name: str) -> None:
    stack.sagemaker.create_training_job(**WHOLE | {"TrainingJobName": name})


def runs(name: str) -> None:
    job_becomes(name, training_job_status="InProgress")


def ends(name: str) -> None:
    job_becomes(name, training_job_status="Completed")


def jobs(stack: App) -> list[str]:
    found = stack.sagemaker.list_training_jobs()["TrainingJobSummaries"]
    return sorted(job["TrainingJobName"] for job in found)


def written(stack: App, name: str) -> bytes:
    return objects.read(stack.s3, stack.settings.work_bucket, f"training/{JOB}/{name}")


def test_a_labelled_set_becomes_a_training_job(stack: App) -> None:
    label_enough(stack)
    assert retrain(stack, TIME) == JOB
    made = stack.sagemaker.describe_training_job(TrainingJobName=JOB)
    assert made["AlgorithmSpecification"]["TrainingInputMode"] == "Pipe"
    train, validation = (
        [json.loads(line) for line in written(stack, f"{channel}.manifest").splitlines()]
        for channel in ("train", "validation")
    )
    assert made["HyperParameters"]["num_training_samples"] == str(len(train))
    assert len(train) + len(validation) == 12
    assert {line["class"] for line in train} == {line["class"] for line in validation} == {"0", "1"}
    assert all(set(line) == {"source-ref", "class"} for line in (*train, *validation))


def test_an_image_of_one_s_own_gets_the_group_of_each_slice(
    stack: App, change: Callable[..., App]
) -> None:
    label_enough(stack)
    ours = change(algorithm_image=OUR_IMAGE)
    assert retrain(ours, TIME) == JOB
    made = stack.sagemaker.describe_training_job(TrainingJobName=JOB)
    assert made["HyperParameters"]["group_records"] == "1"
    groups = {}
    for channel in ("train", "validation"):
        lines = [json.loads(line) for line in written(stack, f"{channel}.manifest").splitlines()]
        assert all(set(line) == {"source-ref", "class", "group"} for line in lines)
        groups[channel] = {line["group"] for line in lines}
    assert (len(groups["train"]), len(groups["validation"])) == (2, 1)
    assert groups["train"].isdisjoint(groups["validation"])


def test_a_training_is_on_record(stack: App) -> None:
    label_enough(stack)
    retrain(stack, TIME)
    lines = [f"{name} {label} {group}" for name, label, group in usable(stack)]
    digest = hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
    record = json.loads(written(stack, "job.json"))
    greys = record.pop("greys")
    assert record == {
        "training_job": JOB,
        "classes": ["non_covid", "covid"],
        "normaliser": NORMALISER,
        "image_shape": [3, 64, 64],
        "data_digest": digest,
        "fingerprint": training_fingerprint(stack.settings, digest, 8),
        "hyperparameters": {
            "num_layers": "152",
            "epochs": "50",
            "lr_scheduler_step": "10,20",
            "image_shape": "3,64,64",
            "num_classes": "2",
            "num_training_samples": "8",
        },
        "algorithm_image": ENVIRONMENT["ALGORITHM_IMAGE"],
        "slices": {
            "train": {"non_covid": 4, "covid": 4},
            "validation": {"non_covid": 2, "covid": 2},
        },
        "uploads": {"train": 8, "validation": 4},
        "groups": {"train": 2, "validation": 1},
        "repeats": {"non_covid": 1.0, "covid": 1.0},
    }
    assert {name: sum(counts) for name, counts in greys.items()} == dict.fromkeys(greys, 8)
    assert (greys["mean"][100], greys["spread"][50], greys["lit_share"][50]) == (8, 8, 8)


def test_what_comes_in_can_be_compared_with_what_is_on_record(stack: App) -> None:
    label_enough(stack)
    retrain(stack, TIME)
    learnt = summary_of_training(json.loads(written(stack, "job.json")))
    expected = Summary()
    for number in range(8):
        expected.count_upload(("covid", "non_covid")[number % 2])
        expected.count_numbers(100, 50, 0.5)
    assert learnt == expected


@pytest.mark.parametrize("image", [ENVIRONMENT["ALGORITHM_IMAGE"], OUR_IMAGE])
def test_the_held_out_slices_are_named_whatever_the_algorithm(
    stack: App, change: Callable[..., App], image: str
) -> None:
    label_enough(stack)
    retrain(change(algorithm_image=image), TIME)
    lines = [json.loads(line) for line in written(stack, "held_out.jsonl").splitlines()]
    (group,) = (group for group, half in read_kept(stack)[0].items() if half == "validation")
    expected = [
        {"slice_id": name, "label": label, "group": group_code(group, "tomodrop")}
        for name, label, of in usable(stack)
        if of == group
    ]
    assert lines == expected
    assert len(lines) == 4


def test_a_group_keeps_its_half_whatever_changes(stack: App, change: Callable[..., App]) -> None:
    label_enough(stack)
    retrain(stack, TIME)
    first, parts = read_kept(stack)
    assert parts == 1
    label(stack, *(f"covid/new{number}/a" for number in range(9)))
    changed = change(
        validation_share=0.5, split_key="another", class_names=("covid", "non_covid", "flu")
    )
    label(stack, "flu/p1/a", "flu/p2/a", "flu/p3/a")
    assert retrain(changed, TIME.replace(day=29)) is not None
    later, parts = read_kept(stack)
    assert parts == 2
    assert {group: later[group] for group in first} == first
    assert set(later) == {*first, *(f"new{number}" for number in range(9))}


def test_what_cannot_be_halved_is_said_and_nothing_is_kept(stack: App) -> None:
    label(stack, "covid/p1/a", "covid/p2/a", "non_covid/p1/a")
    assert retrain(stack, TIME) is None
    assert read_kept(stack) == ({}, 0)


@pytest.mark.parametrize(
    "paths",
    [
        (),
        ("covid/p1/a", "covid/p2/a"),
        ("covid/p1/a", "covid/p2/a", "non_covid/p1/a"),
        ("influenza/p1/a", "influenza/p2/a"),
    ],
    ids=["nothing", "one class", "one group", "another class"],
)
def test_what_cannot_be_trained_on_yet_starts_nothing(stack: App, paths: tuple[str, ...]) -> None:
    label(stack, *paths)
    assert retrain(stack, TIME) is None
    assert jobs(stack) == []
    work = stack.settings.work_bucket
    assert objects.keys_under(stack.s3, work, "training/") == ["training/last_refusal.json"]


def make_live(stack: App) -> None:
    record = json.loads(written(stack, "job.json"))
    write_live_model(stack, MODEL.model_copy(update={"fingerprint": record["fingerprint"]}))


def test_nothing_new_since_the_live_model_starts_nothing(stack: App) -> None:
    label_enough(stack)
    retrain(stack, TIME)
    make_live(stack)
    assert retrain(stack, TIME.replace(day=29)) is None
    assert jobs(stack) == [JOB]


def test_something_new_starts_a_training(stack: App, change: Callable[..., App]) -> None:
    label_enough(stack)
    retrain(stack, TIME)
    make_live(stack)
    label(stack, "covid/p9/new")
    assert retrain(stack, TIME.replace(day=29)) == "tomodrop-train-20261129T030000Z"
    other = change(extra_hyperparameters=(("epochs", "1"),))
    assert retrain(other, TIME.replace(day=30)) == "tomodrop-train-20261130T030000Z"


def test_while_one_runs_no_other_is_started(stack: App) -> None:
    label_enough(stack)
    retrain(stack, TIME)
    runs(JOB)
    label(stack, "covid/p9/new")
    assert retrain(stack, TIME.replace(day=29)) is None
    ends(JOB)
    assert retrain(stack, TIME.replace(day=29)) is not None


def test_what_the_last_training_learnt_is_not_learnt_again(
    stack: App, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "tomodrop")
    label_enough(stack)
    retrain(stack, TIME)
    assert retrain(stack, TIME.replace(day=29)) is None
    assert f"no training: nothing is new since training {JOB}" in caplog.messages
    assert objects.keys_under(stack.s3, stack.settings.predictions_bucket, "models/") == AUDIT


@pytest.mark.parametrize("status", ["Failed", "Stopped"])
def test_a_training_that_failed_is_tried_again(stack: App, status: str) -> None:
    label_enough(stack)
    retrain(stack, TIME)
    job_becomes(JOB, training_job_status=status)
    assert retrain(stack, TIME.replace(day=29)) is not None


def test_a_training_that_was_started_by_hand_is_not_the_last_one(stack: App) -> None:
    label_enough(stack)
    create(stack, "tomodrop-train-by-hand")  # moto lists in the order of making
    retrain(stack, TIME)
    assert retrain(stack, TIME.replace(day=29)) is None


def test_a_repeated_event_leaves_the_running_job_s_inputs_alone(stack: App) -> None:
    label_enough(stack)
    retrain(stack, TIME)
    before = {name: written(stack, name) for name in ("train.manifest", "job.json")}
    label(stack, "covid/p9/new")
    runs(JOB)
    assert retrain(stack, TIME) is None
    ends(JOB)
    assert retrain(stack, TIME) is None
    assert {name: written(stack, name) for name in before} == before
    assert jobs(stack) == [JOB]


def test_trainings_of_another_stack_are_not_in_the_way(stack: App) -> None:
    for name in ("my-tomodrop-train-20261122T030000Z", "tomodrop-trainer-1"):
        create(stack, name)
        runs(name)
    label_enough(stack)
    assert retrain(stack, TIME) == JOB


def test_a_job_whose_making_was_not_heard_of_counts(stack: App) -> None:
    label_enough(stack)
    with losing_reply(stack.sagemaker, "CreateTrainingJob"), pytest.raises(Crash):
        retrain(stack, TIME)
    assert retrain(stack, TIME) is None
    assert jobs(stack) == [JOB]


def left(app: App) -> dict[str, Any]:
    """What a training leaves, as far as it does not hold version ids."""
    work, predictions = app.settings.work_bucket, app.settings.predictions_bucket
    keys_of_inputs = objects.keys_under(app.s3, work, "training/")
    return {
        "jobs": jobs(app),
        "halves": read_kept(app),
        "audit": objects.keys_under(app.s3, predictions, ""),
        "inputs": {
            key: len(objects.read(app.s3, work, key).splitlines())
            for key in keys_of_inputs
            if not key.endswith("job.json")
        },
    }


def test_wherever_it_dies_another_try_ends_the_same(connected: App) -> None:
    ends = []
    for number in range(100):
        with mock_aws():
            create_resources(connected)
            label_enough(connected)
            has_died = dies_before(number, connected, lambda: retrain(connected, TIME))
            if has_died:
                assert retrain(connected, TIME) == JOB
            ends.append(left(connected))
        if not has_died:
            break
    assert len(ends) > 20
    assert all(end == ends[-1] for end in ends)
    assert ends[-1]["jobs"] == [JOB]


def test_wherever_it_dies_a_set_that_is_refused_has_its_audit(connected: App) -> None:
    for number in range(100):
        with mock_aws():
            create_resources(connected)
            label(connected, "covid/p1/a", "non_covid/p1/a")
            has_died = dies_before(number, connected, lambda: retrain(connected, TIME))
            assert retrain(connected, TIME) is None
            audited = objects.keys_under(connected.s3, connected.settings.predictions_bucket, "")
            assert audited == AUDIT, f"died before call {number}"
        if not has_died:
            break
    assert number > 8


def test_of_two_at_once_the_second_finds_the_name_in_use(stack: App) -> None:
    label_enough(stack)
    with refusing(stack.sagemaker, "CreateTrainingJob", "ResourceInUse") as refused:
        assert retrain(stack, TIME) == JOB
    assert len(refused) == 1


@pytest.mark.parametrize("code", ["ResourceLimitExceeded", "ValidationException"])
def test_a_refused_training_is_an_error(stack: App, code: str) -> None:
    label_enough(stack)
    with (
        refusing(stack.sagemaker, "CreateTrainingJob", code),
        pytest.raises(ClientError, match=code),
    ):
        retrain(stack, TIME)
    assert retrain(stack, TIME) == JOB


def test_the_handler_names_the_job(stack: App, load_event: Callable[[str], dict[str, Any]]) -> None:
    event = load_event("schedule-retrain")
    assert step.handler(event, Context()) == {"training_job": None}
    label_enough(stack)
    assert step.handler(event, Context()) == {"training_job": JOB}
