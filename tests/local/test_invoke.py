"""`tomodrop invoke`: refusals here; calls of a running stack are in tests/e2e."""

import json
from pathlib import Path

import pytest

from local.cli import main
from local.invoke import write_environment

EVENT = Path(__file__).parents[2] / "events/schedule-sweep.json"


def environment_of(name: str) -> dict[str, str]:
    return {
        "AWS_LAMBDA_FUNCTION_NAME": name.lower(),
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_SESSION_TOKEN": "c",
    }


def test_the_environment_file_is_what_sam_local_invoke_takes(tmp_path: Path) -> None:
    path = write_environment(tmp_path, ["SweepFunction"], environment_of)
    assert json.loads(path.read_text()) == {"SweepFunction": environment_of("SweepFunction")}
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("function", "event", "said"),
    [
        ("SweepFunction", EVENT, "No stack answers"),
        ("OtherFunction", EVENT, "no function OtherFunction; one of SweepFunction"),
        ("SweepFunction", Path("absent.json"), "cannot be read"),
        ("SweepFunction", Path(__file__), "is not JSON"),
    ],
)
def test_what_cannot_be_called_is_refused_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], function: str, event: Path, said: str
) -> None:
    write_environment(tmp_path, ["SweepFunction"], environment_of)
    assert main(["invoke", function, "--event", str(event), "--state", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err


def test_a_folder_without_a_stack_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["invoke", "SweepFunction", "-e", str(EVENT), "--state", str(tmp_path)]) == 2
    assert "Start a stack first" in capsys.readouterr().err
