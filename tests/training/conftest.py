import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.training.builders import (
    TRAINED_WITH,
    Job,
    Trained,
    as_stream,
    make_job,
    make_samples,
)
from training.algorithm.log import LOGGER


class _Lines(logging.Handler):
    def __init__(self, level: int = logging.WARNING) -> None:
        super().__init__(level)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """What the algorithm warns of while the test runs."""
    handler = _Lines()
    LOGGER.addHandler(handler)
    yield handler.lines
    LOGGER.removeHandler(handler)


@pytest.fixture
def said() -> Iterator[list[str]]:
    """All that the algorithm logs while the test runs."""
    handler, level = _Lines(logging.INFO), LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    yield handler.lines
    LOGGER.setLevel(level)
    LOGGER.removeHandler(handler)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tiny networks on a busy machine: a second thread would only be waited for."""
    torch.set_num_threads(1)


@pytest.fixture
def one_core() -> Iterator[None]:
    """For this process and those it starts: sums over more threads are rounded otherwise."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    yield
    os.sched_setaffinity(0, cores)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return make_job(tmp_path / "ml")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A job that the real program has run to its end."""
    job = make_job(tmp_path_factory.mktemp("trained") / "ml")
    job.configure(TRAINED_WITH)
    train, validation = as_stream(make_samples(12)), as_stream(make_samples(7, first_seed=100))
    job.feed("train", train, train)
    job.feed("validation", validation, validation)
    exit_code, log = job.run(
        "train",
        TOMODROP_CLASSES='["non_covid", "covid"]',
        TOMODROP_NORMALISER="ct-1",
        TOMODROP_DATA_DIGEST="d1ge57",
        TRAINING_JOB_NAME="tomodrop-train-1",
    )
    return Trained(job, exit_code, log)
