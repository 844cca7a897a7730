"""What a job is to read: manifests and prefixes as lists of values. Pure.

Three kinds of input (S3DataType):

* S3Prefix: every object whose key starts with the text, as S3 lists it;
* ManifestFile: a JSON array, first `{"prefix": "s3://…"}`, then keys that are appended to it;
* AugmentedManifestFile: JSON Lines, training only; see `parse_augmented_manifest`.
"""

import json
import posixpath
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from local.sagemaker.errors import ClientJobError
from local.sagemaker.objects import Address

REFERENCE_SUFFIX = "-ref"
T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """One object of a manifest or prefix; `relative` is the name its result or copy gets."""

    address: Address
    relative: str


Part = Address | bytes
"""What one attribute streams: an object's content, or this text."""


def parse_manifest(text: str) -> list[Entry]:
    """The entries of a ManifestFile, in order, each once. Raises ClientJobError."""
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise ClientJobError(f"Manifest is not JSON: {error}") from error
    if not isinstance(rows, list) or not rows:
        raise ClientJobError('Manifest must be a JSON array that starts with {"prefix": "s3://…"}')
    head = rows[0]
    prefix = head.get("prefix") if isinstance(head, dict) else None
    if not isinstance(prefix, str) or not prefix:
        raise ClientJobError('Manifest must start with {"prefix": "s3://…"}')
    Address.parse(prefix)
    keys: dict[str, None] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not isinstance(row, str) or not row:
            raise ClientJobError(
                f"Manifest entry {number} must be a key after the prefix, not {row!r}"
            )
        keys[row] = None
    if not keys:
        raise ClientJobError("Manifest names no object")
    return [Entry(Address.parse(prefix + key), _checked(key.lstrip("/"))) for key in keys]


def entries_of_prefix(prefix: Address, found: Sequence[Address]) -> list[Entry]:
    """The entries of an S3Prefix. Raises ClientJobError when there is none."""
    if not found:
        raise ClientJobError(f"No S3 objects found under S3 URL {str(prefix)!r}")
    return [Entry(address, _checked(relative_key(prefix.key, address.key))) for address in found]


def relative_key(prefix: str, key: str) -> str:
    """The part of a key below a prefix.

    A prefix is plain text, not a folder: `data/te` also finds `data/test/x`. What is cut off is the
    prefix where it ends at a slash, else the folder it stands in; a whole key leaves its last name.
    """
    if key == prefix:
        return posixpath.basename(key)
    rest = key.removeprefix(prefix)
    if not prefix or prefix.endswith("/") or rest.startswith("/"):
        return rest.lstrip("/")
    return key[prefix.rfind("/") + 1 :]


def parse_augmented_manifest(text: str, attributes: Sequence[str]) -> list[tuple[Part, ...]]:
    """Per line, what each attribute streams, in the order of AttributeNames.

    An attribute whose name ends in `-ref` is an s3:// address whose content is streamed; of any
    other the value is, in string form (a string as it is, else as JSON). Raises ClientJobError that
    names the line.
    """
    lines = [
        _parse_line(line, number, attributes)
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]
    if not lines:
        raise ClientJobError("Augmented manifest has no line")
    return lines


def _parse_line(line: str, number: int, attributes: Sequence[str]) -> tuple[Part, ...]:
    try:
        values = json.loads(line)
    except ValueError as error:
        raise ClientJobError(f"Augmented manifest line {number} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ClientJobError(f"Augmented manifest line {number} is not a JSON object")
    missing = [name for name in attributes if name not in values]
    if missing:
        raise ClientJobError(
            f"Augmented manifest line {number} lacks {', '.join(missing)} of AttributeNames; "
            f"it has {', '.join(values) or 'nothing'}"
        )
    return tuple(_part(name, values[name], number) for name in attributes)


def _part(name: str, value: Any, number: int) -> Part:
    if not name.endswith(REFERENCE_SUFFIX):
        return (value if isinstance(value, str) else json.dumps(value)).encode()
    if not isinstance(value, str) or not value.startswith("s3://"):
        raise ClientJobError(
            f"Augmented manifest line {number}: {name} must be an s3:// address, not {value!r}"
        )
    return Address.parse(value)


def in_epoch_order(items: Sequence[T], seed: int | None, epoch: int) -> list[T]:
    """The items in the order of one epoch (from 0): as listed, or shuffled anew from the seed."""
    ordered = list(items)
    if seed is not None:
        random.Random(f"{seed}/{epoch}").shuffle(ordered)  # noqa: S311 (an order, not a secret)
    return ordered


def _checked(relative: str) -> str:
    if ".." in relative.split("/") or not relative:
        raise ClientJobError(f"{relative!r} cannot be the name of a file")
    return relative
