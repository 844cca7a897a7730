"""Sorted listings: versions of a key stay together on any page, and what was read is past."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.functions.interference import answering
from tomodrop.clients import App
from tomodrop.listings import Upload, Version, list_uploads, map_ahead, read_ahead

AT = datetime(2026, 11, 24, 15, 39, tzinfo=UTC)


def version(key: str, version_id: str, *, latest: bool) -> dict[str, Any]:
    return {
        "Key": key,
        "VersionId": version_id,
        "IsLatest": latest,
        "LastModified": AT,
        "ETag": '"e"',
        "Size": 7,
    }


def marker(key: str, *, latest: bool = True) -> dict[str, Any]:
    return {"Key": key, "VersionId": "m", "IsLatest": latest, "LastModified": AT}


def uploads(stack: App, after: str = "") -> list[Upload]:
    bucket = stack.settings.uploads_bucket
    with ThreadPoolExecutor(2) as pool:
        return list(list_uploads(stack.s3, bucket, "incoming/", after, pool))


def test_a_key_that_the_listing_begins_with_was_read_before(stack: App) -> None:
    """S3 says of the marker that the listing starts with it, and leaves open whether after it."""
    page = {
        "IsTruncated": False,
        "Versions": [
            version("incoming/a", "v", latest=True),
            version("incoming/b", "v", latest=True),
        ],
    }
    with answering(stack.s3, "ListObjectVersions", page) as asked:
        assert [one.key for one in uploads(stack, "incoming/a")] == ["incoming/b"]
    assert asked[0]["KeyMarker"] == "incoming/a"


def test_versions_and_delete_markers_of_a_key_are_one_upload(stack: App) -> None:
    page = {
        "IsTruncated": False,
        "Versions": [
            version("incoming/a", "v2", latest=True),
            version("incoming/a", "v1", latest=False),
            version("incoming/c", "v1", latest=False),
        ],
        "DeleteMarkers": [
            marker("incoming/a", latest=False),
            marker("incoming/b"),
            marker("incoming/c"),
        ],
    }
    old, new = (Version(version_id, "e", 7, AT) for version_id in ("v1", "v2"))
    with answering(stack.s3, "ListObjectVersions", page):
        assert uploads(stack) == [
            Upload("incoming/a", new, (old,)),
            Upload("incoming/b", None),
            Upload("incoming/c", None, (old,)),
        ]


def test_versions_of_a_key_on_two_pages_are_one_upload(
    stack: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")
    bucket = stack.settings.uploads_bucket
    for body in (b"1", b"2", b"3"):
        stack.s3.put_object(Bucket=bucket, Key="incoming/a", Body=body)
    stack.s3.put_object(Bucket=bucket, Key="incoming/b", Body=b"")
    assert [(one.key, len(one.earlier)) for one in uploads(stack)] == [
        ("incoming/a", 2),
        ("incoming/b", 0),
    ]


def test_pages_come_in_order_and_faults_come_through() -> None:
    def failing() -> Any:
        yield 1
        yield 2
        raise OSError("broken")

    with ThreadPoolExecutor(1) as pool:
        assert list(read_ahead(iter([1, 2, 3]), pool)) == [1, 2, 3]
        assert list(read_ahead(iter([]), pool)) == []
        pages = read_ahead(failing(), pool)
        assert next(pages) == 1
        assert next(pages) == 2
        with pytest.raises(OSError, match="broken"):
            next(pages)


@pytest.mark.parametrize("ahead", [1, 3, 100])
def test_what_is_mapped_ahead_keeps_its_order(ahead: int) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert list(map_ahead(pool, str, range(20), ahead)) == [str(n) for n in range(20)]
