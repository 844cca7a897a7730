"""The labelled set: what the index parts hold, split by group, and as manifests."""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from aws_lambda_powertools import Logger

from tomodrop import keys, objects
from tomodrop.clients import App
from tomodrop.halves import TRAIN, VALIDATION, group_code
from tomodrop.imaging.version import NORMALISER
from tomodrop.settings import Settings
from tomodrop.slices import IndexLine, by_upload, is_newer, read_lines
from tomodrop.volumes import shows_lung

# The attribute of a manifest's line that only the algorithm of ours reads.
GROUP = "group"

logger = Logger(child=True)


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
    """Every slice to learn from, see `examples_of`; the log says how many show no lung."""
    lines = [line for _, part in index_parts(app) for line in part]
    without_lung = sum(not shows_lung(line) for line in _current(lines, app.settings))
    if without_lung:
        logger.info("slices without lung are not learnt from", extra={"slices": without_lung})
    return examples_of(lines, app.settings)


def index_parts(app: App) -> Iterator[tuple[datetime, list[IndexLine]]]:
    """The index parts and when each was written, oldest first.

    A slice that was made again is named again: the later line says what its picture is now.
    """
    work = app.settings.work_bucket
    parts = objects.listing(app.s3, work, keys.DATASET_INDEX)
    for part in sorted(parts, key=lambda part: part["LastModified"]):
        yield part["LastModified"], list(read_lines(objects.read(app.s3, work, part["Key"])))


def examples_of(lines: Iterable[IndexLine], settings: Settings) -> list[Example]:
    """Examples from the newest version of each labelled upload, in slice order.

    Left out are classes that are no longer learned, slices that are to be made again, and slices
    of a volume that show no lung: its label does not speak of them.
    """
    places = {name: place for place, name in enumerate(settings.class_names)}
    examples = [
        Example(line.slice_id, places[line.label.name], line.label.group)
        for line in _current(lines, settings)
        if line.label and line.label.name in places and shows_lung(line)
    ]
    return sorted(examples, key=lambda example: example.slice_id)


def _current(lines: Iterable[IndexLine], settings: Settings) -> Iterator[IndexLine]:
    return (line for line in _newest(lines) if is_current(line, settings))


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


def groups_by_class(examples: Iterable[Example], class_names: tuple[str, ...]) -> list[set[str]]:
    """The groups that have slices of each class, in the order of the class names."""
    groups: list[set[str]] = [set() for _ in class_names]
    for example in examples:
        groups[example.label].add(example.group)
    return groups


def split(examples: list[Example], halves: Mapping[str, str]) -> Split:
    """The examples of each half, by the halves of their groups (see `halves.settle`)."""
    return Split(
        train=[e for e in examples if halves[e.group] == TRAIN],
        validation=[e for e in examples if halves[e.group] == VALIDATION],
    )


def digest(examples: Iterable[Example]) -> str:
    """SHA-256 of the set: slices, labels and groups, whatever their order."""
    lines = sorted(f"{e.slice_id} {e.label} {e.group}" for e in examples)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def counts(examples: Iterable[Example], class_names: tuple[str, ...]) -> dict[str, int]:
    """Slices by class name."""
    found = Counter(e.label for e in examples)
    return {name: found[place] for place, name in enumerate(class_names)}


def held_out_lines(validation: Iterable[Example], split_key: str) -> bytes:
    """JSON Lines that say what each validation slice is, for whoever scores models on them."""
    return "".join(
        json.dumps(
            {
                "slice_id": example.slice_id,
                "label": example.label,
                "group": group_code(example.group, split_key),
            }
        )
        + "\n"
        for example in validation
    ).encode()


def manifest(
    examples: list[Example], work_bucket: str, seed: str, *, groups_key: str | None
) -> bytes:
    """An augmented manifest in a shuffled order (SageMaker, "Augmented Manifest File").

    Shuffled here as well as by the job: without ShuffleConfig SageMaker streams the file's order,
    and a file sorted by class does not train. A group's name may be a patient's: what is sent in
    its place (with `groups_key`, the split key) is the same in every job, and says only which
    slices belong together.
    """
    shuffled = list(examples)
    random.Random(seed).shuffle(shuffled)  # noqa: S311 - an order, not a secret
    return "".join(
        json.dumps(
            {
                "source-ref": f"s3://{work_bucket}/{keys.DATASET_SLICES}{example.slice_id}.png",
                "class": str(example.label),
                **({GROUP: group_code(example.group, groups_key)} if groups_key else {}),
            }
        )
        + "\n"
        for example in shuffled
    ).encode()
