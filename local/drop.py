"""A folder whose files are dropped into the uploads bucket, each as soon as it is complete.

The bucket remembers: after a restart a file whose bytes are the newest version under its key is not
put again. A file that changes is put again, as a new version, and is to be answered anew.
"""

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local.folders import LeftOut, Listing, LocalFile, list_folder, printable
from local.plan import Sighting, Version, has_same_content, is_complete, sight

THREADS = 4
CHUNK = 16
READ_BYTES = 1024 * 1024


class DropFolder:
    """`root` on disk and `prefix` in the bucket. `look` reads the disk, `upload` writes to S3."""

    def __init__(self, s3: Any, bucket: str, root: Path, prefix: str) -> None:
        self._s3, self._bucket = s3, bucket
        self._root, self._prefix = root, prefix
        self._listing = Listing((), (), ())
        self._sightings: dict[str, Sighting] = {}
        self._finished: dict[str, tuple[int, int]] = {}
        self._newest = newest_versions(s3, bucket, prefix)
        self._unreadable: dict[str, str] = {}

    def look(self) -> None:
        """List the folder anew."""
        self._listing = list_folder(self._root, self._prefix)
        self._sightings = sight(self._listing.files, self._sightings, time.monotonic())
        self._unreadable.clear()

    def recognise(self) -> int:
        """Find the files whose bytes are the newest version in the bucket; returns their number."""
        known = [file for file in self._listing.files if file.key in self._newest]
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda file: self._see_to(file, only_look=True), known))
        return len(self.uploads)

    def upload(self, seconds: float) -> int:
        """Put complete files for about that long; returns how many were looked after.

        A file that cannot be read, or that S3 refuses, is `unusable` until the next look.
        """
        ends = time.monotonic() + seconds
        ready = self._ready()
        handled = 0
        with ThreadPoolExecutor(THREADS) as pool:
            while handled < len(ready) and (handled == 0 or time.monotonic() < ends):
                chunk = ready[handled : handled + CHUNK]
                list(pool.map(self._see_to, chunk))
                handled += len(chunk)
        return handled

    @property
    def files(self) -> tuple[LocalFile, ...]:
        """The files that are to go up, or did."""
        return self._listing.files

    @property
    def skipped(self) -> tuple[LeftOut, ...]:
        """What was never meant to go up."""
        return self._listing.skipped

    @property
    def unusable(self) -> tuple[LeftOut, ...]:
        """What should go up and cannot: for its name, or because it cannot be read now."""
        unreadable = sorted(self._unreadable.items())
        return (
            *self._listing.unusable,
            *(LeftOut(printable(key.removeprefix(self._prefix)), why) for key, why in unreadable),
        )

    @property
    def unnamable(self) -> tuple[LeftOut, ...]:
        """What S3 cannot take for its name."""
        return self._listing.unusable

    @property
    def open_count(self) -> int:
        """Files that are not up yet and may still get there."""
        return sum(1 for _ in self._unfinished())

    @property
    def uploads(self) -> dict[str, Version]:
        """The newest version of each file that is there now and up."""
        return {
            file.key: self._newest[file.key]
            for file in self._listing.files
            if self._finished.get(file.key) == file.signature
        }

    @property
    def stored(self) -> dict[str, Version]:
        """The newest version of every key of this prefix, of files long gone from disk too."""
        return dict(self._newest)

    def _unfinished(self) -> Iterator[LocalFile]:
        for file in self._listing.files:
            finished = self._finished.get(file.key) == file.signature
            if not finished and file.key not in self._unreadable:
                yield file

    def _ready(self) -> list[LocalFile]:
        now, wall_ns = time.monotonic(), time.time_ns()
        return [
            file
            for file in self._unfinished()
            if is_complete(file, self._sightings[file.key], now, wall_ns)
        ]

    def _see_to(self, file: LocalFile, *, only_look: bool = False) -> None:
        try:
            if not has_same_content(file, self._newest.get(file.key), md5_of):
                if only_look:
                    return
                self._newest[file.key] = self._put(file)
        except FileNotFoundError:
            return  # gone since the last look; the next one will not list it
        except OSError as error:
            self._unreadable[file.key] = f"cannot be read: {error.strerror or error}"
        except ClientError as error:
            self._unreadable[file.key] = f"is refused by S3: {error}"
        else:
            self._finished[file.key] = file.signature

    def _put(self, file: LocalFile) -> Version:
        with file.path.open("rb") as body:
            put = self._s3.put_object(Bucket=self._bucket, Key=file.key, Body=body)
        return Version(
            version_id=put.get("VersionId", ""),
            etag=put["ETag"].strip('"'),
            size_bytes=file.size_bytes,
            modified=datetime.now().astimezone(),
        )


def newest_versions(s3: Any, bucket: str, prefix: str) -> dict[str, Version]:
    """The newest version of each object under `prefix`; deleted ones are left out."""
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
    return {
        found["Key"]: Version(
            version_id=found["VersionId"] if found["VersionId"] != "null" else "",
            etag=found["ETag"].strip('"'),
            size_bytes=found["Size"],
            modified=found["LastModified"],
        )
        for page in pages
        for found in page.get("Versions", [])
        if found["IsLatest"]
    }


def md5_of(file: LocalFile) -> str:
    """MD5 of a file's bytes in hex: what S3 gives as ETag."""
    digest = hashlib.md5(usedforsecurity=False)
    with file.path.open("rb") as body:
        while piece := body.read(READ_BYTES):
            digest.update(piece)
    return digest.hexdigest()
