"""`tomodrop run` as a person runs it: real folders, the real stack, a small network.

The first test trains once into a state folder; the others start from a copy of it.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from training.datasets.phantoms import encode, phantoms, write_tree

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 420.0
SETTINGS = {
    "NumLayers": "18",
    "UsePretrainedModel": "0",
    "ImageShape": "3,32,32",
    "Epochs": "1",
    "MiniBatchSize": "8",
    "MinimumValidationAccuracy": "0",
    "WindowMinutes": "0.05",
    "IntakeTimeoutSeconds": "10",
}


@dataclass
class Folders:
    """The folders of one run, below one that the test has to itself."""

    root: Path
    settings: dict[str, str] = field(default_factory=lambda: dict(SETTINGS))

    @property
    def inbox(self) -> Path:
        return self.root / "inbox"

    @property
    def out(self) -> Path:
        return self.root / "out"

    @property
    def state(self) -> Path:
        return self.root / "state"

    def command(self, *options: str) -> list[str]:
        folders = ("--inbox", str(self.inbox), "--out", str(self.out), "--state", str(self.state))
        settings = (part for n, v in self.settings.items() for part in ("--set", f"{n}={v}"))
        return [sys.executable, "-m", "local.cli", "run", *folders, *settings, *options]

    def run(self, *options: str) -> tuple[int, str]:
        return run_command(self.command(*options))

    def audit(self) -> tuple[int, str]:
        folders = ("--state", str(self.state), "--out", str(self.out))
        return run_command([sys.executable, "-m", "local.cli", "audit", *folders])

    def results(self) -> dict[str, Any]:
        """Every result JSON in OUT by its path without folder and `.json`."""
        found: dict[str, Any] = {}
        for folder in ("predictions", "rejected"):
            for path in (self.out / folder).rglob("*.json"):
                name = str(path.relative_to(self.out / folder)).removesuffix(".json")
                assert name not in found, f"{name} has two results"
                found[name] = json.loads(path.read_bytes())
        return found

    def drop(self, *names: str, seed: int = 5) -> None:
        for number, name in enumerate(names):
            (self.inbox / name).parent.mkdir(parents=True, exist_ok=True)
            (self.inbox / name).write_bytes(picture(seed + number))


# How every run is started: as from a shell in the repository, without a keyboard.
STARTED: dict[str, Any] = {
    "cwd": ROOT,
    "env": {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'functions'}"},
    "stderr": subprocess.STDOUT,
    "stdin": subprocess.DEVNULL,
}


def run_command(command: list[str]) -> tuple[int, str]:
    """Exit code and everything printed."""
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=LIMIT_S, check=False, **STARTED)
    return done.returncode, done.stdout.decode()


def picture(seed: int) -> bytes:
    (only,) = phantoms("covid", patients=1, slices=1, seed=seed, size=48)
    return encode(only)


@contextmanager
def running(folders: Folders, log: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A run in a process group of its own, as a shell starts it; killed at the end if need be."""
    with log.open("wb") as output:
        command = folders.command(*options)
        process = subprocess.Popen(command, stdout=output, start_new_session=True, **STARTED)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def wait_for(log: Path, text: str, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + LIMIT_S
    while text not in (told := log.read_text()):
        assert process.poll() is None, told
        assert time.monotonic() < ends, told
        time.sleep(0.1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """A state with a live model and three results, made by one run from labelled folders."""
    folders = Folders(tmp_path_factory.mktemp("trained"))
    labelled = folders.root / "labelled"
    write_tree(labelled, patients=2, slices=2, seed=3, size=48)
    folders.drop("a.png", "sub folder/b ü+1 肺.png")
    (folders.inbox / "cut.png").write_bytes(picture(1)[:500])
    (folders.inbox / ".hidden").write_bytes(b"x")
    (folders.inbox / "copying.png.part").write_bytes(b"x")
    code, told = folders.run("--once", "--labelled", str(labelled))
    (folders.root / "log").write_text(told)
    assert code == 0, told
    return folders


@pytest.fixture
def folders(trained: Folders, tmp_path: Path) -> Folders:
    """A copy of the trained folders, with the results of that run in OUT."""
    for name in ("inbox", "out", "state"):
        shutil.copytree(trained.root / name, tmp_path / name)
    return Folders(tmp_path)


def test_every_file_gets_its_json_and_the_screen_says_so(trained: Folders) -> None:
    results = trained.results()
    assert set(results) == {"a.png", "sub folder/b ü+1 肺.png", "cut.png"}
    assert results["a.png"]["prediction"]["label"] in ("covid", "non_covid")
    assert results["cut.png"]["rejection"]["code"] == "damaged_image"
    told = (trained.root / "log").read_text()
    for said in (
        "2 predicted",
        "1 rejected (damaged_image 1)",
        "copying.png.part: not uploaded",
        ".hidden: not uploaded, hidden",
        "is live: accuracy",
        "Research use only. Not a medical device.",
    ):
        assert said in told


def test_out_has_the_contact_sheet_and_the_curves(trained: Folders) -> None:
    (sheet,) = (trained.out / "reports").rglob("contact-sheet.png")
    with Image.open(BytesIO(sheet.read_bytes())) as image:
        assert image.width > 1000
    (curves,) = (trained.out / "models").rglob("accuracy.png")
    assert curves.read_bytes().startswith(b"\x89PNG")
    (decision,) = (trained.out / "models").rglob("decision.json")
    assert json.loads(decision.read_bytes())["decision"] == "promoted"
    (evaluation,) = (trained.out / "models").rglob("evaluation.json")
    assert json.loads(evaluation.read_bytes())["models"]["challenger"]["accuracy"]["value"] >= 0


def test_out_has_the_page_of_drift_of_all_that_was_predicted(trained: Folders) -> None:
    drift = trained.out / "reports/drift"
    assert json.loads((drift / "latest.json").read_bytes())["uploads"] == 2
    assert (drift / "index.html").read_text().startswith("<!doctype html>")
    assert f"learnt: {drift}/index.html" in (trained.root / "log").read_text()


def test_a_second_run_says_what_is_done_and_does_only_the_rest(folders: Folders) -> None:
    before = folders.results()
    folders.drop("new.png", seed=50)
    folders.drop("a.png", seed=60)
    code, told = folders.run("--once")
    assert code == 0, told
    assert "2 of 4 files already done." in told
    after = folders.results()
    assert set(after) == {*before, "new.png"}
    assert after["cut.png"] == before["cut.png"]
    assert after["a.png"]["source"]["version_id"] != before["a.png"]["source"]["version_id"]


def test_unchanged_labelled_files_are_not_trained_again(folders: Folders, trained: Folders) -> None:
    code, told = folders.run("--once", "--labelled", str(trained.root / "labelled"))
    assert code == 0, told
    assert "Training job" not in told
    assert "3 of 3 files already done." in told


def test_a_model_below_the_bar_is_told_and_the_older_one_answers(
    folders: Folders, trained: Folders, tmp_path: Path
) -> None:
    labelled = tmp_path / "labelled"
    shutil.copytree(trained.root / "labelled", labelled)
    write_tree(labelled, patients=1, slices=1, seed=4, size=48)
    folders.drop("new.png", seed=50)
    folders.settings["MinimumValidationAccuracy"] = "1"
    folders.settings["LearningRate"] = "0.000001"
    code, told = folders.run("--once", "--labelled", str(labelled))
    assert code == 0, told
    assert "gave no new model: accuracy" in told
    assert "below the minimum 1.000" in told
    assert "/log.txt" in told
    before = trained.results()["a.png"]["model"]["name"]
    assert folders.results()["new.png"]["model"]["name"] == before


def test_a_training_that_fails_is_told_with_its_reason_and_its_log_is_kept(
    trained: Folders, tmp_path: Path
) -> None:
    folders = Folders(tmp_path, {**SETTINGS, "ExtraHyperparameters": "nonsense=1"})
    folders.drop("a.png")
    shutil.rmtree(folders.state, ignore_errors=True)
    command = folders.command("--once", "--labelled", str(trained.root / "labelled"))
    place = command.index("--state")
    code, told = run_command([*command[:place], *command[place + 2 :]])
    assert code == 1, told
    assert "nonsense='1': there is no such name" in told
    assert "There is no live model" in told
    assert f"Logs: {folders.out}/logs" in told
    (log,) = (folders.out / "logs").glob("tomodrop-train-*.txt")
    assert log.stat().st_size > 0


def test_a_name_that_s3_cannot_take_is_told_rejected_and_code_1(folders: Folders) -> None:
    odd = Path(os.fsdecode(os.fsencode(folders.inbox) + b"/caf\xe9.png"))
    odd.write_bytes(picture(9))
    code, told = folders.run("--once")
    assert code == 1, told
    assert "not UTF-8" in told
    assert "Not done: some files cannot be uploaded" in told
    rejection = folders.results()["caf\N{REPLACEMENT CHARACTER}.png"]["rejection"]
    assert rejection["code"] == "file_name"
    assert rejection["remedy"] == "Rename it, and drop the file again."


def test_watching_answers_what_comes_until_ctrl_c(folders: Folders, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running(folders, log) as process:
        wait_for(log, "Watching", process)
        folders.drop("later/x.png", seed=70)
        wait_for(log, "later/x.png: ", process)
        while_it_runs = folders.audit()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the children get it too
        assert process.wait(60) == 0
    told = log.read_text()
    assert "Stopped. 4 of 4 files have their JSON." in told
    assert "later/x.png" in folders.results()
    assert "Traceback" not in told
    at_rest = folders.audit()
    assert while_it_runs[0] == at_rest[0] == 0, (while_it_runs, at_rest)
    digests = [re.search(r"sha256:[0-9a-f]{64}", said) for _, said in (while_it_runs, at_rest)]
    assert digests[0] is not None
    assert digests[1] is not None
    assert digests[0][0] == digests[1][0]


def test_stopped_before_the_end_is_code_1_with_once(folders: Folders, tmp_path: Path) -> None:
    folders.drop("x.png", seed=80)
    log = tmp_path / "log"
    with running(folders, log, "--once") as process:
        wait_for(log, "files already done", process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 1
    assert "Stopped. 3 of 4 files have their JSON; 1 are open: x.png." in log.read_text()


@pytest.mark.parametrize("phase", ["taking in", "waiting for the batch", "classifying"])
def test_after_kill_9_in_any_phase_a_restart_ends_with_one_json_per_file(
    phase: str, folders: Folders, tmp_path: Path
) -> None:
    names = [f"more/{number:02d}.png" for number in range(24)]
    folders.drop(*names, seed=100)
    log = tmp_path / "log"
    with running(folders, log, "--once") as process:
        wait_for(log, phase, process)
        process.kill()
    code, told = folders.run("--once")
    assert code == 0, told
    assert set(folders.results()) == {"a.png", "sub folder/b ü+1 肺.png", "cut.png", *names}
    assert "files already done." in told
    code, told = folders.audit()
    assert code == 0, told
    assert "27 answered" in told


def test_a_state_in_use_is_refused(folders: Folders, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running(folders, log) as process:
        wait_for(log, "Watching", process)
        code, told = folders.run("--once")
    assert code == 2, told
    assert "in use" in told


def test_without_a_model_in_the_state_there_is_no_answer(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    folders.drop("a.png")
    folders.state.mkdir()
    (folders.state / "note").write_text("made by hand")
    code, told = folders.run("--once")
    assert code == 1, told
    assert "There is no live model" in told
