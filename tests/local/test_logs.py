"""Finding and keeping logs."""

from pathlib import Path

import pytest

from local.logs import KEPT_BYTES, Logs


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "state/logs").mkdir(parents=True)
    (tmp_path / "state/sagemaker/training/job-1").mkdir(parents=True)
    (tmp_path / "state/sagemaker/training/job-1/log.txt").write_text("Epoch[0]\n")
    return tmp_path / "state"


def test_the_last_message_of_a_kind_is_found_among_other_lines(state: Path) -> None:
    (state / "logs/RetrainFunction.log").write_text(
        'START\n{"message": "no training: first"}\nnot json\n{"message": "no training: second"}\n'
        '{"message": "something else"}\n["no", "message"]\n{"level": "INFO"}\n'
    )
    assert Logs(state).last_message("RetrainFunction", "no training: ") == "second"


@pytest.mark.parametrize("content", [None, "", "\xff\n", '{"message": "other"}'])
def test_no_such_message_is_none(content: str | None, state: Path) -> None:
    if content is not None:
        (state / "logs/RetrainFunction.log").write_text(content, encoding="latin-1")
    assert Logs(state).last_message("RetrainFunction", "no training: ") is None


def test_a_jobs_log_is_found_by_name(state: Path) -> None:
    assert Logs(state).of_job("job-1").read_text() == "Epoch[0]\n"
    assert Logs(state).of_job("job-2") == state / "logs"


def test_logs_are_kept_in_out_and_long_ones_from_their_end(state: Path, tmp_path: Path) -> None:
    (state / "logs/IntakeFunction.log").write_bytes(b"x" * KEPT_BYTES + b"the end")
    kept = Logs(state).keep(tmp_path / "out")
    assert kept == tmp_path / "out/logs"
    assert sorted(path.name for path in kept.iterdir()) == ["IntakeFunction.log", "job-1.txt"]
    body = (kept / "IntakeFunction.log").read_bytes()
    assert len(body) == KEPT_BYTES
    assert body.endswith(b"the end")


def test_where_there_are_no_logs_nothing_is_made(tmp_path: Path) -> None:
    assert Logs(tmp_path / "none").keep(tmp_path / "out") is None
    assert not (tmp_path / "out").exists()
