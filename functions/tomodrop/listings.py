"""Sorted listings of S3, page by page: the next page comes while the last one is worked on."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeVar

from tomodrop import keys

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as its listing shows it. `etag` is without quotes."""

    key: str
    etag: str
    size_bytes: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an upload. `version_id` is "null" where the bucket has no versions."""

    version_id: str
    etag: str
    size_bytes: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class Upload:
    """A key in the uploads bucket. `current` None: it was deleted, `earlier` is what was there."""

    key: str
    current: Version | None
    earlier: tuple[Version, ...] = ()

    @property
    def id(self) -> str:
        """What `keys.upload_id` calls the current version; "" for one that was deleted."""
        if self.current is None:
            return ""
        return keys.upload_id(self.key, self.current.version_id, self.current.etag)


def list_objects(
    s3: "S3Client", bucket: str, prefix: str, after: str, pool: Executor
) -> Iterator[Stored]:
    """Every object under a prefix whose key comes after `after`, in order of keys."""
    request: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix}
    if after:
        request["StartAfter"] = after
    pages = s3.get_paginator("list_objects_v2").paginate(**request)
    for page in read_ahead(iter(pages), pool):
        for item in page.get("Contents", []):
            etag = item["ETag"].strip('"')
            yield Stored(item["Key"], etag, item["Size"], item["LastModified"])


def list_uploads(
    s3: "S3Client", bucket: str, prefix: str, after: str, pool: Executor
) -> Iterator[Upload]:
    """Every key under a prefix that comes after `after`, with its versions, in order of keys.

    What only stands for a folder is no upload.
    """
    request: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix}
    if after:
        request["KeyMarker"] = after
    pages = s3.get_paginator("list_object_versions").paginate(**request)
    entries = (entry for page in read_ahead(iter(pages), pool) for entry in _entries(page))
    for key, of_key in groupby(entries, _key):
        # S3 says of the marker only that the listing starts with it.
        if key <= after:
            continue
        upload = _upload(key, of_key)
        latest = upload.current
        if latest is None or not keys.is_folder_marker(key, latest.size_bytes):
            yield upload


def _entries(page: Any) -> Iterator[dict[str, Any]]:
    """Versions and delete markers of a page: two lists in S3's answer, each in order of keys."""
    return merge(page.get("Versions", []), page.get("DeleteMarkers", []), key=_key)


def _key(entry: dict[str, Any]) -> str:
    return str(entry["Key"])


def _upload(key: str, entries: Iterable[dict[str, Any]]) -> Upload:
    current, earlier = None, []
    for entry in entries:
        if "ETag" not in entry:
            continue  # a delete marker
        version = Version(
            entry["VersionId"], entry["ETag"].strip('"'), entry["Size"], entry["LastModified"]
        )
        if entry["IsLatest"]:
            current = version
        else:
            earlier.append(version)
    return Upload(key, current, tuple(earlier))


def read_ahead(pages: Iterator[Item], pool: Executor) -> Iterator[Item]:
    """The same pages, each fetched by the pool while the one before is worked on."""
    following = pool.submit(next, pages, None)
    while (page := following.result()) is not None:
        following = pool.submit(next, pages, None)
        yield page


def map_ahead(
    pool: Executor, work: Callable[[Item], Made], items: Iterable[Item], ahead: int
) -> Iterator[Made]:
    """What `work` makes of each item, in order; `ahead` items at a time are under way."""
    under_way: deque[Future[Made]] = deque()
    for item in items:
        under_way.append(pool.submit(work, item))
        if len(under_way) >= ahead:
            yield under_way.popleft().result()
    while under_way:
        yield under_way.popleft().result()
