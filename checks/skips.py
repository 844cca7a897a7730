"""Which findings are let pass: each by a rule that says where and why, and none that is idle."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from checks.findings import Finding


@dataclass(frozen=True)
class Skip:
    """Lets findings of a rule pass, on subjects that match a pattern, in some forms."""

    tool: str
    rule: str
    forms: tuple[str, ...]
    subjects: tuple[str, ...]
    reason: str

    @property
    def places(self) -> list[tuple[str, str]]:
        """Every form with every subject: each of them has to be needed."""
        return [(form, subject) for form in self.forms for subject in self.subjects]

    def covers(self, finding: Finding, place: tuple[str, str]) -> bool:
        """Whether it lets the finding pass at this place."""
        form, subject = place
        return (
            (self.tool, self.rule, form) == (finding.tool, finding.rule, finding.form)
        ) and fnmatchcase(finding.subject, subject)


def read_skips(path: Path) -> list[Skip]:
    """The skips of a file. Raises ValueError for one that is incomplete or gives no reason."""
    return [_skip(entry) for entry in yaml.safe_load(path.read_text(encoding="utf-8"))]


def _skip(entry: Any) -> Skip:
    wanted = {"tool", "rule", "forms", "subjects", "reason"}
    if not isinstance(entry, dict) or entry.keys() != wanted:
        raise ValueError(f"a skip has {', '.join(sorted(wanted))}, and this one has not: {entry}")
    if len(str(entry["reason"]).split()) < 4 or not entry["forms"] or not entry["subjects"]:
        raise ValueError(f"a skip gives its reason in words, and where it is for: {entry}")
    return Skip(
        tool=str(entry["tool"]),
        rule=str(entry["rule"]),
        forms=tuple(entry["forms"]),
        subjects=tuple(entry["subjects"]),
        reason=str(entry["reason"]),
    )


def unexplained(findings: Iterable[Finding], skips: Iterable[Skip]) -> list[Finding]:
    """Findings that no skip lets pass."""
    known = list(skips)
    return sorted(
        finding
        for finding in set(findings)
        if not any(skip.covers(finding, place) for skip in known for place in skip.places)
    )


def idle(findings: Iterable[Finding], skips: Iterable[Skip]) -> list[tuple[Skip, tuple[str, str]]]:
    """Skips with a place where nothing is found any more."""
    found = set(findings)
    return [
        (skip, place)
        for skip in skips
        for place in skip.places
        if not any(skip.covers(finding, place) for finding in found)
    ]
