import json
import logging
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.training.builders import Job, as_stream, make_samples
from training.algorithm import log
from training.algorithm.artefact import load_model
from training.algorithm.hyperparameters import read_hyperparameters
from training.algorithm.job import run_job
from training.algorithm.settings import TrainSettings

TINY = {
    "num_classes": "2",
    "num_training_samples": "12",
    "num_layers": "18",
    "image_shape": "3,32,32",
    "mini_batch_size": "6",
    "learning_rate": "0.0001",
    "optimizer": "adamw",
}


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """The job takes the cores it is given; a second would only be waited for on a busy machine."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0})


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def lines() -> Iterator[list[str]]:
    handler = Lines()
    before = log.LOGGER.level
    log.LOGGER.addHandler(handler)
    log.LOGGER.setLevel(logging.INFO)
    yield handler.lines
    log.LOGGER.removeHandler(handler)
    log.LOGGER.setLevel(before)


def run(job: Job, *, passes: int, **given: str) -> list[dict[str, Any]]:
    """Run a job in this process on 12 and 6 samples per pass; return its epochs."""
    job.feed("train", *[as_stream(make_samples(12))] * passes)
    job.feed("validation", *[as_stream(make_samples(6, first_seed=90))] * passes)
    settings = TrainSettings(job.layout, (), None, None, None, pipe_timeout_s=30)
    run_job(read_hyperparameters({**TINY, **given}), settings, ("0", "1"), threading.Event())
    metrics = (job.layout.output_data / "metrics.jsonl").read_text()
    return [json.loads(line) for line in metrics.splitlines()]


def test_the_probe_is_epoch_0_and_its_views_are_passes_of_their_own(job: Job) -> None:
    views = {"probe": "1", "probe_views": "2", "augmentation": "ct"}
    epochs = run(job, passes=4, epochs="3", trainable_stages="1", **views)
    assert [(epoch["epoch"], epoch["phase"]) for epoch in epochs] == [
        (0, "probe"),
        (1, "fit"),
        (2, "fit"),
    ]
    assert [epoch["train"]["samples"] for epoch in epochs] == [24, 12, 12]
    assert job.fed["train"] >= 3  # two views, two epochs: the fourth FIFO is being closed


def test_a_probe_separates_classes_that_frozen_features_separate(job: Job) -> None:
    (epoch,) = run(job, passes=1, epochs="1", probe="1")
    assert epoch["validation"]["accuracy"] == 1.0
    assert epoch["validation"]["auc"] == 1.0
    assert load_model(job.layout.model)[0].metrics == epoch


def test_with_the_head_alone_nothing_is_left_after_the_probe(job: Job, lines: list[str]) -> None:
    epochs = run(job, passes=1, epochs="5", probe="1", trainable_stages="0")
    assert len(epochs) == 1
    assert any("remaining 4 of 5 epochs are left out" in line for line in lines)


def test_the_head_alone_can_learn_by_steps_as_well(job: Job) -> None:
    epochs = run(job, passes=2, epochs="2", trainable_stages="0", learning_rate="0.005")
    assert epochs[1]["train"]["loss"] < epochs[0]["train"]["loss"]


@pytest.mark.parametrize("size", ["11", "1"])
def test_a_batch_of_one_is_no_problem(job: Job, size: str) -> None:
    (epoch,) = run(job, passes=1, epochs="1", mini_batch_size=size)
    assert epoch["train"]["samples"] == 12


def test_early_stopping_ends_the_job(job: Job, lines: list[str]) -> None:
    rules = {"early_stopping": "True", "early_stopping_min_epochs": "1"}
    rules |= {"early_stopping_patience": "1", "early_stopping_tolerance": "1"}
    epochs = run(job, passes=3, epochs="9", learning_rate="0", **rules)
    assert len(epochs) == 2
    assert "Early stopping after Epoch[1]" in lines


def test_a_wrong_number_of_samples_is_said(job: Job, lines: list[str]) -> None:
    run(job, passes=1, epochs="1", num_training_samples="99")
    assert any("num_training_samples=99, but" in line for line in lines)


def test_progress_says_how_far_an_epoch_is(
    job: Job, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "PROGRESS_EVERY_S", 0.0)
    run(job, passes=1, epochs="1")
    of_train = [line for line in lines if line.startswith("Epoch[0] Batch [2] of [2]\tSpeed: ")]
    assert len(of_train) == 1
    assert " samples/sec\tTrain-accuracy=" in of_train[0]
    assert any(line.startswith("Epoch[0] Validation Batch [1]\tSpeed: ") for line in lines)


def test_a_seed_replays_a_job(job: Job) -> None:
    def outcome() -> list[Any]:
        for fifo in job.layout.fifo("train", 0).parent.iterdir():
            fifo.unlink()
        job.fed.clear()
        epochs = run(job, passes=1, epochs="1", augmentation="ct", seed="4")
        return [epoch[part]["loss"] for epoch in epochs for part in ("train", "validation")]

    assert outcome() == pytest.approx(outcome(), rel=1e-4)
