"""Listing a folder: what goes up, what never was meant to, what cannot."""

import os
import socket
from pathlib import Path

import pytest

from local.folders import Listing, key_fault, list_folder, printable


def fill(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def keys_of(listing: Listing) -> list[str]:
    return [file.key for file in listing.files]


def test_files_at_any_depth_in_order_with_slashes(tmp_path: Path) -> None:
    fill(tmp_path, "b.png", "a/2.png", "a/b/1.dcm")
    assert keys_of(list_folder(tmp_path, "incoming/")) == [
        "incoming/a/2.png",
        "incoming/a/b/1.dcm",
        "incoming/b.png",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "肺 スライス.png",
        "a+b &c=1%20.png",
        "U\u0308.png",
        "\u00dc.png",
        "-rf",
        "new\nline",
        "[x].png",
    ],
)
def test_odd_names_are_kept_as_they_are(name: str, tmp_path: Path) -> None:
    fill(tmp_path, name)
    assert keys_of(list_folder(tmp_path, "incoming/")) == [f"incoming/{name}"]


def test_empty_files_go_up_to_be_rejected_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    assert [file.size_bytes for file in list_folder(tmp_path, "").files] == [0]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (".DS_Store", "operating system"),
        ("Thumbs.db", "operating system"),
        (".hidden.png", "hidden"),
        (".git/config", "hidden"),
        ("scan.png.part", "still being written"),
        ("scan.png~", "still being written"),
        ("scan.CRDOWNLOAD", "still being written"),
    ],
)
def test_what_is_no_scan_is_skipped_and_said(name: str, reason: str, tmp_path: Path) -> None:
    fill(tmp_path, "sub/kept.png", f"sub/{name}")
    listing = list_folder(tmp_path, "")
    assert keys_of(listing) == ["sub/kept.png"]
    assert len(listing.skipped) == 1
    assert reason in listing.skipped[0].reason
    assert listing.skipped[0].path == f"sub/{name.split('/', maxsplit=1)[0]}"


def test_links_are_followed_only_to_files_inside(tmp_path: Path) -> None:
    root, outside = tmp_path / "inbox", tmp_path / "outside"
    fill(root, "a.png", "dir/b.png")
    fill(outside, "secret.png")
    (root / "inside.png").symlink_to(root / "a.png")
    (root / "leaves.png").symlink_to(outside / "secret.png")
    (root / "leaves-dir").symlink_to(outside)
    (root / "loop").symlink_to(root)
    (root / "dangling.png").symlink_to(root / "nothing")
    (root / "circle").symlink_to(root / "circle")
    listing = list_folder(root, "")
    assert keys_of(listing) == ["a.png", "dir/b.png", "inside.png"]
    assert {found.path: found.reason for found in listing.skipped} == {
        "circle": "a link that leads nowhere",
        "dangling.png": "a link that leads nowhere",
        "leaves-dir": "a link that leaves the folder",
        "leaves.png": "a link that leaves the folder",
        "loop": "a link to a folder",
    }


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    fill(tmp_path / "real", "a.png")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert keys_of(list_folder(tmp_path / "link", "")) == ["a.png"]


def test_pipes_and_sockets_are_skipped(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listing = list_folder(tmp_path, "")
    assert listing.files == ()
    assert [found.reason for found in listing.skipped] == ["not a regular file"] * 2


def test_a_name_that_is_not_utf8_is_unusable(tmp_path: Path) -> None:
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))).write_bytes(b"x")
    listing = list_folder(tmp_path, "incoming/")
    assert listing.files == ()
    assert "not UTF-8" in listing.unusable[0].reason
    assert listing.unusable[0].path == "caf\N{REPLACEMENT CHARACTER}.png"
    listing.unusable[0].path.encode()


def test_a_path_longer_than_a_key_is_unusable(tmp_path: Path) -> None:
    fill(tmp_path, "/".join(["x" * 200] * 5) + ".png")
    fill(tmp_path, "/".join(["y" * 200] * 5))
    listing = list_folder(tmp_path, "incoming/" + "z" * 10)
    assert len(listing.unusable) == 1
    assert "1,027 bytes" in listing.unusable[0].reason


def test_a_key_is_measured_in_bytes() -> None:
    assert key_fault("é" * 512) is None
    assert "1,026 bytes" in str(key_fault("é" * 513))


def test_a_folder_that_is_gone_is_empty(tmp_path: Path) -> None:
    assert list_folder(tmp_path / "gone", "") == Listing((), (), ())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", "a\ufffdb"),
        ("a\x1b[31mb", "a\ufffd[31mb"),
        ("a\u202eb", "a\ufffdb"),
        ("a\udce9b", "a\ufffdb"),
        ("[bold]肺", "[bold]肺"),
    ],
)
def test_what_is_printed_cannot_disturb_a_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown
