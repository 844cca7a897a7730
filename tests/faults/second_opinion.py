"""The gate once more, in few words: from the answers that the schedule gave, not from any figures.

The bound on the difference of two models is exact here: all draws of the held-out groups are gone
through, and the share of those in which the challenger is worse tells whether it may pass. The
product draws some of them; where the share is near the border it may find either.
"""

import json
from collections import defaultdict
from datetime import datetime
from hashlib import sha256
from itertools import product
from typing import TYPE_CHECKING, Any

from tests.faults.sagemaker import Scored, is_evaluation

if TYPE_CHECKING:
    from tests.faults.world import World

Json = dict[str, Any]
Right = dict[str, bool]
PROMOTED, REFUSED, FAILED = "promoted", "refused", "failed"
# Of the draws in which a challenger is worse by more than the margin, on both sides of 5 %.
_FEW, _MANY = 0.02, 0.1


def verdicts(world: "World", decision: Json, champion: Json) -> set[str]:
    """What the decision on a training may be. None: something was not scored that had to be.

    `champion`: record of the model that was live before it.
    """
    sagemaker, job = world.sagemaker, decision["training_job"]
    if sagemaker.status("training-job", job) != "Completed":
        return {FAILED}
    if trained_at(world, champion) > sagemaker.created(job):
        return {REFUSED}
    evaluation = decision["evaluation"]
    if evaluation is None:
        return {REFUSED} if _left_open(world, job) else set()
    wanted = _held_out(world, job, evaluation["held_out"]["digest"])
    rights = {
        name: _right(world, evaluation["models"].get(role), name)
        for role, name in (("challenger", job), ("champion", champion["model_name"]))
    }
    if not wanted or any(not wanted <= right.keys() for right in rights.values()):
        return set()
    return _by_answers(world, sorted(wanted), rights[job], rights[champion["model_name"]])


def trained_at(world: "World", record: Json) -> float:
    """When the training of a live model was made, in seconds since the epoch."""
    if record["training_job"] in world.sagemaker.trainings_ended():
        return world.sagemaker.created(record["training_job"])
    return datetime.fromisoformat(record["trained_at"]).timestamp()


def _left_open(world: "World", job: str) -> bool:
    """Whether the jobs that score models for this training left any slice without an answer."""
    time = job.rpartition("-")[2]
    accepted = world.sagemaker.accepted.values()
    return any(
        one.unanswered for one in accepted if is_evaluation(one.name) and f"-{time}-" in one.name
    )


def _held_out(world: "World", job: str, digest: str) -> set[str]:
    """The slices of the held-out set with this digest; none if there never was such a set."""
    stored = world.stage.versions(world.settings.work_bucket, f"training/{job}/held_out.jsonl")
    body = next((body for body in stored if sha256(body).hexdigest() == digest), b"")
    return {json.loads(line)["slice_id"] for line in body.splitlines()}


def _right(world: "World", scored: Json | None, name: str) -> Right:
    """By slice, whether this model's answer was right in the jobs that are said to score it."""
    jobs = scored["jobs"] if scored and scored["model"] == name else []
    accepted: list[Scored] = [world.sagemaker.accepted[job] for job in jobs]
    right: Right = {}
    for job in accepted:
        right |= job.right if job.model == name else {}
    return right


def _by_answers(world: "World", wanted: list[str], challenger: Right, champion: Right) -> set[str]:
    settings = world.settings
    accuracy = sum(challenger[one] for one in wanted) / len(wanted)
    if accuracy < settings.minimum_validation_accuracy:
        world.fired["a model is below the floor"] += 1
        return {REFUSED}
    groups: dict[str, list[int]] = defaultdict(list)
    for one in wanted:
        group = world.version_of(one).key.rpartition("/")[0]
        groups[group].append(challenger[one] - champion[one])
    worse = _share_worse(list(groups.values()), settings.promotion_margin)
    if worse > _MANY:
        world.fired["a model loses against the live one"] += 1
        return {REFUSED}
    return {PROMOTED} if worse < _FEW else {PROMOTED, REFUSED}


def _share_worse(groups: list[list[int]], margin: float) -> float:
    """Of all draws of as many groups, with replacement, those worse by more than the margin."""
    if len(groups) < 2:
        return 1.0
    sums = [(sum(group), len(group)) for group in groups]
    drawn = [tuple(map(sum, zip(*draw, strict=True))) for draw in product(sums, repeat=len(sums))]
    return sum(better / count < -margin for better, count in drawn) / len(drawn)
