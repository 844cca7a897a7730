"""What an import has done already, so that one that was killed goes on where it was.

OUT/.import.jsonl, one JSON object a line, only ever added to. The first line says which import
this is; each later one tells of one source: what its bytes were (size and time of modification),
and what became of it. A line that a kill tore off is dropped.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from training.datasets.failure import OtherImportError

NAME = ".import.jsonl"
STAGING = ".import"
"""Folder below OUT for what is not in its place yet; hidden, so that no upload takes it."""
VERSION = 1


class Journal:
    """The latest entry of each source, and the file that new ones are added to."""

    def __init__(self, entries: dict[str, dict[str, Any]], file: TextIO) -> None:
        self._entries, self._file = entries, file

    def of(self, source: str, path: Path) -> dict[str, Any] | None:
        """What became of `source`; None if that is not known or the file has changed since."""
        entry = self._entries.get(source)
        known = entry is not None and entry.items() >= _fingerprint(path).items()
        return entry if known else None

    def add(self, source: str, path: Path, result: Mapping[str, Any]) -> dict[str, Any]:
        """Note what became of `source`; returns the entry."""
        entry = {"source": source, **_fingerprint(path), **result}
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()
        self._entries[source] = entry
        return entry


@contextmanager
def open_journal(out: Path, options: Mapping[str, Any]) -> Iterator[Journal]:
    """Open OUT's journal, or begin one; `options` are all that the result depends on.

    Raises
    ------
    OtherImportError
        OUT holds files but no journal, or a journal of an import with other options.
    """
    header = {"tomodrop_import": VERSION, **options}
    path = out / NAME
    entries: dict[str, dict[str, Any]] = {}
    if path.exists():
        entries = _read(path, header)
    elif out.exists() and any(out.iterdir()):
        raise OtherImportError(
            f"{out} holds files that no import has left; give a new or an empty folder"
        )
    out.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        if file.tell() == 0:
            file.write(json.dumps(header) + "\n")
            file.flush()
        yield Journal(entries, file)


def _read(path: Path, header: dict[str, Any]) -> dict[str, dict[str, Any]]:
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        with path.open("r+b") as file:
            file.truncate(len(whole))
    try:
        first, *lines = [json.loads(line) for line in whole.splitlines()] or [header]
        entries = {line["source"]: line for line in lines}
        told = _told(first)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OtherImportError(
            f"{path} is no journal of an import ({error}); give a new folder"
        ) from error
    if first != json.loads(json.dumps(header)):
        raise OtherImportError(
            f"{path.parent} was begun as {told}, and this is {_told(header)}; repeat those "
            "options to go on with it, or give a new folder"
        )
    return entries


def _told(header: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in header.items())


def _fingerprint(path: Path) -> dict[str, int]:
    status = path.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
