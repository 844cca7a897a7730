"""One page of ListObjectVersions, from the buckets of the embedded S3."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from moto.s3.models import FakeKey

MAX_KEYS = 1000


def page_of(bucket: Any, query: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The answer to a request without a delimiter, as botocore's model has it: newest first.

    `query`: the request's, each name with its values. Keys go as they are asked for: S3's XML has
    no room for some characters, so clients ask for `encoding-type=url`.
    """
    asked = {name: values[0] for name, values in query.items() if values}
    most = int(asked.get("max-keys", MAX_KEYS))
    page, following = _cut(_versions(bucket, asked), most)
    is_url = asked.get("encoding-type") == "url"
    written = quote if is_url else str
    answer = {
        "Name": bucket.name,
        "Prefix": written(asked.get("prefix", "")),
        "KeyMarker": written(asked.get("key-marker", "")),
        "VersionIdMarker": asked.get("version-id-marker", ""),
        "MaxKeys": most,
        "IsTruncated": following,
        "Versions": [_version(*one, written) for one in page if isinstance(one[0], FakeKey)],
        "DeleteMarkers": [
            _marker(*one, written) for one in page if not isinstance(one[0], FakeKey)
        ],
    }
    if is_url:
        answer["EncodingType"] = "url"
    if following:
        last = page[-1][0]
        answer |= {"NextKeyMarker": written(last.name), "NextVersionIdMarker": last.version_id}
    return answer


_Entry = tuple[Any, bool]


def _cut(entries: Iterator[_Entry], most: int) -> tuple[list[_Entry], bool]:
    page: list[_Entry] = []
    for entry in entries:
        if len(page) >= most:
            return page, bool(page)
        page.append(entry)
    return page, False


def _versions(bucket: Any, asked: Mapping[str, str]) -> Iterator[_Entry]:
    """Versions and delete markers after the marker, and whether each is its key's latest."""
    prefix, key = asked.get("prefix", ""), asked.get("key-marker")
    names = [name for name in list(dict.keys(bucket.keys)) if name.startswith(prefix)]
    for name in sorted(name for name in names if key is None or name >= key):
        is_past = name != key
        for place, entry in enumerate(reversed(list(bucket.keys.getlist(name, [])))):
            if is_past:
                yield entry, place == 0
            is_past = is_past or entry.version_id == asked.get("version-id-marker")


def _version(entry: Any, is_latest: bool, written: Any) -> dict[str, Any]:  # noqa: FBT001
    return {
        **_marker(entry, is_latest, written),
        "ETag": entry.etag,
        "Size": entry.size,
        "StorageClass": entry.storage_class,
    }


def _marker(entry: Any, is_latest: bool, written: Any) -> dict[str, Any]:  # noqa: FBT001
    return {
        "Key": written(entry.name),
        "VersionId": entry.version_id or "null",
        "IsLatest": is_latest,
        "LastModified": entry.last_modified_ISO8601,
    }
