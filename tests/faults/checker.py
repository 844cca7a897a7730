"""What must hold: after every change of a result, and once everything has drained.

In the manner of Jepsen's checkers for queues: what went in is compared with what came out, by
listing the buckets. Invariants are numbered as in docs/reliability.md.
"""

import json
from typing import TYPE_CHECKING, Any

from tests.faults.errors import InvariantBroken
from tests.faults.sagemaker import is_evaluation
from tests.faults.uploads import Version
from tomodrop import keys
from tomodrop.slices import read_lines

if TYPE_CHECKING:
    from tests.faults.world import World

_TOLERANCE = 1e-5


class Watch:
    """Looks at each change while a schedule runs; what it finds is raised after the call."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._ranks: dict[str, int] = {}
        self._broken: list[str] = []

    def look(self) -> None:
        """A result may have changed."""
        ranks = {}
        for key in result_keys(self._world):
            found = version_of(self._world, json_of(self._world, key))
            if found is None:
                self._broken.append(f"I3: {key} names no version of an upload")
                continue
            ranks[key] = found.rank
            before = self._ranks.get(key)
            if before is not None and found.rank < before:
                self._broken.append(f"I2: at {key} version {found.rank} replaced {before}")
        self._ranks = ranks

    def raise_broken(self) -> None:
        """Raise what was seen."""
        if self._broken:
            raise InvariantBroken("; ".join(self._broken))


def result_keys(world: "World") -> list[str]:
    """Keys of all results."""
    folders = (keys.PREDICTIONS, keys.REJECTED, keys.REJECTED_LABELLED)
    return [
        key
        for key in world.stage.keys(world.settings.predictions_bucket)
        if key.startswith(folders)
    ]


def json_of(world: "World", key: str) -> dict[str, Any]:
    """A result."""
    body = world.stage.read(world.settings.predictions_bucket, key)
    document: dict[str, Any] = json.loads(body or b"{}")
    return document


def version_of(world: "World", document: dict[str, Any]) -> Version | None:
    """The version of an upload that a result says it belongs to."""
    source = document["source"]
    for version in world.versions.get(source["key"], []):
        if (version.version_id, version.sha256) == (source["version_id"], source["sha256"]):
            return version
    return None


def faults(world: "World") -> list[str]:
    """What is not as it must be once everything has drained."""
    found = [fault for key in sorted(world.versions) for fault in _faults_of_upload(world, key)]
    found += _unexpected(world)
    found += _faults_of_jobs(world)
    found += world.live_models.faults()
    pending = [item for item in world.app.table.scan()["Items"] if "pending" in item]
    found += [f"the table waits for {item['batch_id']!s}/{item['part']!s}" for item in pending]
    found += ["the queue holds a message"] * bool(world.queue)
    return found


def _faults_of_upload(world: "World", key: str) -> list[str]:
    if key in world.deleted:
        return []
    newest = world.versions[key][-1]
    if key.startswith(keys.LABELLED) and newest.kind != "damaged":
        return _faults_of_labelled(world, newest)
    homes = (keys.prediction_key(key), keys.rejection_key(key))
    there = [home for home in homes if home in result_keys(world)]
    if len(there) != 1:
        return [f"I1: {key} has the results {there}"]
    document = json_of(world, there[0])
    if version_of(world, document) != newest:
        return [f"I1: {there[0]} is not of the newest version {newest.rank}"]
    return _faults_of_document(world, newest, document)


def _faults_of_labelled(world: "World", newest: Version) -> list[str]:
    work = world.settings.work_bucket
    named = {
        line.source.version_id
        for key in world.stage.keys(work)
        if key.startswith(keys.DATASET_INDEX)
        for line in read_lines(world.stage.read(work, key) or b"")
    }
    if newest.version_id not in named:
        return [f"I1: {newest.key} is not in the labelled set"]
    if keys.rejection_key(newest.key) in result_keys(world):
        return [f"I1: {newest.key} is in the labelled set, and rejected"]
    return []


def _faults_of_document(world: "World", version: Version, document: dict[str, Any]) -> list[str]:
    if document["status"] == "rejected":
        code = document["rejection"]["code"]
        if version.kind == "damaged":
            return [] if code == "damaged_image" else [f"I1: {version.key} is rejected as {code}"]
        if code == "no_answer" and _was_never_answered(world, version, document):
            return []
        return [f"I1: {version.key} is rejected as {code}, but its job answered"]
    if version.kind == "damaged":
        return [f"I1: {version.key} is damaged and has a prediction"]
    return _faults_of_prediction(world, version, document)


def _was_never_answered(world: "World", version: Version, document: dict[str, Any]) -> bool:
    """Whether each allowed attempt of the job that it names left a slice without an answer."""
    stem = document["batch"]["job"].rpartition("-")[0]
    for attempt in range(1, world.settings.max_attempts + 1):
        job = world.sagemaker.accepted.get(f"{stem}-{attempt}")
        if job is None or not any(name.startswith(version.upload_id) for name in job.unanswered):
            return False
    return True


def _faults_of_prediction(world: "World", version: Version, document: dict[str, Any]) -> list[str]:
    found = []
    expected = sum(version.positives) / len(version.positives)
    if abs(document["prediction"]["probabilities"]["covid"] - expected) > _TOLERANCE:
        found.append(f"I3: the prediction of {version.key} is not of its pixels")
    listed = [one["probabilities"]["covid"] for one in document.get("slices") or []]
    if listed and any(
        abs(one - wanted) > _TOLERANCE
        for one, wanted in zip(listed, version.positives, strict=True)
    ):
        found.append(f"I3: the slices of {version.key} are mixed up")
    job = world.sagemaker.accepted.get(document["batch"]["job"])
    if job is None or job.model != document["model"]["name"]:
        found.append(f"I3: {version.key} names a job or model that did not score it")
    return found


def _unexpected(world: "World") -> list[str]:
    homes = (keys.prediction_key, keys.rejection_key)
    expected = {name(key) for key in world.versions for name in homes}
    return [f"I1: {key} has no upload" for key in result_keys(world) if key not in expected]


def _faults_of_jobs(world: "World") -> list[str]:
    found = []
    begun_on: dict[str, str] = {}
    for name, job in world.sagemaker.accepted.items():
        stem, _, attempt = name.rpartition("-")
        if int(attempt) > world.settings.max_attempts:
            found.append(f"I4: {name} is one attempt too many")
        if begun_on.setdefault(stem, job.model) != job.model:
            found.append(f"I9: {name} is not on the model that its batch began with")
        if not is_evaluation(name) and not world.live_models.was_live(job.model):
            found.append(f"I9: {name} is on a model that was never live")
    running = [*world.sagemaker.running("transform-job"), *world.sagemaker.running("training-job")]
    found += [f"I4: {name} still runs" for name in running]
    found += [f"I1: a job was given {name}, which is not there" for name in world.sagemaker.absent]
    return found
