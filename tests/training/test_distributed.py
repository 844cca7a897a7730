"""Two processes learn what one would at the same global batch; batch-norm is frozen for that."""

import json
import signal
import socket
import threading
from contextlib import ExitStack
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from tests.training.builders import Job, as_stream, make_job, make_samples
from tests.training.test_resuming import wait_for_epochs
from training.algorithm.artefact import load_model
from training.algorithm.failure import HyperparameterError
from training.algorithm.hyperparameters import read_hyperparameters
from training.algorithm.job import run_job
from training.algorithm.place import Place
from training.algorithm.settings import TrainSettings

GIVEN = {
    "num_classes": "2",
    "num_training_samples": "13",
    "serving_precision": "none",
    "num_layers": "20",
    "image_shape": "1,28,28",
    "epochs": "2",
    # Not one of Adam's kind, which would not show gradients of the wrong size.
    "learning_rate": "0.02",
    "optimizer": "sgd",
    "frozen_batch_norm": "1",
    "augmentation": "ct",
    "ema": "0.5",
    "class_weighting": "balanced",
    "seed": "3",
}
VALIDATION = as_stream(make_samples(5, first_seed=100))
HOSTS = ("127.0.0.1", "localhost")

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_core")]


def container(folder: Path, *, passes: int, train: bytes, **given: str) -> Job:
    job = make_job(folder)
    job.configure({**GIVEN, **given})
    job.feed("train", *[train] * passes)
    job.feed("validation", *[VALIDATION] * passes)
    return job


def losses(job: Job) -> list[float]:
    lines = (job.layout.output_data / "metrics.jsonl").read_text().splitlines()
    epochs = [json.loads(line) for line in lines]
    assert [epoch["epoch"] for epoch in epochs] == list(range(len(epochs)))
    return [epoch[part]["loss"] for epoch in epochs for part in ("train", "validation")]


def alone(folder: Path, train: bytes, **given: str) -> list[float]:
    """The same job in one process, in this one."""
    job = container(folder, passes=4, train=train, **given)
    settings = TrainSettings(job.layout, (), None, None, None, pipe_timeout_s=30)
    chosen = read_hyperparameters({**GIVEN, **given})
    run_job(chosen, settings, ("0", "1"), threading.Event())
    return losses(job)


def on_hosts(folder: Path, *, passes: int, train: tuple[bytes, bytes], **given: str) -> list[Job]:
    jobs = []
    for host, content in zip(HOSTS, train, strict=True):
        job = container(folder / host, passes=passes, train=content, **given)
        config = {"current_host": host, "hosts": list(HOSTS), "network_interface_name": "lo"}
        job.layout.resource_config.write_text(json.dumps(config))
        jobs.append(job)
    return jobs


def finish(programs: list[Popen[str]]) -> list[tuple[int, str]]:
    """Wait for all, and kill whatever does not end."""
    with ExitStack() as stack:
        for program in programs:
            stack.enter_context(program)
            stack.callback(program.kill)
        logs = [program.communicate(timeout=200)[0] for program in programs]
    return [(program.returncode, log) for program, log in zip(programs, logs, strict=True)]


@pytest.mark.parametrize("given", [{}, {"probe": "1", "trainable_stages": "2", "epochs": "3"}])
def test_two_hosts_learn_what_one_process_would(tmp_path: Path, given: dict[str, str]) -> None:
    train = as_stream(make_samples(13))
    expected = alone(tmp_path / "alone", train, mini_batch_size="8", **given)
    # mini_batch_size is a host's own: two hosts make twice as much of it.
    jobs = on_hosts(tmp_path, passes=4, train=(train, train), mini_batch_size="4", **given)
    for exit_code, log in finish([job.start("train") for job in jobs]):
        assert exit_code == 0, log
    main, other = jobs
    assert losses(main) == pytest.approx(expected, rel=1e-4)
    assert load_model(main.layout.model)[0].num_layers == 20
    assert not list(other.layout.model.iterdir())


def test_two_processes_of_a_host_share_one_pipe(tmp_path: Path) -> None:
    # Nine images: of the last batch, one process has an image and the other none.
    given = {"num_training_samples": "9", "mini_batch_size": "8"}
    train = as_stream(make_samples(9))
    expected = alone(tmp_path / "alone", train, **given)
    job = container(tmp_path / "shared", passes=4, train=train, **given)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    sizes = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GLOO_SOCKET_IFNAME": "lo"}
    programs = [
        job.start("train", RANK=rank, LOCAL_RANK=rank, **meeting, **sizes) for rank in ("0", "1")
    ]
    for exit_code, log in finish(programs):
        assert exit_code == 0, log
    assert losses(job) == pytest.approx(expected, rel=1e-4)


def test_what_breaks_on_one_host_ends_all_and_is_said_on_each(tmp_path: Path) -> None:
    train = as_stream(make_samples(13))
    jobs = on_hosts(
        tmp_path, passes=2, train=(train, train[:-3]), mini_batch_size="4", class_weighting="none"
    )
    for exit_code, log in finish([job.start("train") for job in jobs]):
        assert exit_code == 1, log
    main, other = (job.layout.failure.read_text() for job in jobs)
    assert other.startswith("AlgorithmError: train_0: the stream ended")
    assert "another process of this job failed: train_0: the stream ended" in main


def test_a_stop_ends_all_with_the_best_epoch_kept_and_they_resume(tmp_path: Path) -> None:
    train = as_stream(make_samples(13))
    given = {"mini_batch_size": "4", "epochs": "3"}
    expected = alone(tmp_path / "alone", train, **{**given, "mini_batch_size": "8"})
    checkpoints = tmp_path / "checkpoints"

    def start(folder: str, passes: int) -> tuple[list[Job], Any]:
        jobs = on_hosts(tmp_path / folder, passes=passes, train=(train, train), **given)
        config = json.dumps({"LocalPath": str(checkpoints)})
        jobs[0].layout.checkpoint_config.write_text(config)
        return jobs, [job.start("train") for job in jobs]

    jobs, programs = start("stopped", 2)  # one counts the classes, one is an epoch
    wait_for_epochs(checkpoints, 1)
    for program in programs:
        program.send_signal(signal.SIGTERM)
    for exit_code, log in finish(programs):
        assert exit_code == 0, log
    assert load_model(jobs[0].layout.model)[0].metrics["epoch"] == 0
    jobs, programs = start("again", 2)
    for exit_code, log in finish(programs):
        assert exit_code == 0, log
    assert losses(jobs[0]) == pytest.approx(expected, rel=1e-4)


def test_a_batch_too_small_to_split_is_refused(tmp_path: Path) -> None:
    job = container(tmp_path, passes=0, train=b"")
    settings = TrainSettings(job.layout, (), None, None, None, pipe_timeout_s=30)
    chosen = read_hyperparameters({**GIVEN, "mini_batch_size": "7"})
    with pytest.raises(HyperparameterError, match="set it to 8 or more"):
        run_job(chosen, settings, ("0", "1"), threading.Event(), Place(0, 4, 0, 4))
