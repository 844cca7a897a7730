"""OUT: the predictions bucket as a folder, written as results come.

Only what changed is fetched, and each file appears at once or not at all. A result that S3 no
longer has, because a newer version of the upload ended the other way, goes from OUT as well.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from local.folders import printable
from local.plan import Answer

PREDICTIONS, REJECTED = "predictions/", "rejected/"
TWINS = {PREDICTIONS: REJECTED, REJECTED: PREDICTIONS}
RESULT, MAPS = ".json", ".map.png"
# What most file systems allow a file or folder to be called.
MAX_NAME_BYTES = 255
READ_BYTES = 1024 * 1024


class Mirror:
    """Keeps `out` like `bucket`. `answers` holds the results by their key in the bucket."""

    def __init__(self, s3: Any, bucket: str, out: Path) -> None:
        self._s3, self._bucket, self._out = s3, bucket, out
        self._etags: dict[str, str] = {}
        self.answers: dict[str, Answer] = {}
        self.problems: dict[str, str] = {}

    def refresh(self) -> list[str]:
        """Fetch what is new or changed and drop what is gone; returns the new keys.

        What cannot be written is noted in `problems` by its key, and tried again next time.
        """
        listed = dict(self._list())
        for key in self._etags.keys() - listed.keys():
            self._remove(key)
        changed = [key for key, etag in listed.items() if self._etags.get(key) != etag]
        for key in changed:
            try:
                self._fetch(key, listed)
            except (OSError, ValueError) as error:
                self.problems[key] = f"{printable(key)} cannot be written to OUT: {error}"
            else:
                self.problems.pop(key, None)
        return [key for key in changed if key in self._etags]

    @property
    def keys(self) -> list[str]:
        """What OUT holds, by its key."""
        return sorted(self._etags)

    def path_of(self, key: str) -> Path:
        """Where an object lies in OUT. Raises ValueError for a key that would leave it."""
        return self._out / local_name(key)

    def _list(self) -> Iterator[tuple[str, str]]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket)
        for page in pages:
            for found in page.get("Contents", []):
                yield found["Key"], found["ETag"].strip('"')

    def _fetch(self, key: str, listed: dict[str, str]) -> None:
        path = self.path_of(key)
        if not _holds(path, listed[key]):
            try:
                got = self._s3.get_object(Bucket=self._bucket, Key=key)
            except self._s3.exceptions.NoSuchKey:
                return  # replaced by its twin since it was listed
            with got["Body"] as body:
                write_atomically(path, iter(lambda: body.read(READ_BYTES), b""))
        if key.startswith((PREDICTIONS, REJECTED)) and key.endswith(RESULT):
            self.answers[key] = read_answer(path.read_bytes())
            self._remove_stale(key, listed)
        self._etags[key] = listed[key]

    def _remove_stale(self, key: str, listed: dict[str, str]) -> None:
        # Of an earlier run whose state is gone: one upload has one JSON, and that JSON's maps.
        folder = PREDICTIONS if key.startswith(PREDICTIONS) else REJECTED
        name = key.removeprefix(folder)
        for other in (TWINS[folder] + name, PREDICTIONS + name.removesuffix(RESULT) + MAPS):
            if other not in listed:
                self.path_of(other).unlink(missing_ok=True)

    def _remove(self, key: str) -> None:
        self.path_of(key).unlink(missing_ok=True)
        self.answers.pop(key, None)
        del self._etags[key]


def read_answer(body: bytes) -> Answer:
    """What a result JSON says. Raises ValueError for a body that is none."""
    try:
        return _read_answer(json.loads(body))
    except (AttributeError, KeyError, TypeError) as error:
        message = f"it is no result: {error!r}"
        raise ValueError(message) from error


def _read_answer(result: dict[str, Any]) -> Answer:
    prediction, rejection = result.get("prediction") or {}, result.get("rejection") or {}
    return Answer(
        status=result["status"],
        version_id=result["source"]["version_id"] or "",
        etag=result["source"]["etag"],
        label=prediction.get("label", ""),
        probability=prediction.get("probability", 0.0),
        code=rejection.get("code", ""),
    )


def local_name(key: str) -> Path:
    """The relative path of a key. Parts that are too long for a disk are cut and stay unique.

    Raises
    ------
    ValueError
        A part is empty, `.` or `..`, or holds a NUL: such a key is no path below OUT.
    """
    parts = key.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        message = "its key is no path below a folder"
        raise ValueError(message)
    return Path(*map(_fit_name, parts))


def _fit_name(name: str) -> str:
    encoded = name.encode()
    if len(encoded) <= MAX_NAME_BYTES:
        return name
    tail = f"~{hashlib.sha256(encoded).hexdigest()[:16]}{Path(name).suffix[:16]}"
    return encoded[: MAX_NAME_BYTES - len(tail.encode())].decode(errors="ignore") + tail


def _holds(path: Path, etag: str) -> bool:
    """Whether the file is there with these bytes (the ETag of an object put at once is its MD5)."""
    if not path.is_file():
        return False
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == etag


def write_atomically(path: Path, pieces: Iterator[bytes]) -> None:
    """Write a file that appears complete or not at all; a folder is made for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tomodrop-{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            for piece in pieces:
                file.write(piece)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
