"""A SageMaker whose jobs end when and how a schedule says.

Its API is that of the local runner (`local.sagemaker.operations`), which validates requests by
botocore's own model, refuses a name that was used before and has quotas; moto's does neither. Only
the instances are different: no program runs, a job waits for its fate.
"""

import io
import json
import tarfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, cast

from PIL import Image

from local.sagemaker import training_record, transform_record
from local.sagemaker.errors import RequestError
from local.sagemaker.events import state_change
from local.sagemaker.job import Tools
from local.sagemaker.objects import Address
from local.sagemaker.operations import Operations
from local.sagemaker.records import KINDS, Json, Kind, Record, RecordStore
from local.sagemaker.runner import Runner, has_ended
from local.sagemaker.settings import Identity, Quotas, Timing
from local.sagemaker.validation import validate, without_nulls
from tests.faults.fates import Fate, Learnt
from tests.faults.uploads import positive_of
from tests.functions.builders import ACCOUNT, ENVIRONMENT

IDENTITY = Identity(ACCOUNT, "us-east-1")
_POSITIVE = "labelled/covid/"
# The probability of the class that an evaluated model answers.
_SURE = 0.9
Read = Callable[[str, str], bytes | None]
Write = Callable[[str, str, bytes], None]


class _MemoryStore(RecordStore):
    """Records that need not outlive the process."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._records = {kind: {} for kind in KINDS}

    def put(self, record: Record) -> None:
        self._records[record.kind][record.name] = record

    def remove(self, kind: Kind, name: str) -> None:
        del self._records[kind][name]


@dataclass
class Scored:
    """A transform job as it was accepted, and the slices that it left without a usable answer.

    `right`: of an evaluation, whether each answer that it gave was right.
    """

    name: str
    model: str
    slices: tuple[str, ...]
    unanswered: set[str] = field(default_factory=set)
    right: dict[str, bool] = field(default_factory=dict)


class SimulatedSageMaker:
    """Operations over records; `outbox` takes the events of jobs that end.

    `absent`: what a job was given to score and did not exist. `learnt`: by model, what it is wrong
    of when it is evaluated. `key_of`: the upload that a slice is of.
    """

    def __init__(
        self, read: Read, write: Write, now: Callable[[], float], key_of: Callable[[str], str]
    ) -> None:
        self._read, self._write, self._now, self._key_of = read, write, now, key_of
        self.outbox: list[Json] = []
        self.learnt: dict[str, frozenset[str]] = {}
        self.accepted: dict[str, Scored] = {}
        self.absent: list[str] = []
        self.store = _MemoryStore()
        tools = Tools(cast("Any", self), cast("Any", None), IDENTITY, Timing())
        self._operations = Operations(self.store, cast("Runner", self), tools, Quotas(2, 3))

    def answer(self, operation: str, body: bytes) -> tuple[int, Json]:
        """Status and answer of one request."""
        request = without_nulls(json.loads(body or b"{}"))
        try:
            validate(operation, request)
            return 200, self._operations.call(operation, request)
        except RequestError as refusal:
            return 400, {"__type": refusal.code, "message": str(refusal)}

    # ---- what the operations ask of a runner and of an object store

    def announce(self, record: Record) -> Record:
        """State changes on the way are no events that the stack's rules let through."""
        return record

    def start(self, record: Record) -> None:
        """A job was accepted. Its input is read now: SageMaker reads it after the answer."""
        if record.kind == "transform-job":
            inputs = self._inputs(record)
            self.absent += [name for address, name in inputs if not self.exists(address)]
            slices = tuple(name.removesuffix(".png") for _, name in inputs)
            model = record.description["ModelName"]
            self.accepted[record.name] = Scored(record.name, model, slices)

    def stop(self, kind: Kind, name: str) -> None:
        """It is Stopping until the schedule lets it stop."""

    def exists(self, address: Address) -> bool:
        """Whether there is such an object."""
        return self._read(address.bucket, address.key) is not None

    # ---- fates

    def running(self, kind: Kind) -> list[str]:
        """Jobs that wait for their fate, oldest first."""
        return [record.name for record in self.store.all(kind) if not has_ended(record)]

    def status(self, kind: Kind, name: str) -> str:
        """InProgress, Stopping or how it ended."""
        record = self.store.get(kind, name)
        module = transform_record if kind == "transform-job" else training_record
        return str(module.status_of(record))

    def created(self, name: str) -> float:
        """When a training was made, in seconds since the epoch."""
        return float(self.store.get("training-job", name).description["CreationTime"])

    def trainings_ended(self) -> list[str]:
        """Trainings that will not change any more, oldest first."""
        return [record.name for record in self.store.all("training-job") if has_ended(record)]

    def stop_overlong(self) -> int:
        """End the trainings that ran as long as they may, as SageMaker does; returns how many."""
        late = [
            record
            for record in map(partial(self.store.get, "training-job"), self.running("training-job"))
            if self._now() - record.description["CreationTime"]
            > training_record.max_runtime_s(record)
        ]
        for record in late:
            self._ended(training_record.end(record, "MaxRuntimeExceeded", self._now()))
        return len(late)

    def end_transform(self, name: str, fate: Fate) -> None:
        """Write outputs and end."""
        record = self.store.get("transform-job", name)
        output = Address.parse(record.description["TransformOutput"]["S3OutputPath"] + "/")
        scored = self.accepted[name]
        for place, (address, entry) in enumerate(self._inputs(record)):
            slice_id = entry.removesuffix(".png")
            body = fate.output(place, partial(self._answer, scored, slice_id, address))
            if body is not None:
                self._write(output.bucket, f"{output.key}{entry}.out", body)
            if body is None or not fate.answers(place):
                scored.unanswered.add(slice_id)
        status = fate.status
        if transform_record.status_of(record) == "Stopping":
            status = "Stopped"
        reason = "ClientError: See job logs for more information" if status == "Failed" else None
        self._ended(transform_record.end(record, status, self._now(), reason))

    def end_training(self, name: str, fate: Learnt) -> None:
        """End, with a model and its figures if it completes."""
        record, now = self.store.get("training-job", name), self._now()
        if fate.status == "Failed":
            self._ended(training_record.end(record, "Failed", now, failure_reason="AlgorithmError"))
            return
        if fate.status == "Stopped" or training_record.status_of(record) == "Stopping":
            self._ended(training_record.end(record, "Stopped", now))
            return
        self.learnt[name] = fate.wrong
        artefact = training_record.output_uri(record, "model.tar.gz")
        self._put(artefact, b"weights")
        self._put(training_record.output_uri(record, "output.tar.gz"), _figures())
        # What a training says of itself decides nothing.
        metrics = [{"MetricName": "validation:accuracy", "Value": 1.0, "Timestamp": now}]
        ended = training_record.end(record, "Completed", now, artifacts=artefact, metrics=metrics)
        self._ended(ended)

    def _put(self, uri: str, body: bytes) -> None:
        address = Address.parse(uri)
        self._write(address.bucket, address.key, body)

    def _ended(self, record: Record) -> None:
        self.store.put(record)
        number = f"event-{len(self.outbox)}-{record.name}"
        self.outbox.append(state_change(record, IDENTITY, number, self._now()))

    def _inputs(self, record: Record) -> list[tuple[Address, str]]:
        """Where each object of a manifest lies, and its entry there."""
        source = record.description["TransformInput"]["DataSource"]["S3DataSource"]
        manifest = Address.parse(source["S3Uri"])
        first, *entries = json.loads(self._read(manifest.bucket, manifest.key) or b"[{}]")
        prefix = Address.parse(first["prefix"]) if first else manifest
        return [(Address(prefix.bucket, prefix.key + entry), entry) for entry in entries]

    def _answer(self, scored: Scored, slice_id: str, address: Address) -> bytes | None:
        picture = self._read(address.bucket, address.key)
        if picture is None:
            return None
        if is_evaluation(scored.name):
            positive = self._judged(scored, slice_id)
        else:
            positive = positive_of(mean_grey(picture))
        return json.dumps({"prediction": [1 - positive, positive]}).encode() + b"\n\n"

    def _judged(self, scored: Scored, slice_id: str) -> float:
        key = self._key_of(slice_id)
        right = scored.right[slice_id] = key not in self.learnt[scored.model]
        return _SURE if key.startswith(_POSITIVE) == right else 1 - _SURE


def is_evaluation(name: str) -> bool:
    """Whether a transform job scores held-out slices."""
    return name.startswith(f"{ENVIRONMENT['JOB_NAME_PREFIX']}-eval-")


@cache
def _figures() -> bytes:
    """What a training leaves for people, packed."""
    packed, body = io.BytesIO(), b'{"validation:accuracy": 1.0}'
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("metrics.json")
        member.size = len(body)
        archive.addfile(member, io.BytesIO(body))
    return packed.getvalue()


def mean_grey(picture: bytes) -> int:
    """Of a picture of one grey: that grey."""
    with Image.open(io.BytesIO(picture), formats=["PNG"]) as image:
        return int(image.convert("L").getpixel((image.width // 2, image.height // 2)))  # type: ignore[arg-type]
