"""What an import did: counts for people, and every path that was left out in a JSON lines file."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from training.datasets.files import write_atomically

NAME = ".import-report.jsonl"
SUSPICIOUS = "near_duplicate_across_classes"


@dataclass(frozen=True)
class Skipped:
    """A path that was left out: relative to the source folder, the reason as a word, and more."""

    path: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Suspicious:
    """Two pictures that look alike and bear different classes: one label is likely wrong."""

    paths: tuple[str, str]
    distance: int


@dataclass
class Outcome:
    """The result of an import: slices by class and group, and what was noticed."""

    slices: Counter[tuple[str, str]] = field(default_factory=Counter)
    skipped: list[Skipped] = field(default_factory=list)
    suspicious: list[Suspicious] = field(default_factory=list)
    already_done: int = 0

    @property
    def exit_code(self) -> int:
        """0, or 1 when nothing was imported."""
        return 0 if self.slices else 1

    def skip(self, path: str, reason: str, detail: str) -> None:
        """Note that a path was left out."""
        self.skipped.append(Skipped(path, reason, detail))


def write_report(out: Path, outcome: Outcome) -> Path:
    """Leave the report in OUT; one that would say the same is not written again."""
    path = out / NAME
    content = "".join(json.dumps(line) + "\n" for line in _lines(outcome)).encode()
    if not path.exists() or path.read_bytes() != content:
        write_atomically(path, content)
    return path


def _lines(outcome: Outcome) -> Iterator[dict[str, object]]:
    for pair in sorted(outcome.suspicious, key=lambda pair: pair.paths):
        yield {"suspicious": SUSPICIOUS, "paths": pair.paths, "distance": pair.distance}
    for left in sorted(outcome.skipped, key=lambda left: left.path):
        yield {"skipped": left.path, "reason": left.reason, "detail": left.detail}


def summary(outcome: Outcome, out: Path) -> Iterator[str]:
    """What to print, line by line."""
    total = outcome.slices.total()
    groups = {group for _, group in outcome.slices}
    yield f"{total:,} slices in {len(groups):,} groups in {out}"
    for name in sorted({name for name, _ in outcome.slices}):
        counts = [count for (label, _), count in outcome.slices.items() if label == name]
        yield f"  {name}: {sum(counts):,} slices in {len(counts):,} groups"
    if outcome.already_done:
        yield f"{outcome.already_done:,} sources were done by an earlier run"
    for reason, count in sorted(Counter(left.reason for left in outcome.skipped).items()):
        yield f"skipped, {reason}: {count:,}"
    if outcome.suspicious:
        yield (
            f"suspicious: {len(outcome.suspicious):,} pairs look alike across classes; each pair "
            "shares a group, and one of its labels may be wrong"
        )
    yield from _warnings(groups, outcome)
    if outcome.skipped or outcome.suspicious:
        yield f"every path with its reason: {out / NAME}"


def _warnings(groups: set[str], outcome: Outcome) -> Iterator[str]:
    names = {name for name, _ in outcome.slices}
    for name in sorted(names):
        counts = [count for (label, _), count in outcome.slices.items() if label == name]
        if max(counts) * 2 > sum(counts):
            yield (
                f"warning: one group holds {max(counts):,} of the {sum(counts):,} slices of "
                f"{name}; validation on whole groups will be lopsided"
            )
    if outcome.slices and (len(names) < 2 or len(groups) < 2):
        yield "warning: training needs two classes, and two groups of each"


def relative_name(path: Path, root: Path) -> str:
    """How a path is named in journal and report."""
    return path.relative_to(root).as_posix()
