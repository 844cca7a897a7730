"""`tomodrop audit`: the receipt of what a state folder holds, whether its stack runs or rests.

A running stack is asked, as on AWS. Of one at rest only the storage is woken: nothing is taken in,
scored or swept meanwhile.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local import moto_seams
from local.aws_session import Clients
from local.errors import StateInUseError
from local.folders import printable
from local.gateway import Gateway
from local.guards import ObjectGuard
from local.invoke import InvokeError, call, environment_of
from local.mirror import local_name, write_atomically
from local.moto_server import MotoServer
from local.object_model import ObjectRecorder
from local.s3_events import Sequencer
from local.state import StateStore
from tomodrop import auditing
from tomodrop.clients import App
from tomodrop.settings import Settings

REGION = "us-east-1"
FUNCTION = "SweepFunction"
EVENT = {"audit": True}
BUCKETS = ("UPLOADS_BUCKET", "WORK_BUCKET", "PREDICTIONS_BUCKET")
# There is no one who would end it, as Lambda would.
LEFT_S = 900.0
MOST_SHOWN = 20


@dataclass(frozen=True)
class Audited:
    """A receipt's summary, and which JSON in OUT are not what the receipt says."""

    summary: Mapping[str, Any]
    different: tuple[str, ...] = field(default=())

    @property
    def is_clean(self) -> bool:
        """Whether every upload has its one JSON, and OUT the same."""
        return bool(self.summary["complete"]) and not self.different

    def lines(self) -> Iterator[str]:
        """What a person is told."""
        counts = self.summary["counts"].items()
        yield ", ".join(f"{count:,} {status}" for status, count in counts) or "No uploads."
        for fault in self.summary["faults"][:MOST_SHOWN]:
            yield f"{fault['status']}: {printable(fault['key'])}"
        if len(self.summary["faults"]) > MOST_SHOWN:
            yield f"… and more; all stand in {self.summary['receipt']}"
        if self.summary["left_alone"]:
            yield f"{self.summary['left_alone']:,} uploads have keys too long and too alike."
        for path in self.different[:MOST_SHOWN]:
            yield f"not what the receipt says: {printable(path)}"
        if len(self.different) > MOST_SHOWN:
            yield f"… and {len(self.different) - MOST_SHOWN:,} more"
        yield f"Digest {self.summary['digest']} of {self.summary['receipt']}"
        yield (
            "Every upload has its one JSON." if self.is_clean else "Something is missing or wrong."
        )


def audit(state: Path, out: Path | None) -> Audited:
    """Audit the stack of a state folder; with `out`, bring the receipt there and compare its JSON.

    Raises
    ------
    InvokeError
        The folder holds no stack, or its stack does not answer or fails.
    StateError
        The folder is of a newer version.
    """
    environment = environment_of(state, FUNCTION)
    try:
        with _at_rest(state, environment) as s3:
            summary = auditing.take_receipt(
                _app(s3, environment), datetime.now(UTC), lambda: LEFT_S
            )
            return _brought(s3, environment, summary, out)
    except StateInUseError:
        summary = _ask(environment, state)
        s3 = Clients(REGION, environment["AWS_ENDPOINT_URL"])("s3")
        return _brought(s3, environment, summary, out)


@contextmanager
def _at_rest(state: Path, environment: Mapping[str, str]) -> Iterator[Any]:
    """An S3 client of the stored buckets; what is written is stored."""
    store = StateStore(state)
    try:
        moto_seams.reset_backends()
        moto_seams.install(Sequencer(after=store.newest_change()))
        recorder = ObjectRecorder(store, REGION)
        with MotoServer(Gateway({"s3": ObjectGuard(recorder)})) as server:
            clients = Clients(REGION, server.url)
            for name in BUCKETS:
                clients("s3").create_bucket(Bucket=environment[name])
                clients("s3").put_bucket_versioning(
                    Bucket=environment[name], VersioningConfiguration={"Status": "Enabled"}
                )
            recorder.restore()
            yield clients("s3")
            clients.close()
    finally:
        moto_seams.uninstall()
        moto_seams.reset_backends()
        store.close()


def _app(s3: Any, environment: Mapping[str, str]) -> App:
    settings = Settings.model_construct(
        uploads_bucket=environment["UPLOADS_BUCKET"],
        work_bucket=environment["WORK_BUCKET"],
        predictions_bucket=environment["PREDICTIONS_BUCKET"],
        overdue_minutes=float(environment["OVERDUE_MINUTES"]),
    )
    unused: Any = None  # an audit asks S3 alone
    return App(settings, s3, sagemaker=unused, ssm=unused, sqs=unused, sns=unused, table=unused)


def _ask(environment: Mapping[str, str], state: Path) -> dict[str, Any]:
    while True:
        succeeded, answer = call(environment, json.dumps(EVENT), state)
        if not succeeded:
            raise InvokeError(f"The audit failed: {answer}")
        summary: dict[str, Any] = json.loads(answer)
        if not summary.get("goes_on"):
            return summary


def _brought(
    s3: Any, environment: Mapping[str, str], summary: dict[str, Any], out: Path | None
) -> Audited:
    if out is None:
        return Audited(summary)
    bucket = environment["PREDICTIONS_BUCKET"]
    receipt = s3.get_object(Bucket=bucket, Key=summary["receipt"])["Body"].read()
    write_atomically(out / summary["receipt"], iter([receipt]))
    shown = json.dumps(summary, ensure_ascii=False, indent=2).encode() + b"\n"
    write_atomically((out / summary["receipt"]).with_suffix(".json"), iter([shown]))
    return Audited(summary, tuple(differences(receipt, out)))


def differences(receipt: bytes, out: Path) -> Iterator[str]:
    """Keys of JSON that OUT lacks, or has with other bytes than the receipt says.

    What no disk can hold under its key is not in OUT, and not missed there.
    """
    for line in receipt.splitlines():
        for result in json.loads(line).get("results", ()):
            try:
                path = out / local_name(result["json"])
            except ValueError:
                continue
            if not path.is_file() or _sha256(path) != result["sha256"]:
                yield result["json"]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
