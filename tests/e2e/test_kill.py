"""`tomodrop run --state` killed while it learns, and started again: one JSON per file, none lost.

tests/local/test_watch.py kills it while it answers.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import jsonschema_rs
import pytest

from tests.e2e.conftest import PARAMETERS, PATIENCE_S
from training.datasets.phantoms import encode, phantoms

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs/prediction.schema.json").read_text())
FILES = 12
# What the run says when a phase begins, in the order in which it comes to them.
PHASES = ("uploading labelled files", "taking in labelled files", "] training")
MAIN = "import sys; from local.cli import main; sys.exit(main())"


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for label in ("non_covid", "covid"):
        for phantom in phantoms(label, patients=3, slices=4, seed=1, size=64):
            path = tmp_path / "labelled" / label / phantom.patient / f"{phantom.number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(phantom))
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for phantom in phantoms("covid", patients=1, slices=FILES, seed=5, size=64):
        (inbox / f"{phantom.number}.png").write_bytes(encode(phantom))
    (inbox / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    return tmp_path


def start(folder: Path) -> "subprocess.Popen[str]":
    # Not exported: the one way of the end-to-end tests that PyTorch serves.
    served = {"ExtraHyperparameters": "serving_precision=none"}
    settings = [f"--set={name}={value}" for name, value in (PARAMETERS | served).items()]
    arguments = ["run", "--once", "--inbox=inbox", "--labelled=labelled", "--out=out"]
    return subprocess.Popen(
        [sys.executable, "-c", MAIN, *arguments, "--state=state", *settings],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'functions'}", "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def lines_of(process: "subprocess.Popen[str]") -> Iterator[str]:
    """Its output, line by line; a run that hangs is killed, so that the test ends."""
    watchdog = threading.Timer(PATIENCE_S, process.kill)
    watchdog.start()
    assert process.stdout
    try:
        yield from process.stdout
    finally:
        watchdog.cancel()


def kill_in(folder: Path, phase: str) -> bool:
    """Run until the phase begins and kill; False if the run was past it and ended by itself."""
    with start(folder) as process:
        for line in lines_of(process):
            if phase in line:
                process.send_signal(signal.SIGKILL)
                return True
    return False


def results(folder: Path) -> list[str]:
    out = folder / "out"
    return sorted(
        str(path.relative_to(out))
        for kind in ("predictions", "rejected")
        for path in (out / kind).rglob("*.json")
    )


def test_killed_in_each_phase_of_learning_it_loses_and_doubles_nothing(folders: Path) -> None:
    killed = [phase for phase in PHASES if kill_in(folders, phase)]
    with start(folders) as process:
        said = list(lines_of(process))
    assert process.returncode == 0, "".join(said)

    expected = [f"predictions/{number}.png.json" for number in range(1, FILES + 1)]
    assert results(folders) == sorted([*expected, "rejected/broken.png.json"])
    for name in results(folders):
        jsonschema_rs.validate(SCHEMA, json.loads((folders / "out" / name).read_text()))
    assert set(killed) >= {"taking in labelled files", "] training"}
    assert processes_of(folders) == []


def processes_of(folder: Path) -> list[str]:
    """Command lines of whatever still works for this run."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.splitlines() if str(folder) in line]
