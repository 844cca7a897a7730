"""The embedded S3's listing of versions: S3's order and pages, without moto's copies."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.s3.responses import S3Response

from local import moto_seams

BUCKET = "tomodrop-uploads"
Entry = tuple[str, str, bool]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(S3Response, "list_object_versions", moto_seams.list_object_versions)
    with mock_aws():
        client = boto3.client(
            "s3", region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
        )
        client.create_bucket(Bucket=BUCKET)
        yield client


def versioned(s3: Any) -> None:
    enabled = {"Status": "Enabled"}
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration=enabled)


def put(s3: Any, key: str) -> str:
    return str(s3.put_object(Bucket=BUCKET, Key=key, Body=b"x").get("VersionId", "null"))


def pages(s3: Any, **request: Any) -> list[list[Entry]]:
    """(key, version id, whether it is the latest) of versions and markers, page by page."""
    return [
        [
            (entry["Key"], entry["VersionId"], entry["IsLatest"])
            for kind in ("Versions", "DeleteMarkers")
            for entry in page.get(kind, [])
        ]
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=BUCKET, **request)
    ]


@pytest.mark.parametrize("page_size", [1, 2, 3, 1000])
def test_every_version_comes_once_newest_first(s3: Any, page_size: int) -> None:
    versioned(s3)
    # Within a millisecond, which moto cannot tell apart.
    ids = {key: [put(s3, key) for _ in range(count)] for key, count in {"b": 3, "a": 1}.items()}
    put(s3, "other/a")
    put(s3, "a.b")
    s3.delete_object(Bucket=BUCKET, Key="a.b")
    found = pages(s3, PaginationConfig={"PageSize": page_size}, Prefix="")
    assert max(map(len, found)) <= page_size
    listed = [entry for page in found for entry in page]
    assert len(listed) == len(set(listed)) == 7
    assert [entry for entry in listed if entry[0] in ids] == [
        ("a", ids["a"][0], True),
        *(("b", version, place == 0) for place, version in enumerate(reversed(ids["b"]))),
    ]
    assert [latest for key, _, latest in sorted(listed) if key == "a.b"].count(True) == 1


def test_a_prefix_and_a_marker_narrow_it(s3: Any) -> None:
    versioned(s3)
    for key in ("in/a", "in/b", "in/b", "in/c", "out/d"):
        put(s3, key)
    assert [key for page in pages(s3, Prefix="in/") for key, _, _ in page] == [
        "in/a", "in/b", "in/b", "in/c"
    ]  # fmt: skip
    for marker in ("in/b", "in/bb"):
        after = s3.list_object_versions(Bucket=BUCKET, Prefix="in/", KeyMarker=marker)
        assert [entry["Key"] for entry in after["Versions"]] == ["in/c"]


@pytest.mark.parametrize("key", ["a\x1b[31m", "a&<b>", "50%41", "a+b c", "肺/🫁"])
def test_odd_keys_are_listed_as_they_are(s3: Any, key: str) -> None:
    versioned(s3)
    put(s3, key)
    put(s3, key)
    found = [name for page in pages(s3, PaginationConfig={"PageSize": 1}) for name, _, _ in page]
    assert found == [key, key]
    assert [name for page in pages(s3, Prefix=key) for name, _, _ in page] == [key, key]


def test_a_bucket_without_versions_is_listed_too(s3: Any) -> None:
    put(s3, "a")
    assert pages(s3) == [[("a", "null", True)]]


def test_folders_are_left_to_moto(s3: Any) -> None:
    put(s3, "in/a")
    listed = s3.list_object_versions(Bucket=BUCKET, Delimiter="/")
    assert listed["CommonPrefixes"] == [{"Prefix": "in/"}]
