"""The receipt: what became of every upload version, line by line.

A line has one of these statuses.

answered     one JSON, and it is of this, the current version
taken_in     a labelled upload that is in the data set
missing      no JSON
stale        one JSON, of an earlier version: that of the current one is missing
doubled      a prediction and a rejection
damaged      its JSON cannot be read, or names another upload
upload_gone  a JSON whose upload was deleted or never came to be: results stay
superseded   an earlier version: a newer one took its place
deleted      a version of an upload that was deleted

Superseded and deleted versions are forgotten some time later (the lifecycle of the uploads bucket),
so the digest of a receipt leaves their lines out: all others are the same months later.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tomodrop import keys
from tomodrop.listings import Upload, Version
from tomodrop.merge_join import Row

FAULTS = frozenset({"missing", "stale", "doubled", "damaged"})
PASSING = ("superseded", "deleted")
# Lines begin with their status, so that a command tells them apart:
#   grep -vE '^\{"status":"(superseded|deleted)"' RECEIPT | sha256sum
_PASSING_STARTS = tuple(f'{{"status":"{status}"'.encode() for status in PASSING)


@dataclass(frozen=True, slots=True)
class Found:
    """A result JSON: where it lies, the SHA-256 of its bytes, and what it says.

    `source` is None for one that cannot be read.
    """

    key: str
    sha256: str
    status: str = ""
    source: dict[str, Any] | None = None
    model: dict[str, Any] | None = None

    @property
    def shown(self) -> dict[str, Any]:
        """As in a line of the receipt."""
        shown: dict[str, Any] = {"json": self.key, "sha256": self.sha256}
        if self.source is not None:
            shown |= {"status": self.status, "version_id": self.source.get("version_id")}
        if self.model is not None:
            shown |= {name: self.model.get(name) for name in ("name", "training_job")}
        return shown


def read_result(key: str, body: bytes) -> Found:
    """What a result says, whatever its version; one that is none has no source."""
    digest = hashlib.sha256(body).hexdigest()
    try:
        result = json.loads(body)
        source, status = dict(result["source"]), str(result["status"])
        model = dict(result["model"]) if result.get("model") else None
        str_key = source["key"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Found(key, digest)
    if not isinstance(str_key, str):
        return Found(key, digest)
    return Found(key, digest, status, source, model)


def lines_of(
    row: Row, found: Sequence[Found], *, is_taken_in: bool = False
) -> Iterator[dict[str, Any]]:
    """The lines of one row: of the current version, or of results alone, then of earlier ones."""
    upload = row.upload
    results = [one.shown for one in found]
    if upload and upload.current:
        status = "taken_in" if is_taken_in else _status(upload, upload.current, found)
        yield _line(status, upload.key, upload.current) | {"results": results}
    elif found:
        yield {"status": _status_without(row, found), "key": _named(found), "results": results}
    if upload:
        passing = "superseded" if upload.current else "deleted"
        for version in upload.earlier:
            yield _line(passing, upload.key, version)


def _line(status: str, key: str, version: Version) -> dict[str, Any]:
    return {
        "status": status,
        "key": key,
        "version_id": version.version_id,
        "etag": version.etag,
        "size_bytes": version.size_bytes,
    }


def _status(upload: Upload, current: Version, found: Sequence[Found]) -> str:
    if not found:
        return "missing"
    if len(found) > 1:
        return "doubled"
    source = found[0].source
    if source is None or source["key"] != upload.key:
        return "damaged"
    return "answered" if _is_of(source, current) else "stale"


def _is_of(source: dict[str, Any], version: Version) -> bool:
    if version.version_id not in ("", "null"):
        return bool(source.get("version_id") == version.version_id)
    return bool(source.get("etag") == version.etag)


def _status_without(row: Row, found: Sequence[Found]) -> str:
    if len(found) > 1:
        return "doubled"
    key = _named(found)
    return "upload_gone" if key and keys.result_name(key) == row.name else "damaged"


def _named(found: Sequence[Found]) -> str | None:
    """The upload that results name."""
    return next((str(one.source["key"]) for one in found if one.source), None)


def write_line(line: dict[str, Any]) -> bytes:
    """A line of the receipt, as it is stored and digested."""
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def digested(body: bytes) -> Iterator[bytes]:
    """Those lines of a piece of a receipt that its digest is of."""
    return (line for line in body.splitlines(keepends=True) if not line.startswith(_PASSING_STARTS))
