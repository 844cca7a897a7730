"""Archives are packed from a folder and unpacked without trust."""

import io
import tarfile
from pathlib import Path

import pytest

from local.sagemaker.archives import pack, unpack
from local.sagemaker.errors import ClientJobError


def archive_of(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, "/etc/passwd"
    return info


def test_what_is_packed_comes_out_again(tmp_path: Path) -> None:
    (tmp_path / "model" / "deep").mkdir(parents=True)
    (tmp_path / "model" / "weights").write_bytes(b"w")
    (tmp_path / "model" / "deep" / "x").write_bytes(b"y")

    pack(tmp_path / "model", tmp_path / "model.tar.gz")
    unpack(tmp_path / "model.tar.gz", tmp_path / "out")

    assert (tmp_path / "out" / "weights").read_bytes() == b"w"
    assert (tmp_path / "out" / "deep" / "x").read_bytes() == b"y"


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x"])
def test_names_that_lead_outside_are_refused(tmp_path: Path, name: str) -> None:
    archive = archive_of(tmp_path / "m.tar.gz", member(name))

    with pytest.raises(ClientJobError, match="lies outside its folder"):
        unpack(archive, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.tar.gz", "out"]


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_only_plain_files_and_folders_are_taken(tmp_path: Path, kind: bytes) -> None:
    archive = archive_of(tmp_path / "m.tar.gz", member("link", kind))

    with pytest.raises(ClientJobError, match="no plain file or folder"):
        unpack(archive, tmp_path / "out")


def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "m.tar.gz", member("a"), member("a"))

    with pytest.raises(ClientJobError, match="not a readable"):
        unpack(archive, tmp_path / "out")


def test_too_much_content_is_refused(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "m.tar.gz", member("a", size=600), member("b", size=600))

    with pytest.raises(ClientJobError, match="larger than 1000 bytes"):
        unpack(archive, tmp_path / "out", limit_bytes=1000)


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9])
def test_a_truncated_archive_is_refused(tmp_path: Path, share: float) -> None:
    archive = archive_of(tmp_path / "m.tar.gz", member("a", size=100_000))
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * share)])

    with pytest.raises(ClientJobError, match="not a readable"):
        unpack(archive, tmp_path / "out")
