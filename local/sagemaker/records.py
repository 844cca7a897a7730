"""What is remembered of a model or job: one JSON file each, always whole.

A record only ever changes by a pure function `Record → Record`, and the change is on disk before
anyone can see it, so that a SIGKILL leaves either the state before it or the state after it.
"""

import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

Kind = Literal["model", "training-job", "transform-job"]
KINDS: tuple[Kind, ...] = ("model", "training-job", "transform-job")
Json = dict[str, Any]


@dataclass(frozen=True)
class Record:
    """One model or job.

    `description` is exactly what Describe answers (times in epoch seconds). `notes` are ours: what
    a restart needs to know. `undelivered` are the events nobody has taken yet, oldest first.
    """

    kind: Kind
    name: str
    arn: str
    description: Json
    modified: float
    notes: Json = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    undelivered: tuple[Json, ...] = ()

    def describing(self, now: float, **changes: Any) -> "Record":
        """The record with these fields of its description set; None removes a field."""
        merged = {**self.description, **changes}
        description = {key: value for key, value in merged.items() if value is not None}
        return replace(self, description=description, modified=now)

    def noting(self, **changes: Any) -> "Record":
        """The record with these notes."""
        return replace(self, notes={**self.notes, **changes})

    def tagged(self, tags: dict[str, str]) -> "Record":
        """The record with these tags."""
        return replace(self, tags=tags)


Change = Callable[[Record], Record]


class RecordStore:
    """All records, in memory and under `directory`/<kind>/<name>.json.

    `lock` may be held by a caller that has to look and then write (names, quotas).
    """

    def __init__(self, directory: Path) -> None:
        self.lock = threading.RLock()
        self._directory = directory
        self._records: dict[Kind, dict[str, Record]] = {kind: {} for kind in KINDS}
        for kind in KINDS:
            (directory / kind).mkdir(parents=True, exist_ok=True)
            for path in sorted((directory / kind).glob("*.json")):
                record = _decode(path.read_text(encoding="utf-8"))
                self._records[kind][record.name] = record

    def find(self, kind: Kind, name: str) -> Record | None:
        """The record, or None."""
        with self.lock:
            return self._records[kind].get(name)

    def get(self, kind: Kind, name: str) -> Record:
        """The record; KeyError when there is none."""
        with self.lock:
            return self._records[kind][name]

    def all(self, kind: Kind) -> list[Record]:
        """Every record of a kind, in no particular order."""
        with self.lock:
            return list(self._records[kind].values())

    def __iter__(self) -> Iterator[Record]:
        return iter([record for kind in KINDS for record in self.all(kind)])

    def put(self, record: Record) -> None:
        """Add or overwrite a record."""
        with self.lock:
            _write_atomically(self._path(record.kind, record.name), _encode(record))
            self._records[record.kind][record.name] = record

    def update(self, kind: Kind, name: str, change: Change) -> Record:
        """Change one record; returns it as it is now."""
        with self.lock:
            record = change(self._records[kind][name])
            self.put(record)
            return record

    def remove(self, kind: Kind, name: str) -> None:
        """Forget a record: its name is free again (models only: job names are never reused)."""
        with self.lock:
            self._path(kind, name).unlink(missing_ok=True)
            del self._records[kind][name]

    def _path(self, kind: Kind, name: str) -> Path:
        return self._directory / kind / f"{name}.json"


def _encode(record: Record) -> str:
    return json.dumps(asdict(record), indent=1)


def _decode(text: str) -> Record:
    fields = json.loads(text)
    return Record(**{**fields, "undelivered": tuple(fields["undelivered"])})


def _write_atomically(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
