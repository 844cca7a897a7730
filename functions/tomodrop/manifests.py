"""What a training job and its judges read, made from the tables in two passes and bounded memory.

`lay_out` goes through the slices in slice order, once: each gets a random number, and what is said
of the set is gathered. Sorting by those numbers is the shuffle: every order is equally likely.
"""

import hashlib
import json
import random
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from typing import Any

from tomodrop import keys
from tomodrop.halves import TRAIN, VALIDATION, group_code
from tomodrop.shortcuts import Facts, facts_of_upload
from tomodrop.summaries import SCALES

# The attribute of a manifest's line that only the algorithm of ours reads.
GROUP = "group"
# A slice that comes more often teaches its noise.
MOST_REPEATS = 10

SCHEMA = """
CREATE TABLE placed (half TEXT, key INTEGER, slice_id TEXT, label INTEGER, code TEXT);
"""
_IN_ORDER = """
SELECT name, upload.id, number, mean, spread, lit FROM slice JOIN upload ON upload.id = slice.upload
WHERE slice.id NOT IN (SELECT slice FROM left_out) ORDER BY name, number
"""
_UPLOAD = "SELECT label, grp, width, height, format, lossy, alpha FROM upload WHERE id = ?"

Row = tuple[str, int, str, int, str]


@dataclass(frozen=True)
class Plan:
    """How the slices are to be laid out.

    `halves`: of every group. `repeats`: how often a training slice of each class comes, by label,
    see `repeats`. `seed` decides the order of the manifests.
    """

    halves: Mapping[str, str]
    split_key: str
    repeats: Sequence[float]
    seed: str


@dataclass
class LaidOut:
    """What is said of the set: `training_samples` counts repeats, `digest` and `facts` do not.

    `uploads`: of each half. `greys`: slices of the training half by number and cell of its scale,
    see `summaries`.
    """

    facts: Facts
    training_samples: int = 0
    digest: str = ""
    uploads: dict[str, int] = field(default_factory=lambda: {TRAIN: 0, VALIDATION: 0})
    greys: dict[str, list[int]] = field(
        default_factory=lambda: {name: [0] * scale.cells for name, scale in SCALES.items()}
    )


def repeats(slices: Sequence[int]) -> list[float]:
    """How often a training slice of each class comes, for all classes to come about equally often.

    At most `MOST_REPEATS` times. `slices`: of each class in the training half, none of them 0.
    """
    return [min(float(MOST_REPEATS), max(slices) / count) for count in slices]


def lay_out(tables: sqlite3.Connection, plan: Plan, class_count: int) -> LaidOut:
    """Fill `placed` with the slices, and say what the set is."""
    walk = _Walk(tables, plan, LaidOut(Facts(class_count)))
    tables.executemany("INSERT INTO placed VALUES (?, ?, ?, ?, ?)", walk.rows())
    return walk.made


class _Walk:
    """One way through the slices, in slice order."""

    def __init__(self, tables: sqlite3.Connection, plan: Plan, made: LaidOut) -> None:
        self._tables, self._plan, self.made = tables, plan, made
        self._digest = hashlib.sha256()
        self._is_first = True
        self._seen = [0] * made.facts.class_count
        # An order, not a secret.
        self._random = {
            half: random.Random(f"{plan.seed}/{half}")  # noqa: S311
            for half in (TRAIN, VALIDATION)
        }

    def rows(self) -> Iterator[Row]:
        """A row of `placed` for each slice, more for one that is repeated."""
        slices = self._tables.execute(_IN_ORDER)
        for name, of_upload in groupby(slices, lambda row: row[0]):
            rows = list(of_upload)
            label, group, *described = self._tables.execute(_UPLOAD, (rows[0][1],)).fetchone()
            half = self._plan.halves[group]
            self._note_upload(half, label, described, len(rows))
            code = _code(group, self._plan.split_key)
            for _, _, number, *greys in rows:
                slice_id = f"{name}-{number:05d}"
                self._note_slice(slice_id, half, label, group, greys)
                for _ in range(self._times(half, label)):
                    yield half, self._random[half].getrandbits(63), slice_id, label, code
        self.made.digest = self._digest.hexdigest()

    def _times(self, half: str, label: int) -> int:
        """1, or for a repeated class as often as brings it to its share by now."""
        if half == VALIDATION:
            return 1
        seen, factor = self._seen[label], self._plan.repeats[label]
        self._seen[label] = seen + 1
        times = int((seen + 1) * factor + _ROUND) - int(seen * factor + _ROUND)
        self.made.training_samples += times
        return times

    def _note_upload(self, half: str, label: int, described: list[Any], slices: int) -> None:
        width, height, kind, is_lossy, alpha = described
        facts = facts_of_upload(width, height, kind, alpha, is_lossy=bool(is_lossy))
        self.made.facts.add(half, label, facts, slices)
        self.made.uploads[half] += 1

    def _note_slice(
        self, slice_id: str, half: str, label: int, group: str, greys: Sequence[float | None]
    ) -> None:
        line = f"{slice_id} {label} {group}"
        self._digest.update((line if self._is_first else f"\n{line}").encode())
        self._is_first = False
        mean, spread, lit = greys
        if mean is None or spread is None or lit is None:
            return
        self.made.facts.add(half, label, {"mean": int(mean), "spread": int(spread)})
        if half == TRAIN:
            # The cells of `SCALES`, without its care for values beyond them: of pixels are none.
            counts = self.made.greys
            counts["mean"][int(mean)] += 1
            counts["spread"][int(spread)] += 1
            counts["lit_share"][int(100 * lit)] += 1


# Lest 3 x 1.999… be one less than 6.
_ROUND = 1e-9


@lru_cache(maxsize=4096)
def _code(group: str, split_key: str) -> str:
    return group_code(group, split_key)


def manifest(
    tables: sqlite3.Connection, half: str, work_bucket: str, *, with_groups: bool
) -> Iterator[str]:
    """Lines of an augmented manifest in a shuffled order (SageMaker, "Augmented Manifest File").

    Shuffled here as well as by the job: without ShuffleConfig SageMaker streams the file's order,
    and a file sorted by class does not train. A group's name may be a patient's: its code is sent
    in its place (for the algorithm of ours), the same in every job.
    """
    rows = tables.execute(
        "SELECT slice_id, label, code FROM placed WHERE half = ? ORDER BY key, slice_id", (half,)
    )
    folder = json.dumps(f"s3://{work_bucket}/{keys.DATASET_SLICES}")[:-1]
    for slice_id, label, code in rows:
        group = f', "{GROUP}": "{code}"' if with_groups else ""
        yield f'{{"source-ref": {folder}{slice_id}.png", "class": "{label}"{group}}}\n'


def held_out(tables: sqlite3.Connection) -> Iterator[str]:
    """JSON Lines, in slice order: what each validation slice is, for whoever scores models."""
    rows = tables.execute(
        "SELECT slice_id, label, code FROM placed WHERE half = ? ORDER BY rowid", (VALIDATION,)
    )
    for slice_id, label, code in rows:
        yield f'{{"slice_id": "{slice_id}", "label": {label}, "group": "{code}"}}\n'
