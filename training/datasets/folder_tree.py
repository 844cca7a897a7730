"""A class-folder tree: SRC/<class>/…/<picture>, any depth below the class.

What `--group-by` makes of the paths:

parent
    the folder that a picture lies in is its group (patient, scan, block); pictures that lie
    straight in the class folder have no such folder and are their own groups
name-pattern
    a regular expression that is searched in the path below the class folder; its first group, or
    all that it matches, is the group's name. What it does not match is its own group.
hash
    paths say nothing

Whichever it is, pictures that look alike are joined. The same name in two classes is one group, as
for a patient with slices of both; `--per-class` says that it is not, as for blocks that are counted
anew in each class.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from training.datasets.failure import WrongLayoutError
from training.datasets.picture_import import Source
from training.datasets.pictures import SUFFIXES
from training.datasets.report import Outcome, relative_name

CLASS_NAME = re.compile(r"[A-Za-z0-9_.\-]+")
"""As the template's parameter ClassNames allows them."""

Key = Callable[[Path], str | None]
"""What a path below its class folder says of its group; None if nothing."""


@dataclass(frozen=True)
class Naming:
    """How paths tell class and group: folders under another name, and what a path says."""

    rename: Mapping[str, str]
    key: Key
    per_class: bool = False

    def source(self, path: Path, root: Path) -> Source:
        """The picture at `path`, which lies in a class folder of `root`."""
        name = relative_name(path, root)
        folder = path.relative_to(root).parts[0]
        label = self.rename.get(folder, folder)
        key = self.key(path.relative_to(root / folder))
        scoped = f"{label}-{key}" if key and self.per_class else key
        return Source(path, name, label, scoped or name)


def list_tree(root: Path, naming: Naming, outcome: Outcome) -> list[Source]:
    """The pictures of a class-folder tree, in order of path.

    Raises
    ------
    WrongLayoutError
        There are not at least two class folders with pictures, or one's name cannot be a class's.
    """
    sources = []
    for path in walk(root):
        name = relative_name(path, root)
        reason = reason_to_skip(path)
        if reason:
            outcome.skip(name, *reason)
        elif path.parent == root:
            outcome.skip(name, "outside_class_folder", "it lies beside the class folders")
        else:
            sources.append(naming.source(path, root))
    _check_classes(root, naming.rename, {source.label for source in sources})
    return sources


def by_parent(path: Path) -> str | None:
    """The folder below the class folder that holds the picture."""
    return path.parent.as_posix() if len(path.parts) > 1 else None


def by_pattern(pattern: re.Pattern[str]) -> Key:
    """What `pattern` finds in the path: its first group if it has one, else all of it."""

    def key(path: Path) -> str | None:
        found = pattern.search(path.as_posix())
        return (found[1] if pattern.groups else found[0]) if found else None

    return key


def by_nothing(path: Path) -> str | None:  # noqa: ARG001 - a Key is asked for the path
    """Paths say nothing; only what looks alike is joined."""
    return None


def walk(root: Path) -> Iterator[Path]:
    """All files below `root`, in order of path; links are not followed."""
    for folder, folders, files in os.walk(root):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(files))


def reason_to_skip(path: Path) -> tuple[str, str] | None:
    """Why a file cannot be a picture, as a word and in words; None if it may be one."""
    if path.name.startswith("."):
        return "hidden", "its name starts with a dot"
    if path.is_symlink() or not path.is_file():
        return "not_a_file", "a link or a special file"
    if path.suffix.lower() not in SUFFIXES:
        return "not_a_picture", f"its name ends in none of {', '.join(sorted(SUFFIXES))}"
    return None


def _check_classes(root: Path, rename: Mapping[str, str], found: set[str]) -> None:
    expected = f"expected {root}/<class>/…/<picture>, at least two classes"
    unfit = sorted(name for name in found if not CLASS_NAME.fullmatch(name))
    if unfit:
        raise WrongLayoutError(
            f"{expected}; '{unfit[0]}' cannot be a class's name (letters, digits, '_', '.', '-'): "
            f"give it one with --rename '{unfit[0]}=NAME'"
        )
    if len(found) < 2:
        names = ", ".join(sorted(found)) or "none"
        raise WrongLayoutError(f"{expected}; found with pictures: {names}")
    absent = sorted(name for name in rename if not (root / name).is_dir())
    if absent:
        raise WrongLayoutError(f"--rename: there is no folder '{absent[0]}' in {root}")
