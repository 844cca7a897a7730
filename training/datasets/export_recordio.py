"""Packs a labelled set as MXNet's im2rec does, for those who prefer RecordIO to a manifest.

    python -m training.datasets.export_recordio LABELLED OUT --validation-share 0.2 --seed 0

reads `LABELLED/<class>/<group>/…/<file>` and writes `train.rec`, `validation.rec` and
`classes.json`, the classes in the order of their indices. A group (a patient, a scan block) goes to
one half, whichever classes it has; each class is in both. It is the half that the group has in the
scheduled trainings as well, if their stack has the same ValidationShare and SplitKey and has not
trained on fewer groups before. Records come in a shuffled order, since what is sorted by class
cannot be learnt from a stream. Files that are no PNG or JPEG are skipped and named.
"""

import argparse
import hashlib
import json
import random
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.algorithm.image_records import is_encoded_image, pack_image
from training.algorithm.records import write_record
from training.algorithm.replacing import replacing

CLASSES_NAME = "classes.json"
TRAIN_NAME = "train.rec"
VALIDATION_NAME = "validation.rec"
_SAY_EVERY = 1000


class ExportError(ValueError):
    """The labelled set cannot be packed; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Example:
    """One file, the index of its class and the name of its group."""

    path: Path
    label: int
    group: str


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, and the files that were skipped."""

    classes: tuple[str, ...]
    train: int
    validation: int
    skipped: tuple[Path, ...]


def export(labelled: Path, out: Path, *, share: float, seed: int, split_key: str) -> Exported:
    """Write both halves and the classes into `out`.

    Raises
    ------
    ExportError
        The tree has fewer than two classes, or a class that no whole group leaves to one half.
    """
    classes, examples = list_examples(labelled)
    held_out = hold_out(examples, classes, share, split_key)
    # SageMaker wants one folder per channel, but takes a file as S3Uri as well.
    out.mkdir(parents=True, exist_ok=True)
    skipped: list[Path] = []
    halves = [
        ([e for e in examples if e.group not in held_out], TRAIN_NAME),
        ([e for e in examples if e.group in held_out], VALIDATION_NAME),
    ]
    train, validation = (
        _write(_shuffled(half, seed), out / name, skipped) for half, name in halves
    )
    (out / CLASSES_NAME).write_text(json.dumps(classes) + "\n", encoding="utf-8")
    return Exported(classes, train, validation, tuple(skipped))


def list_examples(labelled: Path) -> tuple[tuple[str, ...], list[Example]]:
    """Return the classes in order of name, and every file two folders or more below `labelled`."""
    if not labelled.is_dir():
        raise ExportError(f"{labelled} is no folder: name one that holds <class>/<group>/<file>")
    folders = sorted(path for path in labelled.iterdir() if path.is_dir())
    examples = [
        Example(path, label, path.relative_to(folder).parts[0])
        for label, folder in enumerate(folders)
        for path in sorted(folder.glob("*/**/*"))
        if path.is_file()
    ]
    present = {example.label for example in examples}
    empty = [folder.name for label, folder in enumerate(folders) if label not in present]
    if empty or len(folders) < 2:
        raise ExportError(
            f"{labelled} must hold two class folders or more, each with <group>/<file>; "
            f"there are {len(folders)}, without files: {', '.join(empty) or 'none'}"
        )
    return tuple(folder.name for folder in folders), examples


def hold_out(
    examples: Sequence[Example], classes: Sequence[str], share: float, split_key: str
) -> set[str]:
    """Return the groups of the validation half: by a keyed hash of the name, so they stay in it.

    Where chance leaves a class out of a half, the group nearest to the border that no other class
    needs on its side changes sides. `functions/tomodrop/halves.py` decides alike; a test compares.
    """
    groups_of = [{e.group for e in examples if e.label == label} for label in range(len(classes))]
    for name, groups in zip(classes, groups_of, strict=True):
        if len(groups) < 2:  # one for each half
            raise ExportError(
                f"class {name!r} has {len(groups)} group(s), and needs two, one to learn from and "
                "one to validate on: add groups to it"
            )
    places = {group: place(group, split_key) for groups in groups_of for group in groups}
    held_out = {group for group, at in places.items() if at < share}
    for groups in groups_of:
        nearest = sorted(groups, key=places.__getitem__)
        if not held_out & groups:
            _move(nearest, held_out, lambda half: any(half >= other for other in groups_of))
        elif held_out >= groups:
            _move(nearest[::-1], held_out, lambda half: any(not half & g for g in groups_of))
    for name, groups in zip(classes, groups_of, strict=True):
        if not held_out & groups or held_out >= groups:
            raise ExportError(
                f"no whole groups leave class {name!r} in both halves: classes share too few "
                "groups; add groups to it"
            )
    return held_out


def _move(nearest: list[str], held_out: set[str], harms: Callable[[set[str]], bool]) -> None:
    """Let the first group change sides that harms no class by it, or else the very first."""
    harmless = (group for group in nearest if not harms(held_out ^ {group}))
    held_out.symmetric_difference_update({next(harmless, nearest[0])})


def place(group: str, split_key: str) -> float:
    """Return where a group falls in 0…1, the same on every machine."""
    return int(hashlib.sha256(f"{split_key}:{group}".encode()).hexdigest()[:13], 16) / 16**13


def _shuffled(examples: list[Example], seed: int) -> list[Example]:
    return random.Random(seed).sample(examples, len(examples))  # noqa: S311  # an order, no secret


def _write(examples: Iterable[Example], path: Path, skipped: list[Path]) -> int:
    """Write one half in one step; return the number of its records."""
    count = 0
    with replacing(path) as part, part.open("wb") as file:
        for example in examples:
            encoded = example.path.read_bytes()
            if not is_encoded_image(encoded):
                skipped.append(example.path)
                continue
            file.write(write_record(pack_image([example.label], count, encoded)))
            count += 1
            if count % _SAY_EVERY == 0:
                sys.stderr.write(f"{path.name}: {count} images\n")
    return count


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share between 0 and 1")
    return share


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m training.datasets.export_recordio",
        description="Pack <class>/<group>/<file> into train.rec and validation.rec, by group.",
    )
    parser.add_argument("labelled", type=Path, help="folder with <class>/<group>/<file>")
    parser.add_argument("out", type=Path, help="folder for the .rec files and classes.json")
    parser.add_argument("--validation-share", type=_share, default=0.2, metavar="SHARE")
    parser.add_argument(
        "--split-key", default="tomodrop", metavar="KEY", help="as the stack's parameter SplitKey"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the order of the records")
    given = parser.parse_args(arguments)
    try:
        done = export(
            given.labelled,
            given.out,
            share=given.validation_share,
            seed=given.seed,
            split_key=given.split_key,
        )
    except ExportError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for path in done.skipped:
        sys.stderr.write(f"skipped, neither a PNG nor a JPEG: {path}\n")
    sys.stdout.write(
        f"{done.train} images in {TRAIN_NAME}, {done.validation} in {VALIDATION_NAME}, "
        f"{len(done.classes)} classes in {CLASSES_NAME}, {len(done.skipped)} files skipped\n"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
