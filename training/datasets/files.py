"""Files that appear complete or not at all, and names that any file system and S3 key can bear."""

import hashlib
import re
from pathlib import Path

from training.algorithm.replacing import replacing

DIGEST_CHARACTERS = 8
MAX_SLUG_CHARACTERS = 60

_UNSAFE = re.compile(r"[^A-Za-z0-9.\-]+")


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file by way of a hidden temporary one beside it; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_bytes(content)


def move(old: Path, new: Path) -> None:
    """Move a file within one file system; `new`'s folder is made, an emptied old one removed."""
    new.parent.mkdir(parents=True, exist_ok=True)
    old.replace(new)
    if not any(old.parent.iterdir()):
        old.parent.rmdir()


def digest(text: str) -> str:
    """A short, stable mark of `text`; names that are no UTF-8 have one too."""
    encoded = text.encode("utf-8", "surrogateescape")
    return hashlib.sha256(encoded).hexdigest()[:DIGEST_CHARACTERS]


def slug(text: str) -> str:
    """`text` in ASCII letters, digits, `.`, `_` and `-`; different texts may become the same."""
    return _UNSAFE.sub("_", text).strip("_.")[:MAX_SLUG_CHARACTERS]


def unique_slug(text: str) -> str:
    """`text` itself where it is safe as a name, otherwise its slug with its digest."""
    return text if text and slug(text) == text else f"{slug(text)}-{digest(text)}".lstrip("-")
