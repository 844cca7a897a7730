"""From listed picture files to `OUT/<class>/<group>/<file>.png`.

Two steps, because a picture's group depends on all others: first every file is decoded, hashed
and kept as PNG in OUT/.import; then groups are formed and the PNGs move to their places. Either
can be killed at any time: the journal knows what was read, a PNG is moved in one piece, and names
depend on the sources alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from training.datasets.failure import SourceSkipped
from training.datasets.files import digest, move, slug, write_atomically
from training.datasets.grouping import group_names
from training.datasets.journal import STAGING, Journal
from training.datasets.near_duplicates import (
    BYTES,
    ORIENTATIONS,
    Hashes,
    Pair,
    find_pairs,
    hash_picture,
)
from training.datasets.pictures import encode_png, read_grey
from training.datasets.progress import tracked
from training.datasets.report import Outcome, Suspicious


@dataclass(frozen=True)
class Source:
    """A picture file: its name in the source folder, its class, what its name says of its group."""

    path: Path
    name: str
    label: str
    key: str


@dataclass(frozen=True)
class Taken:
    """A source that could be read, its hashes, and where its PNG may lie from earlier runs."""

    source: Source
    hashes: Hashes
    places: tuple[str, ...]


def import_pictures(
    sources: Sequence[Source],
    out: Path,
    journal: Journal,
    outcome: Outcome,
    max_distance: int,
    console: Console,
) -> None:
    """Import `sources` into `out` and note in `outcome` what came of it."""
    taken = list(_take(sources, out, journal, outcome, console))
    if not taken:
        return
    console.print(f"comparing {len(taken):,} pictures", highlight=False)
    pairs = find_pairs(np.stack([one.hashes for one in taken]), max_distance)
    outcome.suspicious.extend(_across_classes(taken, pairs))
    groups = group_names([one.source.key for one in taken], pairs)
    for one, group in zip(taken, groups, strict=True):
        _place(one, group, out, journal)
        outcome.slices[one.source.label, group] += 1
    staging = out / STAGING
    if staging.exists() and not any(staging.iterdir()):
        staging.rmdir()


def _take(
    sources: Sequence[Source], out: Path, journal: Journal, outcome: Outcome, console: Console
) -> Iterator[Taken]:
    for source in tracked(sources, "reading", console):
        entry = journal.of(source.name, source.path)
        if entry and "skipped" not in entry and not _holds(out, entry["places"]):
            entry = None
        outcome.already_done += entry is not None
        entry = entry or _read(source, out, journal)
        if "skipped" in entry:
            outcome.skip(source.name, entry["skipped"], entry["detail"])
        else:
            packed = np.frombuffer(bytes.fromhex(entry["hashes"]), np.uint8)
            yield Taken(source, packed.reshape(ORIENTATIONS, BYTES), tuple(entry["places"]))


def _holds(out: Path, places: Sequence[str]) -> bool:
    return any((out / place).is_file() for place in places)


def _read(source: Source, out: Path, journal: Journal) -> dict[str, Any]:
    """Decode a source into OUT/.import and the journal; returns its entry."""
    try:
        picture = read_grey(source.path)
    except SourceSkipped as skipped:
        result: dict[str, Any] = {"skipped": skipped.reason, "detail": skipped.detail}
        return journal.add(source.name, source.path, result)
    staged = f"{STAGING}/{digest(source.name)}-{file_name(source)}"
    write_atomically(out / staged, encode_png(picture))
    hashes = hash_picture(picture).tobytes().hex()
    return journal.add(source.name, source.path, {"hashes": hashes, "places": [staged]})


def file_name(source: Source) -> str:
    """The PNG's name: that of the source, with a digest that keeps equal names apart."""
    return f"{slug(source.path.stem)}-{digest(source.name)}.png".lstrip("-")


def _place(taken: Taken, group: str, out: Path, journal: Journal) -> None:
    """Move the PNG of a source to where it belongs; it may be there already."""
    source = taken.source
    place = f"{source.label}/{group}/{file_name(source)}"
    if place not in taken.places:
        # Noted before it is done: a run that is killed in between finds the PNG at either place.
        hashes = taken.hashes.tobytes().hex()
        journal.add(source.name, source.path, {"hashes": hashes, "places": [*taken.places, place]})
    for old in taken.places:
        if old != place and (out / old).is_file():
            move(out / old, out / place)


def _across_classes(taken: Sequence[Taken], pairs: Sequence[Pair]) -> Iterator[Suspicious]:
    for pair in pairs:
        first, second = taken[pair.first].source, taken[pair.second].source
        if first.label != second.label:
            yield Suspicious((first.name, second.name), pair.distance)
