"""An import that was killed goes on where it was, and one that is done changes nothing."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.training.datasets.builders import groups, picture, run, save, skipped, tree

REPOSITORY = Path(__file__).parents[3]
PICTURES = 24
PATIENCE_S = 60


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "set"
    for seed in range(PICTURES):
        label = ("ill", "well")[seed % 2]
        save(picture(seed), root / label / f"p{seed // 6}" / f"{seed}.png")
    (root / "ill" / "p0" / "broken.png").write_text("no picture")
    return root


def everything(out: Path) -> dict[str, tuple[bytes, int]]:
    files = sorted(path for path in out.rglob("*") if path.is_file())
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_killed_in_the_middle_and_run_again_it_is_as_if_never_killed(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(picture(98, side=2000), source / "ill" / "p1" / "large.png")  # long enough to be met
    out, whole = tmp_path / "out", tmp_path / "whole"
    command = [sys.executable, "-m", "training.datasets", "import-folder", str(source), str(out)]
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + PATIENCE_S
        while len(list((out / ".import").glob("*.png"))) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
    assert 5 <= len(list((out / ".import").glob("*.png"))) < PICTURES // 2
    assert tree(out) == {}
    assert run("import-folder", source, whole) == 0
    capsys.readouterr()
    assert run("import-folder", source, out) == 0
    assert "sources were done by an earlier run" in capsys.readouterr().out
    assert tree(out) == tree(whole)
    assert len(tree(out)) == PICTURES + 1
    assert not (out / ".import").exists()


def test_a_second_run_changes_nothing(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("import-folder", source, out)
    before = everything(out)
    assert run("import-folder", source, out) == 0
    assert everything(out) == before
    assert skipped(out) == {"ill/p0/broken.png": "not_a_picture"}


def test_a_picture_that_was_not_yet_in_its_place_is_moved_there_unread(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a kill between the journal's line and the move leaves it."""
    out = tmp_path / "out"
    run("import-folder", source, out)
    before = tree(out)
    journal = (out / ".import.jsonl").read_text()
    staged = next(word for word in journal.split('"') if word.startswith(".import/"))
    name = next(name for name in before if name.endswith(staged.split("-", 1)[1]))
    (out / ".import").mkdir()
    (out / name).replace(out / staged)
    capsys.readouterr()
    assert run("import-folder", source, out) == 0
    assert f"{PICTURES + 1} sources were done by an earlier run" in capsys.readouterr().out
    assert tree(out) == before
    assert not (out / ".import").exists()


def test_a_torn_line_of_the_journal_is_dropped(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("import-folder", source, out)
    before, journal = tree(out), out / ".import.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    assert run("import-folder", source, out) == 0
    assert tree(out) == before
    for line in journal.read_text().splitlines():
        json.loads(line)


def test_what_was_deleted_or_changed_is_done_again(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("import-folder", source, out)
    before = tree(out)
    first, second = list(before)[:2]
    (out / first).unlink()
    stem = Path(second).name.rsplit("-", 1)[0]
    changed = next(source.rglob(f"{stem}.png"))
    save(picture(99), changed)
    assert run("import-folder", source, out) == 0
    after = tree(out)
    assert after.keys() == before.keys()
    assert after[first] == before[first]
    assert after[second] != before[second]


def test_a_newcomer_that_joins_two_groups_moves_what_was_there(
    source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run("import-folder", source, out)
    assert "p1" in groups(out, "ill")
    with Image.open(source / "ill" / "p1" / "6.png") as twin:
        save(twin, source / "ill" / "p0" / "twin.jpg", quality=80)
    assert run("import-folder", source, out) == 0
    assert "p1" not in groups(out, "ill")
    assert len(tree(out)) == PICTURES + 1


def test_other_options_are_refused(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    run("import-folder", source, out)
    before = everything(out)
    capsys.readouterr()
    assert run("import-folder", source, out, "--max-distance", "20") == 2
    assert "was begun as" in capsys.readouterr().err
    assert everything(out) == before


@pytest.mark.parametrize("content", [b"\xff\xfe\n", b"[]\n", b'{"other": 1}\n', b"{}\n{}\n"])
def test_a_journal_of_something_else_is_refused(
    content: bytes, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / ".import.jsonl").write_bytes(content)
    assert run("import-folder", source, out) == 2
    assert (out / ".import.jsonl").read_bytes() == content
    assert len(list(out.iterdir())) == 1
