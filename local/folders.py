"""What lies in a folder that is dropped into the cloud, and which of it can go there.

Read-only and told nothing of S3 but how keys look: `drop` asks again and again, `options` once.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
MAX_KEY_BYTES = 1024
# Names that programs give to what they have not finished writing. Hidden files are left out too.
TEMPORARY_SUFFIXES = ("~", ".part", ".partial", ".filepart", ".crdownload", ".download", ".tmp")
SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini", "__macosx"})


@dataclass(frozen=True)
class LocalFile:
    """A file to upload under `key`. Another size or modification time means other content."""

    path: Path
    key: str
    size_bytes: int
    modified_ns: int

    @property
    def signature(self) -> tuple[int, int]:
        """What tells this content from a later one without reading it."""
        return self.size_bytes, self.modified_ns


@dataclass(frozen=True)
class LeftOut:
    """A path that is not uploaded: relative to its folder, fit to be printed, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Listing:
    """A folder at one moment. `skipped` was never meant for upload, `unusable` cannot be."""

    files: tuple[LocalFile, ...]
    skipped: tuple[LeftOut, ...]
    unusable: tuple[LeftOut, ...]


def list_folder(root: Path, prefix: str) -> Listing:
    """List everything below `root`, in order of path; keys are `prefix` + path with slashes.

    Links are followed as long as they stay in the folder, links to folders not at all. What
    vanishes meanwhile is left out without a word.
    """
    root = root.resolve()
    files: list[LocalFile] = []
    skipped: list[LeftOut] = []
    unusable: list[LeftOut] = []
    for found in _walk(root, root):
        if isinstance(found, LeftOut):
            skipped.append(found)
            continue
        path, status = found
        relative = path.relative_to(root).as_posix()
        fault = key_fault(prefix + relative)
        if fault:
            unusable.append(LeftOut(printable(relative), fault))
        else:
            files.append(LocalFile(path, prefix + relative, status.st_size, status.st_mtime_ns))
    return Listing(tuple(files), tuple(skipped), tuple(unusable))


def key_fault(key: str) -> str | None:
    """Why S3 cannot take this key; None if it can."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        return "its name is not UTF-8, and S3 keys are: rename it"
    if size > MAX_KEY_BYTES:
        return (
            f"its path is {size:,} bytes long as an S3 key, {MAX_KEY_BYTES:,} are allowed: "
            "shorten its name or its folders'"
        )
    return None


def printable(text: str) -> str:
    """`text` as any terminal can show it, on one line."""
    shown = os.fsencode(text).decode("utf-8", errors="replace")
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in shown
    )


def _walk(folder: Path, root: Path) -> Iterator[LeftOut | tuple[Path, os.stat_result]]:
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    except OSError as error:
        yield _left_out(folder, root, f"cannot be read: {error.strerror}")
        return
    for entry in found:
        path = folder / entry.name
        reason = _reason_to_skip(entry, root)
        if reason:
            yield _left_out(path, root, reason)
        elif entry.is_dir(follow_symlinks=False):
            yield from _walk(path, root)
        else:
            yield from _look_at(path, root)


def _look_at(path: Path, root: Path) -> Iterator[LeftOut | tuple[Path, os.stat_result]]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        yield _left_out(path, root, f"cannot be read: {error.strerror}")
        return
    if stat.S_ISREG(status.st_mode):
        yield path, status
    else:
        yield _left_out(path, root, "not a regular file")


def _reason_to_skip(entry: os.DirEntry[str], root: Path) -> str | None:
    name = entry.name.lower()
    if name in SYSTEM_FILES or name == ".ds_store":
        return "kept by the operating system for itself"
    if name.startswith("."):
        return "hidden"
    if name.endswith(TEMPORARY_SUFFIXES):
        return "named like a file that is still being written"
    return _reason_to_skip_link(Path(entry.path), root) if entry.is_symlink() else None


def _reason_to_skip_link(link: Path, root: Path) -> str | None:
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):
        return "a link that leads nowhere"
    if not target.is_relative_to(root):
        return "a link that leaves the folder"
    return "a link to a folder" if target.is_dir() else None


def _left_out(path: Path, root: Path, reason: str) -> LeftOut:
    return LeftOut(printable(path.relative_to(root).as_posix()), reason)
