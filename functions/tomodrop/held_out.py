"""The slices that a training held out: what models are scored on, and by which they are compared.

`training/<job>/held_out.jsonl` is written by `retrain`: a JSON line for each slice, with
`slice_id`, `label` (place in the class names) and `group` (a code). A group's half never changes,
so no model of this stack has learnt from these slices.
"""

import hashlib
import heapq
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

from botocore.exceptions import ClientError

from tomodrop import keys, objects
from tomodrop.clients import App
from tomodrop.errors import EvaluationError

# Nobody should write the file again; whoever does may be met once.
_MAX_READINGS = 3


@dataclass(frozen=True)
class HeldOutSlice:
    """One slice; `label` counts from 0 in the order of the class names, `group` is a code."""

    slice_id: str
    label: int
    group: str


@dataclass(frozen=True)
class HeldOut:
    """What is scored of a held-out set: `digest` is the SHA-256 of the whole file.

    `total`: slices in the file; `slices`: those to score, in slice order.
    """

    digest: str
    total: int
    slices: list[HeldOutSlice]

    @property
    def slice_ids(self) -> list[str]:
        """Names of the slices to score."""
        return [line.slice_id for line in self.slices]


def read_held_out(app: App, training_job: str, class_count: int) -> HeldOut:
    """The held-out slices of a training, at most `MaxEvaluationSlices` of them.

    The file is read twice, so that a large one needs little memory.

    Raises
    ------
    EvaluationError
        There is no such file, it is damaged, or it is replaced again and again.
    """
    most = app.settings.max_evaluation_slices
    for _ in range(_MAX_READINGS):
        digest, again, sizes = hashlib.sha256(), hashlib.sha256(), Counter[str]()
        for one in _parsed(app, training_job, class_count, digest):
            sizes[one.group] += 1
        if not sizes:
            raise EvaluationError("the training's held_out.jsonl names no slice")
        slices = sample(_parsed(app, training_job, class_count, again), sizes, most)
        if again.digest() == digest.digest():
            return HeldOut(digest.hexdigest(), sizes.total(), slices)
    raise EvaluationError("the training's held_out.jsonl is replaced while it is read")


def held_out_digest(app: App, training_job: str) -> str:
    """SHA-256 of the file as it is now, as in `HeldOut.digest`."""
    digest = hashlib.sha256()
    for line in _lines(app, training_job):
        digest.update(line + b"\n")
    return digest.hexdigest()


def sample(slices: Iterable[HeldOutSlice], sizes: Counter[str], most: int) -> list[HeldOutSlice]:
    """At most `most` slices, as evenly from all groups as can be, the same each time.

    Groups are what a figure's uncertainty comes from, so all are kept, and large ones give fewer of
    their slices: those whose hashes come first. `sizes`: slices by group.
    """
    quota = quota_of(sizes, most)
    chosen: dict[str, list[tuple[str, HeldOutSlice]]] = defaultdict(list)
    for one in slices:
        place = hashlib.sha256(one.slice_id.encode()).hexdigest()
        chosen[one.group].append((place, one))
        if len(chosen[one.group]) > 2 * quota:
            chosen[one.group] = heapq.nsmallest(quota, chosen[one.group], key=_place)
    kept = [pair for group in chosen.values() for pair in heapq.nsmallest(quota, group, key=_place)]
    # With more groups than slices wanted, not every group has one.
    first = heapq.nsmallest(most, kept, key=_place)
    return sorted((one for _, one in first), key=lambda one: one.slice_id)


def quota_of(sizes: Counter[str], most: int) -> int:
    """How many slices a group may give (at least 1) so that no more than `most` are taken."""
    low, high = 1, max(sizes.values())
    while low < high:
        middle = (low + high + 1) // 2
        if sum(min(size, middle) for size in sizes.values()) <= most:
            low = middle
        else:
            high = middle - 1
    return low


def _place(pair: tuple[str, HeldOutSlice]) -> str:
    return pair[0]


def _parsed(
    app: App, training_job: str, class_count: int, digest: "hashlib._Hash"
) -> Iterator[HeldOutSlice]:
    for line in _lines(app, training_job):
        digest.update(line + b"\n")
        yield _parse(line, class_count)


def _lines(app: App, training_job: str) -> Iterator[bytes]:
    try:
        found = app.s3.get_object(Bucket=app.settings.work_bucket, Key=keys.held_out(training_job))
    except ClientError as error:
        if objects.is_absent(error):
            raise EvaluationError(
                "the training has no held_out.jsonl, the list of the slices that it held out; "
                "trainings started before this version have none, the next one will"
            ) from None
        raise
    with closing(found["Body"]) as body:
        yield from body.iter_lines(chunk_size=256 * 1024)


def _parse(line: bytes, class_count: int) -> HeldOutSlice:
    try:
        fields = json.loads(line)
        slice_id, label, group = (fields[name] for name in ("slice_id", "label", "group"))
    except (ValueError, KeyError, TypeError):
        raise EvaluationError("a line of the training's held_out.jsonl is damaged") from None
    are_texts = isinstance(slice_id, str) and isinstance(group, str)
    if not are_texts or type(label) is not int or not 0 <= label < class_count:
        raise EvaluationError("a line of the training's held_out.jsonl is damaged")
    return HeldOutSlice(slice_id, label, group)
