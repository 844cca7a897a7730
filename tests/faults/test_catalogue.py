"""docs/reliability.md names a test for every fault, and the tests are there."""

import re
from pathlib import Path

from tests.faults.mutants import MUTANTS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reliability.md").read_text()
ROWS = re.findall(r"^\| (\d+) \| (.+?) \| (.+) \|$", PAGE, re.MULTILINE)
_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def test_every_fault_of_the_catalogue_has_a_row() -> None:
    assert [int(number) for number, _, _ in ROWS] == list(range(1, 40))


def test_every_row_names_tests_that_are_there() -> None:
    absent = []
    for number, _, where in ROWS:
        named = _NAMED.findall(where)
        assert named, f"row {number} names no test"
        absent += [
            f"row {number}: {path}::{name}"
            for path, name in named
            if not re.search(rf"^    def {name}\(|^def {name}\(", _text(path), re.MULTILINE)
        ]
    assert absent == []


def test_every_broken_guard_is_listed() -> None:
    assert [name for name in MUTANTS if f"- {name}\n" not in PAGE] == []


def _text(path: str) -> str:
    file = ROOT / path
    return file.read_text() if file.exists() else ""
