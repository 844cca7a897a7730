"""The audit of the labelled set before a training: what is in it, what was left out, and why.

`models/<job>/audit.json` and `audit.html` in the predictions bucket, for people; all that was left
out is named in `models/<job>/left_out.jsonl`, by upload key.
"""

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from aws_lambda_powertools import Logger

from tomodrop import copies, dataset, keys, objects
from tomodrop.audit_page import page
from tomodrop.clients import App
from tomodrop.copies import Search
from tomodrop.halves import TRAIN, VALIDATION, group_code
from tomodrop.predictions import NOTICE
from tomodrop.settings import Settings
from tomodrop.shortcuts import Shortcut

logger = Logger(child=True)

# Of a group that has no half yet, in a set that could not be halved.
UNDECIDED = "undecided"
# Of groups and slices that the audit itself lists; there may be millions.
MOST_GROUPS, MOST_NAMED = 1000, 100


@dataclass(frozen=True)
class Tally:
    """Slices that are left in, by half and label, and by group: (code, half, slices by label)."""

    slices: dict[str, list[int]]
    groups: list[tuple[str, str, list[int]]]

    def group_count(self, half: str) -> int:
        """How many groups a half has."""
        return sum(of == half for _, of, _ in self.groups)


def tally_of(tables: sqlite3.Connection, halves: Mapping[str, str], settings: Settings) -> Tally:
    """Count what is left in; groups that have no half are `UNDECIDED`."""
    class_count = len(settings.class_names)
    slices = {half: [0] * class_count for half in (TRAIN, VALIDATION)}
    groups: defaultdict[str, list[int]] = defaultdict(lambda: [0] * class_count)
    for label, group, count in dataset.counts(tables):
        of_half = slices.setdefault(halves.get(group, UNDECIDED), [0] * class_count)
        of_half[label] += count
        groups[group][label] += count
    coded = [
        (group_code(group, settings.split_key), halves.get(group, UNDECIDED), counts)
        for group, counts in groups.items()
    ]
    return Tally(slices, sorted(coded, key=lambda one: (-sum(one[2]), one[0])))


def warnings_of(shortcuts: Sequence[Shortcut], threshold: float) -> list[str]:
    """A sentence for each shortcut of at least this AUC."""
    return [
        f"{one.fact} alone tells '{one.class_name}' from the rest on held-out groups with an AUC "
        f"of {one.auc:.2f} (ShortcutWarning {threshold:g}): a model may learn it instead of the "
        "lung. Take both classes from the same sources, or make them alike."
        for one in shortcuts
        if one.auc >= threshold
    ]


def report(
    app: App,
    tables: sqlite3.Connection,
    job: str,
    tallied: Tally,
    search: Search,
    shortcuts: Sequence[Shortcut],
) -> dict[str, Any]:
    """What `audit.json` says, all but the decision."""
    settings = app.settings
    return {
        "training_job": job,
        "classes": list(settings.class_names),
        "slices": {
            half: dict(zip(settings.class_names, of_half, strict=True))
            for half, of_half in tallied.slices.items()
        },
        "groups": {half: tallied.group_count(half) for half in tallied.slices},
        "largest_groups": [
            {"group": code, "half": half, "slices": _by_name(settings, counts)}
            for code, half, counts in tallied.groups[:MOST_GROUPS]
        ],
        "left_out": {
            "slices": _reasons(tables),
            "named": [_named(row) for row in _left_out(tables, MOST_NAMED)],
            "all": f"{keys.MODELS}{job}/left_out.jsonl",
        },
        "copies_within_groups": copies.within_groups(tables),
        "near_copies": asdict(search) | {"without_hash": _without_hash(tables)},
        "unusable": _unusable(app, tables),
        "repeats": dict.fromkeys(settings.class_names, 1.0),
        "shortcuts": [asdict(one) for one in shortcuts],
        "warnings": warnings_of(shortcuts, settings.shortcut_warning),
        "notice": NOTICE,
    }


def _by_name(settings: Settings, counts: Sequence[int]) -> dict[str, int]:
    named = zip(settings.class_names, counts, strict=True)
    return {name: count for name, count in named if count}


def _reasons(tables: sqlite3.Connection) -> dict[str, dict[str, int]]:
    """How many slices were left out as exact and as near copies, by reason."""
    found = {reason: Counter(exact=0, near=0) for reason in (copies.OPPOSITE, copies.ACROSS)}
    rows = tables.execute("SELECT reason, distance = 0, COUNT(*) FROM left_out GROUP BY 1, 2")
    for reason, is_exact, count in rows:
        found[reason]["exact" if is_exact else "near"] += count
    return {reason: dict(counts) for reason, counts in found.items()}


_LEFT_OUT = """
SELECT reason, distance, u.key, s.number, u.label, c.key, o.number, c.label FROM left_out
JOIN slice s ON s.id = left_out.slice JOIN upload u ON u.id = s.upload
JOIN slice o ON o.id = left_out.other JOIN upload c ON c.id = o.upload
ORDER BY reason, u.key, s.number LIMIT ?
"""


def _left_out(tables: sqlite3.Connection, most: int = -1) -> Iterator[tuple[Any, ...]]:
    yield from tables.execute(_LEFT_OUT, (most,))


def _named(row: tuple[Any, ...]) -> dict[str, Any]:
    reason, distance, key, number, label, other_key, other_number, other_label = row
    return {
        "key": key,
        "slice": number,
        "label": label,
        "reason": reason,
        "differing_bits": distance,
        "copy_of": {"key": other_key, "slice": other_number, "label": other_label},
    }


def _without_hash(tables: sqlite3.Connection) -> int:
    (count,) = tables.execute("SELECT COUNT(*) FROM slice WHERE phash IS NULL").fetchone()
    return int(count)


def _unusable(app: App, tables: sqlite3.Connection) -> dict[str, dict[str, int]]:
    """Uploads and slices that nothing is learnt from, by reason, with those that were rejected."""
    found = dataset.unusable(tables)
    bucket = app.settings.predictions_bucket
    rejected = sum(1 for _ in objects.listing(app.s3, bucket, keys.REJECTED_LABELLED))
    counted = {
        state: {"uploads": found.uploads.get(state, 0), "slices": slices}
        for state, slices in sorted(found.slices.items())
    }
    return counted | {"rejected": {"uploads": rejected, "slices": 0}}


def publish_audit(app: App, tables: sqlite3.Connection, audit: Mapping[str, Any]) -> None:
    """Put the audit, its page, and the names of all that was left out where people look.

    Its warnings are logged as well.
    """
    bucket = app.settings.predictions_bucket
    folder = f"{keys.MODELS}{audit['training_job']}/"
    lines = (json.dumps(_named(row), ensure_ascii=False) + "\n" for row in _left_out(tables))
    objects.write_stream(app.s3, bucket, f"{folder}left_out.jsonl", lines, "application/jsonl")
    body = page(audit).encode()
    objects.write(app.s3, bucket, f"{folder}audit.html", body, "text/html; charset=utf-8")
    body = json.dumps(audit, indent=2, ensure_ascii=False).encode()
    objects.write(app.s3, bucket, f"{folder}audit.json", body, "application/json")
    for warning in audit["warnings"]:
        logger.warning("audit: %s", warning)
