"""The labelled set: what the index parts hold, split by group, and as manifests."""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from tomodrop import keys, objects
from tomodrop.clients import App
from tomodrop.errors import TrainingDataError
from tomodrop.imaging.version import NORMALISER
from tomodrop.settings import Settings
from tomodrop.slices import IndexLine, by_upload, is_newer, read_lines
from tomodrop.volumes import shows_lung

# The attribute of a manifest's line that only the algorithm of ours reads.
GROUP = "group"


@dataclass(frozen=True)
class Example:
    """One labelled slice: `label` counts from 0 in the order of the class names."""

    slice_id: str
    label: int
    group: str


@dataclass(frozen=True)
class Split:
    """The labelled set in two halves that share no group."""

    train: list[Example]
    validation: list[Example]


def read_examples(app: App) -> list[Example]:
    """Every slice of the newest version of each labelled upload, of the current normaliser."""
    return examples_of((line for _, part in index_parts(app) for line in part), app.settings)


def index_parts(app: App) -> Iterator[tuple[datetime, list[IndexLine]]]:
    """The index parts and when each was written, oldest first.

    A slice that was made again is named again: the later line says what its picture is now.
    """
    work = app.settings.work_bucket
    parts = objects.listing(app.s3, work, keys.DATASET_INDEX)
    for part in sorted(parts, key=lambda part: part["LastModified"]):
        yield part["LastModified"], list(read_lines(objects.read(app.s3, work, part["Key"])))


def examples_of(lines: Iterable[IndexLine], settings: Settings) -> list[Example]:
    """Examples from index lines, in slice order.

    Left out are classes that are no longer learned, slices that are to be made again, and slices
    of a volume that show no lung: its label does not speak of them.
    """
    places = {name: place for place, name in enumerate(settings.class_names)}
    examples = [
        Example(line.slice_id, places[line.label.name], line.label.group)
        for line in _newest(lines)
        if line.label
        and line.label.name in places
        and is_current(line, settings)
        and shows_lung(line)
    ]
    return sorted(examples, key=lambda example: example.slice_id)


def is_current(line: IndexLine, settings: Settings) -> bool:
    """Whether intake would make the same pixels now: by normaliser, image shape and lung window."""
    made = (line.normaliser, line.processing.get("image_shape"), line.lung_window_hu)
    return made == (NORMALISER, list(settings.image_shape), settings.lung_window_hu)


def _newest(lines: Iterable[IndexLine]) -> Iterator[IndexLine]:
    newest: dict[str, list[IndexLine]] = {}
    for slices in by_upload(lines).values():
        source = slices[0].source
        held = newest.get(source.key)
        if held is None or is_newer(source, held[0].source):
            newest[source.key] = slices
    for slices in newest.values():
        yield from slices


def split(examples: list[Example], class_names: tuple[str, ...], share: float) -> Split:
    """Whole groups to train or validation, by a hash of the group's name: stable for ever.

    A group keeps its half when others come or go. Where chance leaves a class out of a half, the
    group nearest to the border that no other class needs on its side changes sides.

    Raises
    ------
    TrainingDataError
        A class has no slice, or fewer than two groups.
    """
    _check_classes(examples, class_names)
    groups_of = [
        {e.group for e in examples if e.label == label} for label in range(len(class_names))
    ]
    held_out = _held_out(groups_of, share)
    halves = Split(
        train=[e for e in examples if e.group not in held_out],
        validation=[e for e in examples if e.group in held_out],
    )
    _check_halves(halves, class_names)
    return halves


def _held_out(groups_of: list[set[str]], share: float) -> set[str]:
    held_out = {group for groups in groups_of for group in groups if _place(group) < share}
    for groups in groups_of:
        nearest = sorted(groups, key=_place)
        if not held_out & groups:
            _move(nearest, held_out, lambda half: any(half >= other for other in groups_of))
        elif held_out >= groups:
            farthest = nearest[::-1]
            _move(farthest, held_out, lambda half: any(not half & other for other in groups_of))
    return held_out


def _move(nearest: list[str], held_out: set[str], harms: Callable[[set[str]], bool]) -> None:
    """Let the first group change sides that harms no class by it, or else the very first."""
    harmless = (group for group in nearest if not harms(held_out ^ {group}))
    held_out.symmetric_difference_update({next(harmless, nearest[0])})


def _check_halves(halves: Split, class_names: tuple[str, ...]) -> None:
    for half, examples in (("training", halves.train), ("validation", halves.validation)):
        absent = [name for name, count in counts(examples, class_names).items() if not count]
        if absent:
            message = (
                f"no whole groups leave class(es) {', '.join(absent)} in the {half} half: classes "
                "share too few groups; add groups"
            )
            raise TrainingDataError(message)


def _check_classes(examples: list[Example], class_names: tuple[str, ...]) -> None:
    for label, name in enumerate(class_names):
        groups = {e.group for e in examples if e.label == label}
        if len(groups) < 2:  # one for each half
            message = (
                f"class '{name}' has {len(groups)} group(s) of labelled slices; at least two are "
                f"needed, one to learn from and one to validate on: add labelled/{name}/<group>/"
            )
            raise TrainingDataError(message)


def _place(group: str) -> float:
    """Where a group falls in 0…1, the same on every machine and in every year."""
    return int(hashlib.sha256(f"tomodrop:{group}".encode()).hexdigest()[:13], 16) / 16**13


def digest(examples: Iterable[Example]) -> str:
    """SHA-256 of the set: slices, labels and groups, whatever their order."""
    lines = sorted(f"{e.slice_id} {e.label} {e.group}" for e in examples)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def counts(examples: Iterable[Example], class_names: tuple[str, ...]) -> dict[str, int]:
    """Slices by class name."""
    found = Counter(e.label for e in examples)
    return {name: found[place] for place, name in enumerate(class_names)}


def manifest(examples: list[Example], work_bucket: str, seed: str, *, with_groups: bool) -> bytes:
    """An augmented manifest in a shuffled order (SageMaker, "Augmented Manifest File").

    Shuffled here as well as by the job: without ShuffleConfig SageMaker streams the file's order,
    and a file sorted by class does not train. A group's name may be a patient's: what is sent in
    its place is the same in every job, and says only which slices belong together.
    """
    shuffled = list(examples)
    random.Random(seed).shuffle(shuffled)  # noqa: S311 - an order, not a secret
    return "".join(
        json.dumps(
            {
                "source-ref": f"s3://{work_bucket}/{keys.DATASET_SLICES}{example.slice_id}.png",
                "class": str(example.label),
                **({GROUP: _group_code(example.group)} if with_groups else {}),
            }
        )
        + "\n"
        for example in shuffled
    ).encode()


def _group_code(group: str) -> str:
    return hashlib.sha256(f"tomodrop-group:{group}".encode()).hexdigest()[:16]
