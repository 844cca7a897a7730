"""Values of DICOM attributes, read so that a broken one counts as absent."""

import math
from collections.abc import Iterable
from typing import Any

from pydicom.dataset import Dataset
from pydicom.tag import Tag

_SHARED, _PER_FRAME = Tag(0x5200, 0x9229), Tag(0x5200, 0x9230)


def value(dataset: Dataset, keyword: str) -> Any:
    """An attribute's value, None where it is absent, empty or broken."""
    try:
        found = dataset.get(keyword)
    except Exception:  # noqa: BLE001 - pydicom decodes a value when it is asked for, and may fail
        return None
    return None if found == "" else found


def numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Exactly `count` finite numbers."""
    found = value(dataset, keyword)
    listed = list(found) if isinstance(found, Iterable) and not isinstance(found, str) else [found]
    try:
        parsed = tuple(float(one) for one in listed)
    except (TypeError, ValueError):
        return None
    return parsed if len(parsed) == count and all(map(math.isfinite, parsed)) else None


def number(dataset: Dataset, keyword: str) -> float | None:
    """One finite number."""
    found = numbers(dataset, keyword, 1)
    return found[0] if found else None


def whole(dataset: Dataset, keyword: str, default: int = 0) -> int:
    """A whole number."""
    found = number(dataset, keyword)
    return default if found is None else int(found)


def words(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """The values of a text attribute in capitals, to compare with words of ours."""
    found = value(dataset, keyword)
    if found is None:
        return ()
    listed = [found] if isinstance(found, str) or not isinstance(found, Iterable) else list(found)
    return tuple(str(one).strip().upper() for one in listed)


def word(dataset: Dataset, keyword: str) -> str:
    """The first of `words`, or nothing."""
    return next(iter(words(dataset, keyword)), "")


def group(dataset: Dataset, number: int, sequence: str) -> Dataset:
    """Where a frame's attributes of a functional group are: its own item, the shared one, or, in
    what has no such groups, the data set itself (DICOM PS3.3 C.7.6.16).
    """
    if not (_PER_FRAME in dataset or _SHARED in dataset):
        return dataset
    per_frame = value(dataset, "PerFrameFunctionalGroupsSequence") or ()
    shared = value(dataset, "SharedFunctionalGroupsSequence") or ()
    for holder in (*per_frame[number : number + 1], *shared[:1]):
        items = value(holder, sequence)
        if items:
            first: Dataset = items[0]
            return first
    return dataset
