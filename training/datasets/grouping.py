"""Which pictures may never be parted: the groups of the labelled set.

A group is whatever names say belongs together, joined with whatever looks alike. Groups cross
classes: training splits by the group's name alone, so one name keeps both classes in one half.
"""

import re
from collections.abc import Iterable, Sequence

from scipy.cluster.hierarchy import DisjointSet  # type: ignore[import-untyped] # it has no stubs

from training.datasets.files import unique_slug
from training.datasets.near_duplicates import Pair

_NUMBERED = re.compile(r"(?P<prefix>.*?)[ _(\-]*(?P<number>\d+)\)?", re.DOTALL)


def group_names(keys: Sequence[str], pairs: Iterable[Pair]) -> list[str]:
    """Name the group of each picture.

    Parameters
    ----------
    keys
        What the name of each picture says: pictures with the same key belong together.
    pairs
        Places of pictures that look alike, which joins all that bear either's key.
    """
    joined = DisjointSet(sorted(set(keys)))
    for pair in pairs:
        joined.merge(keys[pair.first], keys[pair.second])
    names = {key: unique_slug(min(subset)) for subset in joined.subsets() for key in subset}
    return [names[key] for key in keys]


def numbered_block(stem: str, block: int) -> str | None:
    """The block of `block` consecutive numbers that a file's stem falls in, with its prefix.

    "Covid (386)" in blocks of 50 is "Covid-0007": sets without patient ids are often numbered in
    scan order, and neighbours are slices of one scan. None for a stem that ends in no number, and
    for `block` 0.
    """
    found = _NUMBERED.fullmatch(stem)
    if not found or not block or not found["number"].isascii():
        return None
    return f"{found['prefix']}-{int(found['number']) // block:04d}".lstrip("-")
