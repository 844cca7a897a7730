import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.training.builders import (
    Job,
    as_grouped_stream,
    as_stream,
    make_samples,
    make_slice,
)
from training.algorithm import log
from training.algorithm.artefact import ModelDescription, load_model
from training.algorithm.failure import BadSampleError
from training.algorithm.hyperparameters import read_hyperparameters
from training.algorithm.images import decode_image
from training.algorithm.inference import Predictor
from training.algorithm.job import run_job
from training.algorithm.settings import TrainSettings

TINY = {
    "num_classes": "2",
    "num_training_samples": "12",
    "serving_precision": "none",
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


def run(job: Job, *, passes: int, **given: Any) -> list[dict[str, Any]]:
    """Run a job in this process on 12 and 6 samples per pass; return its epochs."""
    job.feed("train", *[as_stream(make_samples(12))] * passes)
    job.feed("validation", *[as_stream(make_samples(6, first_seed=90))] * passes)
    settings = TrainSettings(job.layout, (), None, None, None, pipe_timeout_s=30)
    run_job(read_hyperparameters({**TINY, **given}), settings, ("0", "1"), threading.Event())
    metrics = (job.layout.output_data / "metrics.jsonl").read_text()
    return [json.loads(line) for line in metrics.splitlines()]


def test_the_probe_is_epoch_0_and_its_views_are_passes_of_their_own(job: Job) -> None:
    views: dict[str, Any] = {"probe": "1", "probe_views": "2", "augmentation": "ct"}
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
    assert load_model(job.layout.model)[0].metrics.items() >= epoch.items()


GROUPED: dict[str, str] = {"group_records": "1", "epochs": "1", "probe": "1"}


def run_grouped(job: Job, **given: str) -> tuple[dict[str, Any], ModelDescription]:
    """As :func:`run`, with groups in the records; return the last epoch and the description."""
    for channel, count in (("train", 12), ("validation", 9)):
        samples = make_samples(count, first_seed=0 if channel == "train" else 90)
        grouped = [(*sample, f"patient {n % 4}") for n, sample in enumerate(samples)]
        job.feed(channel, *[as_grouped_stream(grouped)] * 2)
    settings = TrainSettings(job.layout, (), None, None, None, pipe_timeout_s=30)
    chosen = read_hyperparameters({**TINY, **GROUPED, **given})
    run_job(chosen, settings, ("healthy", "ill"), threading.Event())
    metrics = (job.layout.output_data / "metrics.jsonl").read_text()
    return json.loads(metrics.splitlines()[-1]), load_model(job.layout.model)[0]


@pytest.mark.parametrize("probe", ["0", "1"])
def test_the_shipped_epoch_is_judged_by_group_on_all_samples(
    job: Job, lines: list[str], probe: str
) -> None:
    epoch, description = run_grouped(job, probe=probe)
    shipped = description.metrics["shipped"]
    assert {name: shipped[name] for name in ("epoch", "samples", "unit", "units")} == {
        "epoch": 0,
        "samples": 9,
        "unit": "group",
        "units": 4,
    }
    assert shipped["positive"] == "ill"
    assert shipped["auc"]["value"] == pytest.approx(epoch["validation"]["auc"])
    found = shipped["uncalibrated"]["accuracy"]
    assert found["value"] == pytest.approx(epoch["validation"]["accuracy"])
    assert found["low"] <= found["value"] <= found["high"]
    calibration = description.calibration
    assert calibration is not None
    assert (calibration["fitted_on"], len(calibration["bias"])) == (9, 2)
    assert calibration["temperature"] > 0
    assert lines[-1].startswith("Shipped epoch=0 shipped-auc=")
    assert f"shipped-accuracy={shipped['accuracy']['value']:.6f} " in lines[-1]
    assert "95% interval by group (4)" in lines[-2]
    assert "patient" not in json.dumps(description.metrics) + "".join(lines)


def test_what_is_judged_is_the_best_epoch_and_not_the_last(job: Job) -> None:
    """The step of the second epoch is so long that nothing is right but by chance."""
    epochs = run(job, passes=2, epochs="2", probe="1", learning_rate="1", optimizer="sgd")
    accuracies = [epoch["validation"]["accuracy"] for epoch in epochs]
    assert accuracies[0] == 1 > accuracies[1]
    shipped = load_model(job.layout.model)[0].metrics["shipped"]
    assert shipped["epoch"] == 0
    assert shipped["uncalibrated"]["accuracy"]["value"] == 1


def test_pictures_of_what_is_shipped_go_to_the_output(job: Job) -> None:
    run_grouped(job)
    output = job.layout.output_data
    pictures = sorted(path.name for path in output.glob("*.png"))
    assert pictures == ["accuracy.png", "confusion.png", "reliability.png", "roc.png"]
    for name in pictures:
        with Image.open(output / name) as picture:
            assert picture.format == "PNG"
    assert (output / "model.json").read_bytes() == (job.layout.model / "model.json").read_bytes()


def test_a_head_over_three_stages_is_fitted_learnt_and_served(job: Job) -> None:
    probe, tuned = run(job, passes=2, epochs="2", probe="1", head_stages="3", trainable_stages="1")
    assert probe["validation"]["accuracy"] == tuned["validation"]["accuracy"] == 1.0
    description, state = load_model(job.layout.model)
    assert state["fc.weight"].shape == (2, 128 + 256 + 512)
    assert description.head_stages == 3
    predictor = Predictor.load(job.layout.model)
    predictor.check()


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
    rules: dict[str, Any] = {"early_stopping": "True", "early_stopping_min_epochs": "1"}
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


SMALL: dict[str, Any] = {"num_layers": "20", "image_shape": "1,28,28"}


def test_every_nth_epoch_is_kept_beside_the_best(job: Job) -> None:
    epochs = run(job, passes=5, epochs="5", checkpoint_frequency="2", **SMALL)
    kept = sorted(path.name for path in job.layout.model.iterdir() if path.is_dir())
    assert kept == ["epoch-2", "epoch-4"]
    for name in kept:
        description, _ = load_model(job.layout.model / name)
        assert description.metrics == epochs[int(name[-1]) - 1]


def test_a_network_for_small_images_learns_with_everything_on(job: Job) -> None:
    given: dict[str, Any] = {
        "augmentation_type": "crop_color_transform",
        "resize": "30",
        "mixup": "0.2",
    }
    given |= {"ema": "0.9", "bf16": "1", "lr_schedule": "cosine", "warmup_epochs": "0.5"}
    given |= {"class_weighting": "balanced", "stage_rate_factor": "0.5", "optimizer": "sgd"}
    epochs = run(job, passes=3, epochs="2", **SMALL, **given)
    assert [epoch["train"]["samples"] for epoch in epochs] == [12, 12]
    description, _ = load_model(job.layout.model)
    assert (description.num_layers, description.architecture) == (20, "resnet-2d-small-images")
    answer = Predictor.load(job.layout.model).predict(np.zeros((28, 28, 1), np.uint8))
    assert sum(answer) == pytest.approx(1)


def test_counting_the_classes_takes_a_pass_of_its_own(job: Job) -> None:
    run(job, passes=3, epochs="1", class_weighting="balanced", **SMALL)
    deadline = time.monotonic() + 10
    while job.fed["train"] < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert job.fed["train"] == 2


def test_all_of_the_start_in_what_is_kept_is_the_start(job: Job) -> None:
    frozen: dict[str, Any] = {"frozen_batch_norm": "1", "learning_rate": "0.05", "optimizer": "sgd"}
    epochs = run(job, passes=2, epochs="2", start_share="1", **frozen, **SMALL)
    assert epochs[0]["validation"] == epochs[1]["validation"]
    assert epochs[1]["train"]["loss"] < epochs[0]["train"]["loss"]


def test_half_of_float16_is_said_where_there_is_no_gpu(job: Job, lines: list[str]) -> None:
    run(job, passes=1, epochs="1", precision_dtype="float16", **SMALL)
    if not torch.cuda.is_available():
        assert any("computing in bfloat16" in line for line in lines)


def test_an_image_too_small_to_crop_fails_the_job(job: Job) -> None:
    with pytest.raises(BadSampleError, match="smaller than the 36 x 36"):
        run(job, passes=1, epochs="1", augmentation_type="crop", image_shape="3,36,36")


def test_a_seed_replays_a_job(job: Job) -> None:
    def outcome() -> list[Any]:
        for fifo in job.layout.fifo("train", 0).parent.iterdir():
            fifo.unlink()
        job.fed.clear()
        epochs = run(job, passes=1, epochs="1", augmentation="ct", seed="4")
        return [epoch[part]["loss"] for epoch in epochs for part in ("train", "validation")]

    assert outcome() == pytest.approx(outcome(), rel=1e-4)


@pytest.mark.parametrize("probe", ["0", "1"])
def test_several_classes_of_an_image_have_probabilities_of_their_own(job: Job, probe: str) -> None:
    several = {"0": "[0, 0]", "1": "[1, 1]"}
    content = as_stream([(image, several[label]) for image, label in make_samples(12)])
    job.feed("train", *[content] * 3)
    job.feed("validation", *[content] * 3)
    given = {**TINY, **SMALL, "multi_label": "1", "use_weighted_loss": "1", "top_k": "2"}
    chosen = read_hyperparameters({**given, "probe": probe, "epochs": "1"})
    settings = TrainSettings(job.layout, (), None, None, None, pipe_timeout_s=30)
    run_job(chosen, settings, ("0", "1"), threading.Event())
    description, _ = load_model(job.layout.model)
    assert description.metrics["validation"]["top_k_accuracy"] is None
    assert description.calibration is None
    assert set(description.metrics["shipped"]["per_class"]) == {"0", "1"}
    if probe == "1":
        assert description.metrics["validation"]["accuracy"] == 1
        predictor = Predictor.load(job.layout.model)
        predictor.check()
        answers = [predictor.predict(decode_image(make_slice(n, 7), (1, 28, 28))) for n in (0, 1)]
        assert max(answers[0]) < 0.5 < min(answers[1])
