"""The last passes of a job, and what a model then tells of slices that it has and has not seen."""

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.training.builders import Job, as_stream, encode_png, make_job, make_samples
from training.algorithm import acquaintance
from training.algorithm.artefact import DESCRIPTION_NAME, load_model, load_typicality
from training.algorithm.hyperparameters import read_hyperparameters
from training.algorithm.images import decode_image
from training.algorithm.inference import Predictor
from training.algorithm.job import run_job
from training.algorithm.settings import TrainSettings

GIVEN = {
    "num_classes": "2",
    "num_training_samples": "40",
    "serving_precision": "none",
    "num_layers": "20",
    "image_shape": "1,28,28",
    "mini_batch_size": "10",
    "epochs": "1",
    "learning_rate": "0.001",
    "optimizer": "adamw",
}
pytestmark = pytest.mark.usefixtures("one_core")


def run(job: Job, *, passes: int = 2, held_out: int = 24, **given: str) -> None:
    """Run a job in this process with so many FIFOs for each channel."""
    job.feed("train", *[as_stream(make_samples(40))] * passes)
    job.feed("validation", *[as_stream(make_samples(held_out, first_seed=90))] * passes)
    settings = TrainSettings(job.layout, (), None, None, None, pipe_timeout_s=2)
    run_job(read_hyperparameters({**GIVEN, **given}), settings, ("0", "1"), threading.Event())


def typicality(model: Path, encoded: bytes) -> float | None:
    predictor = Predictor.load(model)
    pixels = decode_image(encoded, predictor.description.image_shape)
    return predictor.explain(pixels).typicality


def check_held_out(model: Path) -> None:
    """Held-out slices are as typical when served as when they were measured."""
    images = [image for image, _label in make_samples(24, first_seed=90)]
    served = [share for image in images if (share := typicality(model, image)) is not None]
    # Alone or in a batch, a slice's features differ in the last digit: by one place at most.
    assert sorted(served) == pytest.approx([n / 24 for n in range(24)], abs=1.01 / 24)


def test_the_model_tells_what_it_has_not_seen(job: Job) -> None:
    run(job)
    model = job.layout.model
    like = [typicality(model, image) for image, _label in make_samples(30, first_seed=500)]
    assert 0.2 < float(np.mean([share for share in like if share is not None])) < 0.8
    levels = np.random.default_rng(1).integers(0, 60, (32, 32), dtype=np.uint8)
    unlike = (levels + 100, levels * 0 + 30, np.sort(levels, axis=0))
    assert [typicality(model, encode_png(one)) for one in unlike] == [0, 0, 0]


def test_a_held_out_slice_is_as_typical_when_served_as_when_it_was_measured(job: Job) -> None:
    run(job)
    check_held_out(job.layout.model)


def test_what_is_summarised_belongs_to_the_shipped_weights(job: Job) -> None:
    """The last epoch is a bad one: its weights are not those that are served."""
    run(job, passes=4, epochs="3", optimizer="sgd", learning_rate="0.1", seed="2")
    assert load_model(job.layout.model)[0].metrics["epoch"] == 0
    check_held_out(job.layout.model)


def test_the_description_in_the_output_is_the_model_s_own(job: Job) -> None:
    run(job)
    model, output = job.layout.model, job.layout.output_data
    assert (model / DESCRIPTION_NAME).read_bytes() == (output / DESCRIPTION_NAME).read_bytes()
    assert "typicality" in json.loads((model / DESCRIPTION_NAME).read_text())


@pytest.mark.parametrize(
    ("passes", "held_out", "said"),
    [(1, 24, "no FIFO"), (1, 19, "19 held-out slices, and at least 20 are needed")],
)
def test_a_job_whose_last_passes_cannot_be_keeps_its_model(
    job: Job, warnings: list[str], passes: int, held_out: int, said: str
) -> None:
    run(job, passes=passes, held_out=held_out)
    assert load_typicality(job.layout.model) is None
    assert typicality(job.layout.model, make_samples(1)[0][0]) is None
    (warning,) = [line for line in warnings if "typical" in line]
    assert said in warning


def test_a_stop_in_the_last_passes_is_obeyed_at_once_and_keeps_the_model(
    job: Job, warnings: list[str]
) -> None:
    stop = threading.Event()
    job.feed("train", as_stream(make_samples(40)))  # the second pass is waited for
    job.feed("validation", as_stream(make_samples(24, first_seed=90)))

    def stop_when_there_is_a_model() -> None:
        while not (job.layout.model / DESCRIPTION_NAME).exists():
            time.sleep(0.02)
        stop.set()

    threading.Thread(target=stop_when_there_is_a_model, daemon=True).start()
    settings = TrainSettings(job.layout, (), None, None, None, pipe_timeout_s=60)
    started = time.monotonic()
    run_job(read_hyperparameters(GIVEN), settings, ("0", "1"), stop)
    assert time.monotonic() - started < 40
    assert load_typicality(job.layout.model) is None
    assert [line for line in warnings if "typical" in line] == [
        "Told to stop: the model cannot tell how typical a slice is"
    ]


def test_of_a_large_channel_every_nth_slice_is_looked_at(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(job, held_out=40)
    whole = load_typicality(job.layout.model)
    monkeypatch.setattr(acquaintance, "ENOUGH_SLICES", 20)
    again = make_job(tmp_path / "again")
    run(again, held_out=40)
    half = load_typicality(again.layout.model)
    assert whole is not None
    assert half is not None
    assert [len(summary["held_out"]) for summary in (whole, half)] == [40, 20]
    # An axis for every four training slices.
    assert [len(summary["layout.axes"]) for summary in (whole, half)] == [10, 5]


def test_the_same_job_leaves_the_same_summary(job: Job, tmp_path: Path) -> None:
    again = make_job(tmp_path / "again")
    for one in (job, again):
        run(one)
    first, second = (load_typicality(one.layout.model) for one in (job, again))
    assert first is not None
    assert second is not None
    assert all(np.array_equal(first[name], second[name]) for name in first)
