"""A job that is killed goes on: its losses are those of one that was left alone."""

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.builders import Job, as_stream, make_job, make_samples
from training.algorithm.artefact import load_model
from training.algorithm.checkpoints import CHECKPOINT_NAME
from training.algorithm.failure import CheckpointError
from training.algorithm.hyperparameters import read_hyperparameters
from training.algorithm.job import run_job
from training.algorithm.settings import TrainSettings

GIVEN = {
    "num_classes": "2",
    "num_training_samples": "12",
    "serving_precision": "none",
    "num_layers": "20",
    "image_shape": "1,28,28",
    "epochs": "4",
    "mini_batch_size": "5",
    "learning_rate": "0.003",
    "optimizer": "adamw",
    "augmentation": "ct",
    "mixup": "0.3",
    "ema": "0.8",
    "lr_schedule": "cosine",
    "warmup_epochs": "0.5",
    "start_share": "0.1",
    "class_weighting": "balanced",
    "checkpoint_frequency": "2",
    "seed": "3",
}
TRAIN = as_stream(make_samples(12))
VALIDATION = as_stream(make_samples(6, first_seed=100))

pytestmark = pytest.mark.usefixtures("one_core")


def container(folder: Path, checkpoints: Path, **given: str) -> Job:
    """A fresh /opt/ml, as after an interruption: only the checkpoints are there again."""
    job = make_job(folder)
    job.configure({**GIVEN, **given})
    job.layout.checkpoint_config.write_text(json.dumps({"LocalPath": str(checkpoints)}))
    return job


def run(job: Job, *, passes: int, **given: str) -> list[dict[str, Any]]:
    """Run a job in this process; return its epochs without what depends on the clock."""
    job.feed("train", *[TRAIN] * passes)
    job.feed("validation", *[VALIDATION] * passes)
    settings = TrainSettings(job.layout, (), None, None, None, pipe_timeout_s=30)
    run_job(read_hyperparameters({**GIVEN, **given}), settings, ("0", "1"), threading.Event())
    return epochs_of(job)


def epochs_of(job: Job) -> list[dict[str, Any]]:
    lines = (job.layout.output_data / "metrics.jsonl").read_text().splitlines()
    timed = ("seconds", "images_per_second")
    return [
        {name: value for name, value in json.loads(line).items() if name not in timed}
        for line in lines
    ]


def kept(job: Job) -> list[str]:
    model = job.layout.model
    return sorted(path.relative_to(model).as_posix() for path in model.rglob("*.json"))


@pytest.mark.parametrize("given", [{}, {"probe": "1", "ema": "0"}])
def test_a_job_in_two_parts_is_the_same_as_in_one(tmp_path: Path, given: dict[str, str]) -> None:
    # Without the cosine, whose length is the job's, so that the first part may end by itself.
    given = {**given, "lr_schedule": "step"}
    whole = run(container(tmp_path / "whole", tmp_path / "c1"), passes=5, **given)
    first = run(container(tmp_path / "a", tmp_path / "c2"), passes=3, **given, epochs="2")
    assert first == whole[:2]
    job = container(tmp_path / "b", tmp_path / "c2")
    assert run(job, passes=3, **given) == whole
    best = max(
        whole, key=lambda epoch: (epoch["validation"]["accuracy"], -epoch["validation"]["loss"])
    )
    shipped, left_alone = (
        load_model(folder / "model")[0] for folder in (tmp_path / "b", tmp_path / "whole")
    )
    assert shipped.metrics["epoch"] == shipped.metrics["shipped"]["epoch"] == best["epoch"]
    assert shipped.metrics["shipped"] == left_alone.metrics["shipped"]
    assert shipped.calibration == left_alone.calibration
    assert kept(job) == ["epoch-2/model.json", "epoch-4/model.json", "model.json"]


def test_a_finished_job_started_again_leaves_the_same_model_and_reads_nothing(
    tmp_path: Path,
) -> None:
    first = container(tmp_path / "a", tmp_path / "c")
    epochs = run(first, passes=2, epochs="1")
    again = container(tmp_path / "b", tmp_path / "c")
    assert run(again, passes=0, epochs="1") == epochs
    for name in ("model.pt", "model.json"):
        assert (again.layout.model / name).read_bytes() == (first.layout.model / name).read_bytes()
    assert (again.layout.output_data / "accuracy.png").exists()


@pytest.mark.parametrize("harm", ["network", "history", "outside"])
def test_a_state_that_does_not_fit_is_refused(tmp_path: Path, harm: str) -> None:
    job = container(tmp_path / "a", tmp_path / "c")
    run(job, passes=2, epochs="1")
    path = tmp_path / "c" / CHECKPOINT_NAME
    content = torch.load(path, weights_only=True)
    if harm == "outside":
        content["state"]["model"]["../../harm"] = torch.zeros(1, dtype=torch.uint8)
    else:
        content["state"][harm] = {"fc.weight": torch.zeros(9, 9)}
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="does not fit this job"):
        run(container(tmp_path / "b", tmp_path / "c"), passes=0, epochs="1")
    assert not (tmp_path / "harm").exists()


def feed_a_part(job: Job, number: int) -> threading.Event:
    """Make a FIFO of train and leave its writer in the middle of the pass, until released."""
    release = threading.Event()

    def write() -> None:
        path = job.layout.fifo("train", number)
        while job.fed.get("train", 0) < number:
            time.sleep(0.01)
        os.mkfifo(path)
        with path.open("wb") as fifo:
            fifo.write(TRAIN[: len(TRAIN) // 2])
            fifo.flush()
            release.wait()

    threading.Thread(target=write, daemon=True).start()
    return release


def wait_for_epochs(checkpoints: Path, count: int) -> None:
    deadline = time.monotonic() + 240
    path = checkpoints / CHECKPOINT_NAME
    while time.monotonic() < deadline:
        if path.exists():
            state = torch.load(path, weights_only=True)["state"]
            if len(state["history"]) >= count:
                return
        time.sleep(0.05)
    raise AssertionError(f"no {count} epochs in time")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_killed_in_an_epoch_is_taken_up_by_another(
    tmp_path: Path, how: signal.Signals
) -> None:
    whole = run(container(tmp_path / "whole", tmp_path / "c1"), passes=5)
    job = container(tmp_path / "killed", tmp_path / "c2")
    job.feed("train", *[TRAIN] * 3)  # one to count the classes, two epochs
    job.feed("validation", *[VALIDATION] * 3)
    release = feed_a_part(job, 3)
    with job.start("train") as process:
        wait_for_epochs(tmp_path / "c2", 2)
        told = time.monotonic()
        process.send_signal(how)
        log, _ = process.communicate(timeout=120)
    release.set()
    assert time.monotonic() - told < 120
    assert process.returncode == (0 if how is signal.SIGTERM else -signal.SIGKILL), log
    assert [path.name for path in (tmp_path / "c2").iterdir()] == [CHECKPOINT_NAME]

    again = container(tmp_path / "again", tmp_path / "c2")
    again.feed("train", *[TRAIN] * 3)
    again.feed("validation", *[VALIDATION] * 3)
    exit_code, log = again.run("train")
    assert exit_code == 0, log
    assert "Resuming after Epoch[1]" in log
    for epoch, expected in zip(epochs_of(again), whole, strict=True):
        for part in ("train", "validation"):
            assert epoch[part] == pytest.approx(expected[part], abs=1e-6)
        assert epoch["learning_rate"] == expected["learning_rate"]
