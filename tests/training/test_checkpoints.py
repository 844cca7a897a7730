import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.builders import Job
from training.algorithm.checkpoints import CHECKPOINT_NAME, Checkpoints, find_checkpoints
from training.algorithm.failure import CheckpointError
from training.algorithm.hyperparameters import read_hyperparameters
from training.algorithm.settings import TrainSettings

GIVEN = {"num_classes": "2", "num_training_samples": "9", "epochs": "3"}
STATE = {"network": {"fc.bias": torch.arange(3.0)}, "passes": {"train": 2}, "learner": None}


def settings_of(job: Job) -> TrainSettings:
    return TrainSettings(job.layout, (), None, "d1ge57", None, pipe_timeout_s=1)


def configure(job: Job, content: object) -> None:
    job.layout.checkpoint_config.write_text(json.dumps(content))


def find(job: Job, **given: str) -> Checkpoints:
    configure(job, {"LocalPath": str(job.layout.base / "checkpoints")})
    chosen = read_hyperparameters({**GIVEN, **given})
    found = find_checkpoints(settings_of(job), chosen, ("a", "b"))
    assert found
    return found


def test_without_a_configuration_nothing_is_kept(job: Job) -> None:
    assert find_checkpoints(settings_of(job), read_hyperparameters(GIVEN), ("a", "b")) is None


@pytest.mark.parametrize("content", [[], {}, {"LocalPath": 3}, "folder"])
def test_a_configuration_without_a_folder_is_refused(job: Job, content: object) -> None:
    configure(job, content)
    with pytest.raises(CheckpointError, match="LocalPath"):
        find_checkpoints(settings_of(job), read_hyperparameters(GIVEN), ())


def test_a_state_comes_back_and_replaces_the_one_before(job: Job) -> None:
    checkpoints = find(job)
    assert checkpoints.load() is None
    checkpoints.save({"network": {}})
    checkpoints.save(STATE)
    state = find(job).load()
    assert state
    assert torch.equal(state["network"]["fc.bias"], torch.arange(3.0))
    assert (state["passes"], state["learner"]) == ({"train": 2}, None)
    assert [path.name for path in checkpoints.folder.iterdir()] == [CHECKPOINT_NAME]


def test_a_write_that_fails_leaves_the_one_before(job: Job) -> None:
    checkpoints = find(job)
    checkpoints.save(STATE)
    with pytest.raises(Exception, match="pickle"):
        checkpoints.save({"network": lambda: None})
    assert find(job).load()
    assert [path.name for path in checkpoints.folder.iterdir()] == [CHECKPOINT_NAME]


def test_a_job_may_go_on_for_longer(job: Job) -> None:
    find(job).save(STATE)
    assert find(job, epochs="9").load()


def test_another_jobs_checkpoint_is_refused_with_what_differs(job: Job) -> None:
    find(job).save(STATE)
    with pytest.raises(CheckpointError, match=r"learning_rate is '0\.2', was '0\.1'.*S3Uri"):
        find(job, learning_rate="0.2").load()
    other = find_checkpoints(
        replace(settings_of(job), data_digest="other"), read_hyperparameters(GIVEN), ("a", "b")
    )
    assert other
    with pytest.raises(CheckpointError, match="data digest is 'other', was 'd1ge57'"):
        other.load()


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (Path("harm"),)


def test_what_is_no_checkpoint_of_ours_is_refused(job: Job) -> None:
    checkpoints = find(job)
    checkpoints.save(STATE)
    path = checkpoints.folder / CHECKPOINT_NAME
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="Delete it to start afresh"):
        checkpoints.load()
    torch.save({"job": checkpoints.job, "state": {}, "schema_version": 99}, path)
    with pytest.raises(CheckpointError, match="schema_version 99"):
        checkpoints.load()
    torch.save({"job": checkpoints.job, "state": Harmful(), "schema_version": 1}, path)
    with pytest.raises(CheckpointError, match="weights only"):
        checkpoints.load()
