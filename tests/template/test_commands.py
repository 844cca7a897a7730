"""The Makefile and what it installs: the commands that people and scripts call."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.template.deployed import ROOT

COMMANDS = {"setup", "demo", "run", "test", "check", "build", "clean"}
REQUIREMENTS = [
    path
    for path in (
        ROOT / "requirements.txt",
        *(ROOT / "functions").glob("requirements*.txt"),
        ROOT / "training" / "requirements.txt",
        ROOT / "local" / "requirements.txt",
    )
    if path.is_file()
]


def make(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    # Told apart from the make that may have started these tests.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_make_alone_lists_the_commands() -> None:
    listed = {line.split()[1] for line in make().stdout.splitlines()}
    assert listed >= COMMANDS


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_a_command_is_no_file(command: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    [phony] = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert command in phony.split()


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder with the Makefile and no environment yet."""
    (tmp_path / "Makefile").symlink_to(ROOT / "Makefile")
    for path in [*REQUIREMENTS, ROOT / "pyproject.toml"]:
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(exist_ok=True)
        copy.symlink_to(path)
    return tmp_path


def test_without_a_python_it_says_what_to_install(bare: Path) -> None:
    ran = make("setup", "PYTHONS=no-such-python", folder=bare)
    assert ran.returncode != 0
    assert "needs Python 3.11 or newer" in ran.stderr
    assert "make setup PYTHON=" in ran.stderr
    assert not (bare / ".venv").exists()


def test_a_python_that_is_too_old_is_refused(bare: Path, tmp_path: Path) -> None:
    old = tmp_path / "python-old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    ran = make("setup", f"PYTHON={old}", folder=bare)
    assert ran.returncode != 0
    assert "is no Python 3.11 or newer" in ran.stderr
    assert not (bare / ".venv").exists()


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_installed_is_pinned(path: Path) -> None:
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    asked = [line for line in lines if line and not line.startswith("#")]
    includes = [line.removeprefix("-r ") for line in asked if line.startswith("-r ")]
    packages = [line for line in asked if not line.startswith("-r ")]
    assert all((path.parent / include).is_file() for include in includes)
    loose = [
        line
        for line in packages
        if not re.fullmatch(r"[\w.\-]+(\[[\w,\-]+\])?==[\w.+]+(; .+)?", line)
    ]
    assert loose == []


def test_no_package_is_pinned_twice_differently() -> None:
    pins: dict[str, set[str]] = {}
    for path in REQUIREMENTS:
        for name, version in re.findall(
            r"^([\w.\-]+)(?:\[[^\]]*\])?==(\S+)", path.read_text(encoding="utf-8"), re.MULTILINE
        ):
            pins.setdefault(name.lower().replace("_", "-"), set()).add(version)
    assert {name: versions for name, versions in pins.items() if len(versions) > 1} == {}
