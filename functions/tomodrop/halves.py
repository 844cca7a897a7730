"""Which half a group is in, training or validation: decided once by a keyed hash, kept for ever.

Models of different trainings are compared on held-out groups, so a group that one model has learnt
from must never be held out for another. What was decided is therefore kept in the work bucket and
goes before all else: other groups, another share, other class names, another key.

It is kept as a log, `dataset/halves/<number>.jsonl`: each training that meets new groups adds one
part, which S3 takes only if no other training has added it meanwhile. No part is ever changed.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence

from tomodrop import keys, objects
from tomodrop.clients import App
from tomodrop.errors import TrainingDataError

TRAIN, VALIDATION = "train", "validation"


def settle(app: App, groups_of: Sequence[Collection[str]]) -> dict[str, str]:
    """The half of every group; of new ones it is decided and kept. `groups_of`: by class.

    Raises
    ------
    TrainingDataError
        As `decide`; nothing is kept then.
    """
    settings = app.settings
    while True:
        kept, parts = read_kept(app)
        decided = decide(
            groups_of, kept, settings.class_names, settings.validation_share, settings.split_key
        )
        new = {group: half for group, half in decided.items() if group not in kept}
        if not new or _keep(app, parts + 1, new):
            return decided


def read_kept(app: App) -> tuple[dict[str, str], int]:
    """The half of each group that ever got one, and how many parts say so."""
    work = app.settings.work_bucket
    parts = objects.keys_under(app.s3, work, keys.DATASET_HALVES)
    kept: dict[str, str] = {}
    for part in parts:
        for line in objects.read(app.s3, work, part).splitlines():
            said = json.loads(line)
            kept.setdefault(said["group"], said["half"])
    return kept, len(parts)


def _keep(app: App, number: int, new: Mapping[str, str]) -> bool:
    lines = (json.dumps({"group": group, "half": half}) for group, half in sorted(new.items()))
    body = "".join(f"{line}\n" for line in lines).encode()
    key = f"{keys.DATASET_HALVES}{number:08d}.jsonl"
    return objects.write_once(app.s3, app.settings.work_bucket, key, body, "application/jsonl")


def decide(
    groups_of: Sequence[Collection[str]],
    kept: Mapping[str, str],
    class_names: Sequence[str],
    share: float,
    split_key: str,
) -> dict[str, str]:
    """The half of every group: the kept one, else by a hash of its name, held out below `share`.

    Where chance leaves a class out of a half, the group nearest to the border that has no half yet
    and that no other class needs on its side changes sides.

    Raises
    ------
    TrainingDataError
        A class has fewer than two groups, or would lack in a half whatever becomes of new groups.
    """
    classes = [set(groups) for groups in groups_of]
    _check_groups(classes, class_names)
    everyone = set().union(*classes)
    places = {group: place(group, split_key) for group in everyone}
    held_out = {
        group
        for group in everyone
        if (kept[group] == VALIDATION if group in kept else places[group] < share)
    }
    movable = sorted(everyone - kept.keys(), key=places.__getitem__)
    _balance(classes, movable, held_out)
    _check_halves(classes, held_out, kept, class_names)
    return {group: VALIDATION if group in held_out else TRAIN for group in everyone}


def _balance(classes: list[set[str]], movable: list[str], held_out: set[str]) -> None:
    """Put a movable group of each class into the half that lacks the class."""
    for groups in classes:
        nearest = [group for group in movable if group in groups]
        if not held_out & groups:
            _move(nearest, held_out, lambda half: any(half >= other for other in classes))
        elif held_out >= groups:
            farthest = nearest[::-1]
            _move(farthest, held_out, lambda half: any(not half & other for other in classes))


def _move(nearest: list[str], held_out: set[str], harms: Callable[[set[str]], bool]) -> None:
    """Let the first group change sides that harms no class by it, or else the very first."""
    if nearest:
        harmless = (group for group in nearest if not harms(held_out ^ {group}))
        held_out.symmetric_difference_update({next(harmless, nearest[0])})


def _check_groups(classes: list[set[str]], class_names: Sequence[str]) -> None:
    for groups, name in zip(classes, class_names, strict=True):
        if len(groups) < 2:  # one for each half
            message = (
                f"class '{name}' has {len(groups)} group(s) of labelled slices; at least two are "
                f"needed, one to learn from and one to validate on: add labelled/{name}/<group>/"
            )
            raise TrainingDataError(message)


def _check_halves(
    classes: list[set[str]],
    held_out: set[str],
    kept: Mapping[str, str],
    class_names: Sequence[str],
) -> None:
    for name, groups in zip(class_names, classes, strict=True):
        for half, members in (("training", groups - held_out), ("validation", groups & held_out)):
            if members:
                continue
            raise TrainingDataError(_lacking(name, half, is_settled=groups <= kept.keys()))


def _lacking(name: str, half: str, *, is_settled: bool) -> str:
    if is_settled:
        return (
            f"class '{name}' has no group in the {half} half: an earlier training put all of them "
            f"into the other half, where they stay; add groups: labelled/{name}/<group>/"
        )
    return (
        f"no whole groups leave class '{name}' in the {half} half: classes share too few groups; "
        "add groups"
    )


def place(group: str, split_key: str) -> float:
    """Where a group falls in 0…1, the same on every machine and in every year."""
    return int(hashlib.sha256(f"{split_key}:{group}".encode()).hexdigest()[:13], 16) / 16**13


def group_code(group: str, split_key: str) -> str:
    """What stands for a group's name outside the index: 16 hex digits, the same in every job."""
    return hashlib.sha256(f"{split_key}-group:{group}".encode()).hexdigest()[:16]
