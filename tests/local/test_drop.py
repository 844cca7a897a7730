"""Dropping a folder: each file once, changed files anew, unreadable ones told, the rest goes on."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from local.drop import DropFolder, newest_versions

BUCKET = "uploads"
LONG_AGO = (1_600_000_000, 1_600_000_000)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        yield client


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


def write(path: Path, body: bytes, *, settled: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    if settled:
        os.utime(path, LONG_AGO)


def drop(s3: Any, inbox: Path) -> DropFolder:
    folder = DropFolder(s3, BUCKET, inbox, "incoming/")
    folder.look()
    return folder


def versions(s3: Any, key: str) -> int:
    found = s3.list_object_versions(Bucket=BUCKET, Prefix=key).get("Versions", [])
    return len([version for version in found if version["Key"] == key])


def body(s3: Any, key: str) -> bytes:
    content: bytes = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    return content


def test_files_go_up_under_their_path(s3: Any, inbox: Path) -> None:
    names = ["a.png", "b/c d+e.png", "肺/ス.png", "empty.png"]
    for name in names:
        write(inbox / name, b"" if name == "empty.png" else name.encode())
    folder = drop(s3, inbox)
    assert folder.open_count == 4
    assert folder.upload(10) == 4
    assert folder.open_count == 0
    assert sorted(folder.uploads) == sorted(f"incoming/{name}" for name in names)
    assert body(s3, "incoming/肺/ス.png") == "肺/ス.png".encode()
    assert body(s3, "incoming/empty.png") == b""


def test_nothing_goes_up_twice(s3: Any, inbox: Path) -> None:
    write(inbox / "a.png", b"one")
    folder = drop(s3, inbox)
    folder.upload(10)
    folder.look()
    assert folder.upload(10) == 0
    os.utime(inbox / "a.png", (1_700_000_000, 1_700_000_000))  # touched, not changed
    folder.look()
    folder.upload(10)
    assert versions(s3, "incoming/a.png") == 1


def test_after_a_restart_known_bytes_are_recognised(s3: Any, inbox: Path) -> None:
    write(inbox / "a.png", b"one")
    write(inbox / "b.png", b"two")
    drop(s3, inbox).upload(10)
    write(inbox / "b.png", b"TWO")
    write(inbox / "c.png", b"new")
    again = drop(s3, inbox)
    assert again.recognise() == 1
    assert list(again.uploads) == ["incoming/a.png"]
    assert again.upload(10) == 2
    assert [versions(s3, f"incoming/{n}.png") for n in "abc"] == [1, 2, 1]


def test_a_changed_file_goes_up_as_a_new_version(s3: Any, inbox: Path) -> None:
    write(inbox / "a.png", b"one")
    folder = drop(s3, inbox)
    folder.upload(10)
    first = folder.uploads["incoming/a.png"]
    write(inbox / "a.png", b"other")
    folder.look()
    assert folder.uploads == {}
    folder.upload(10)
    assert folder.uploads["incoming/a.png"].version_id != first.version_id
    assert body(s3, "incoming/a.png") == b"other"


def test_going_back_to_earlier_bytes_is_a_version_of_its_own(s3: Any, inbox: Path) -> None:
    folder = drop(s3, inbox)
    for content in (b"one", b"two", b"one"):
        write(inbox / "a.png", content, settled=False)
        os.utime(inbox / "a.png", (1_600_000_000 + versions(s3, "incoming/a.png"),) * 2)
        folder.look()
        folder.upload(10)
    assert versions(s3, "incoming/a.png") == 3
    (newest,) = newest_versions(s3, BUCKET, "incoming/").values()
    assert newest.version_id == folder.uploads["incoming/a.png"].version_id


def test_a_file_still_being_written_waits(s3: Any, inbox: Path) -> None:
    write(inbox / "fresh.png", b"half", settled=False)
    write(inbox / "old.png", b"whole")
    folder = drop(s3, inbox)
    assert folder.upload(10) == 1
    assert folder.open_count == 1
    assert list(folder.uploads) == ["incoming/old.png"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_file_that_may_not_be_read_is_told_and_tried_again(s3: Any, inbox: Path) -> None:
    write(inbox / "a.png", b"one")
    write(inbox / "b.png", b"two")
    (inbox / "a.png").chmod(0)
    folder = drop(s3, inbox)
    folder.upload(10)
    assert [(found.path, found.reason) for found in folder.unusable] == [
        ("a.png", "cannot be read: Permission denied")
    ]
    assert folder.open_count == 0
    assert list(folder.uploads) == ["incoming/b.png"]
    (inbox / "a.png").chmod(0o600)
    folder.look()
    folder.upload(10)
    assert folder.unusable == ()
    assert len(folder.uploads) == 2


def test_a_file_that_vanishes_is_forgotten(s3: Any, inbox: Path) -> None:
    write(inbox / "a.png", b"one")
    folder = drop(s3, inbox)
    (inbox / "a.png").unlink()
    folder.upload(10)
    folder.look()
    assert (folder.open_count, folder.uploads, folder.unusable) == (0, {}, ())


def test_what_s3_refuses_is_told_and_the_rest_goes_on(s3: Any, inbox: Path) -> None:
    write(inbox / "a.png", b"one")
    folder = DropFolder(s3, BUCKET, inbox, "incoming/")
    s3.put_bucket_policy(Bucket=BUCKET, Policy="{}")
    s3.delete_bucket(Bucket=BUCKET)
    folder.look()
    folder.upload(10)
    assert "is refused by S3" in folder.unusable[0].reason


def test_uploading_ends_after_its_time_and_goes_on_later(s3: Any, inbox: Path) -> None:
    for number in range(40):
        write(inbox / f"{number}.png", b"%d" % number)
    folder = drop(s3, inbox)
    handled = folder.upload(0)
    assert 0 < handled < 40
    while folder.open_count:
        handled += folder.upload(0)
    assert handled == 40


def test_names_that_s3_cannot_take_do_not_stop_the_others(s3: Any, inbox: Path) -> None:
    write(Path(os.fsdecode(os.fsencode(inbox) + b"/caf\xe9.png")), b"x")
    write(inbox / "a.png", b"one")
    folder = drop(s3, inbox)
    folder.upload(10)
    assert list(folder.uploads) == ["incoming/a.png"]
    assert len(folder.unnamable) == len(folder.unusable) == 1


def test_other_prefixes_of_the_bucket_are_left_alone(s3: Any, inbox: Path) -> None:
    s3.put_object(Bucket=BUCKET, Key="labelled/covid/p/a.png", Body=b"x")
    assert drop(s3, inbox).stored == {}


def test_a_deleted_object_is_put_again(s3: Any, inbox: Path) -> None:
    write(inbox / "a.png", b"one")
    drop(s3, inbox).upload(10)
    s3.delete_object(Bucket=BUCKET, Key="incoming/a.png")
    again = drop(s3, inbox)
    assert again.recognise() == 0
    again.upload(10)
    assert body(s3, "incoming/a.png") == b"one"
