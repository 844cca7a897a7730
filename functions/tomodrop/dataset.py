"""The labelled set: what the index parts hold, split by group, and as manifests."""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tomodrop import keys, objects
from tomodrop.clients import App
from tomodrop.errors import TrainingDataError
from tomodrop.imaging.version import NORMALISER
from tomodrop.slices import IndexLine, is_newer, read_lines


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
    work = app.settings.work_bucket
    lines: list[IndexLine] = []
    for key in objects.keys_under(app.s3, work, keys.DATASET_INDEX):
        lines.extend(read_lines(objects.read(app.s3, work, key)))
    return examples_of(lines, app.settings.class_names)


def examples_of(lines: Iterable[IndexLine], class_names: tuple[str, ...]) -> list[Example]:
    """Examples from index lines, in slice order; classes that are no longer learned are left out."""
    places = {name: place for place, name in enumerate(class_names)}
    examples = [
        Example(line.slice_id, places[line.label.name], line.label.group)
        for line in _newest(lines)
        if line.label and line.label.name in places and line.normaliser == NORMALISER
    ]
    return sorted(examples, key=lambda example: example.slice_id)


def _newest(lines: Iterable[IndexLine]) -> Iterator[IndexLine]:
    newest: dict[str, dict[str, IndexLine]] = {}
    for line in lines:
        held = newest.setdefault(line.source.key, {})
        other = next(iter(held.values()), None)
        if other and other.source.version_id != line.source.version_id:
            if not is_newer(line.source, other.source):
                continue
            held.clear()
        held[line.slice_id] = line
    for held in newest.values():
        yield from held.values()


def split(examples: list[Example], class_names: tuple[str, ...], share: float) -> Split:
    """Whole groups to train or validation, by a hash of the group's name: stable for ever.

    A group keeps its half when others come or go. Where chance leaves a class out of a half, the
    group nearest to the border changes sides.

    Raises
    ------
    TrainingDataError
        A class has no slice, or fewer than two groups.
    """
    _check_classes(examples, class_names)
    held_out = {e.group for e in examples if _place(e.group) < share}
    for label in range(len(class_names)):
        groups = sorted({e.group for e in examples if e.label == label}, key=_place)
        if not held_out.intersection(groups):
            held_out.add(groups[0])
        elif held_out.issuperset(groups):
            held_out.discard(groups[-1])
    halves = Split(
        train=[e for e in examples if e.group not in held_out],
        validation=[e for e in examples if e.group in held_out],
    )
    _check_halves(halves, class_names)
    return halves


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
        if len(groups) < 2:  # noqa: PLR2004 - one for each half
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


def manifest(examples: list[Example], work_bucket: str, seed: str) -> bytes:
    """An augmented manifest in a shuffled order (SageMaker, "Augmented Manifest File").

    Shuffled here as well as by the job: without ShuffleConfig SageMaker streams the file's order,
    and a file sorted by class does not train.
    """
    shuffled = list(examples)
    random.Random(seed).shuffle(shuffled)  # noqa: S311 - an order, not a secret
    return "".join(
        json.dumps(
            {
                "source-ref": f"s3://{work_bucket}/{keys.DATASET_SLICES}{example.slice_id}.png",
                "class": str(example.label),
            }
        )
        + "\n"
        for example in shuffled
    ).encode()
