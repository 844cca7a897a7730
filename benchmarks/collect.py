"""Collecting in numbers: calls, time beside the bare transfers, and memory, by size of the job.

    python -m benchmarks.collect [--sizes 500 5000] [--rounds 3]

A job of so many uploads, one slice each, is collected in a process of its own against moto in
another. Beside it, in the same process and with as many threads, the same number of objects is read
and written with boto3 and nothing else: the least that collecting can take. Only the ratio means
anything on a machine that others use.

The table goes to standard output and to `benchmarks/results/collect.md`.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.apart import REPOSITORY, measure_against, server
from local.gateway import Gateway
from local.moto_server import MotoServer
from tomodrop import keys
from tomodrop.batches import Batches, Part
from tomodrop.clients import THREADS, App, connect
from tomodrop.collecting import collect
from tomodrop.events import JobEnded
from tomodrop.imaging.version import NORMALISER
from tomodrop.keys import JobName
from tomodrop.live_model import LiveModel
from tomodrop.settings import Settings
from tomodrop.slices import IndexLine, Source, write_lines

MODULE = "benchmarks.collect"
RESULT = REPOSITORY / "benchmarks" / "results" / "collect.md"
LIMIT_S = 900
JOB = JobName("tomodrop", "20261124T153900Z", "0000", 1)
MODEL = LiveModel(
    model_name="tomodrop-train-20261101T030000Z",
    training_job="tomodrop-train-20261101T030000Z",
    trained_at=datetime(2026, 11, 1, 3, tzinfo=UTC),
    classes=("non_covid", "covid"),
    normaliser=NORMALISER,
    image_shape=(3, 224, 224),
    fingerprint="f",
    metrics={f"validation:{name}": 0.9 for name in ("accuracy", "auc", "loss")},
)
# What collecting reads; the rest of the settings are not its.
SETTINGS = Settings.model_construct(
    work_bucket="tomodrop-work",
    predictions_bucket="tomodrop-predictions",
    batch_table="tomodrop-batches",
    job_name_prefix=JOB.prefix,
    max_attempts=3,
    volume_top_share=0.2,
    keep_class_maps=False,
    minimum_typicality=0.01,
)


def serve() -> None:
    """Print where moto listens, and serve until standard input ends."""
    with MotoServer(Gateway({})) as served:
        print(served.url, flush=True)
        sys.stdin.read()


def create_resources(app: App) -> None:
    """Buckets and table as the template makes them."""
    for bucket in (SETTINGS.work_bucket, SETTINGS.predictions_bucket):
        app.s3.create_bucket(Bucket=bucket)
    app.table.meta.client.create_table(
        TableName=SETTINGS.batch_table,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[
            {"AttributeName": "batch_id", "KeyType": "HASH"},
            {"AttributeName": "part", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": "S"} for name in ("batch_id", "part")
        ],
    )


def index_line(number: int) -> IndexLine:
    """The only slice of an upload."""
    source = Source(
        bucket="tomodrop-uploads",
        key=f"incoming/{number:06d}.png",
        version_id=f"v{number}",
        etag="ab" * 16,
        sequencer="0060",
        size_bytes=70_000,
        sha256="ab" * 32,
        last_modified="2026-11-24T15:39:00+00:00",
    )
    upload = keys.upload_id(source.key, source.version_id, source.etag)
    processing = {"format": "PNG", "image_shape": [3, 224, 224]}
    return IndexLine(
        slice_id=keys.slice_id(upload, 0),
        source=source,
        normaliser=NORMALISER,
        processing=processing,
    )


def picture() -> bytes:
    """A slice's file."""
    buffer = BytesIO()
    Image.linear_gradient("L").resize((64, 64)).save(buffer, "PNG")
    return buffer.getvalue()


def lay_out(app: App, count: int) -> None:
    """A job of so many uploads that has ended, every slice answered."""
    uploads = [index_line(number) for number in range(count)]
    work, drawn = app.settings.work_bucket, picture()

    def answer(place: int) -> None:
        share = (place % 997) / 1994
        name = f"{uploads[place].slice_id}.png"
        body = json.dumps({"prediction": [share, 1 - share]}).encode()
        app.s3.put_object(Bucket=work, Key=f"{keys.job_outputs(JOB)}{name}.out", Body=body)
        app.s3.put_object(Bucket=work, Key=f"{keys.batch_slices(JOB.batch)}{name}", Body=drawn)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(answer, range(count)))
    uploads.sort(key=lambda line: line.slice_id)
    key = keys.part_slices(JOB.batch, JOB.part, 1)
    app.s3.put_object(Bucket=work, Key=key, Body=write_lines(uploads))
    part = Part(JOB.batch, JOB.part, "READY", 1, key)
    Batches(app.table).add_part(part)
    Batches(app.table).submit(part, str(JOB), MODEL.model_dump(mode="json"))


def measure(count: int, *, bare: bool) -> None:
    """Collect the job, or only move its bytes; print what it took as JSON."""
    app = connect(SETTINGS)
    calls: Counter[str] = Counter()
    app.s3.meta.events.register("before-call", lambda model, **_: calls.update([model.name]))
    app.s3.list_buckets()  # what the first call loads is none of the job's
    calls.clear()
    before = _resident_mib("VmRSS")
    wall, cpu = time.perf_counter(), time.process_time()
    if bare:
        _move_bytes(app, count)
    else:
        done = collect(app, JobEnded(str(JOB), "Completed", ""))
        assert done is not None
        assert done.predicted == count, done
    taken = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    peak = _resident_mib("VmHWM")
    print(json.dumps({**taken, "before": before, "peak": peak, "calls": calls}))


def _move_bytes(app: App, count: int) -> None:
    settings = app.settings
    folder = keys.job_outputs(JOB)
    listed = app.s3.get_paginator("list_objects_v2").paginate(
        Bucket=settings.work_bucket, Prefix=folder
    )
    outputs = [item["Key"] for page in listed for item in page.get("Contents", [])]
    assert len(outputs) == count

    def move(key: str) -> None:
        app.s3.get_object(Bucket=settings.work_bucket, Key=key)["Body"].read()
        target = f"bare/{key.removeprefix(folder)}"
        app.s3.put_object(Bucket=settings.predictions_bucket, Key=target, Body=b"x" * 1300)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(move, outputs))


def _resident_mib(field: str) -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kibi = next(line.split()[1] for line in status.splitlines() if line.startswith(f"{field}:"))
    return int(kibi) / 1024


def compare(count: int, rounds: int) -> str:
    """A row of the table."""
    found: list[tuple[Any, Any]] = []
    for number in range(rounds):
        with server(MODULE, "--serve") as url:
            os.environ["AWS_ENDPOINT_URL"] = url
            app = connect(SETTINGS)
            create_resources(app)
            lay_out(app, count)
            # In turn: what comes second finds a warm server.
            kinds = ("bare", "whole") if number % 2 else ("whole", "bare")
            measured = {kind: measure_against(url, MODULE, str(count), kind) for kind in kinds}
            found.append((measured["whole"], measured["bare"]))

    def middle(value: Callable[[Any, Any], float]) -> float:
        return statistics.median(value(whole, bare) for whole, bare in found)

    calls = sum(found[0][0]["calls"].values()) / count
    return (
        f"| {count:,} | {calls:.2f} "
        f"| {middle(lambda whole, _: whole['wall']):.1f} "
        f"| {middle(lambda whole, bare: whole['wall'] / bare['wall']):.2f} "
        f"| {middle(lambda whole, bare: whole['cpu'] / bare['cpu']):.2f} "
        f"| {middle(lambda whole, _: whole['cpu'] / count * 1000):.1f} "
        f"| {middle(lambda whole, _: whole['before']):.0f} "
        f"| {middle(lambda whole, _: whole['peak'] - whole['before']):.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.collect")
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 5000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--measure", nargs=2, metavar=("COUNT", "KIND"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve()
    elif given.measure:
        measure(int(given.measure[0]), bare=given.measure[1] == "bare")
    else:
        report(given.sizes, given.rounds)


def report(sizes: list[int], rounds: int) -> None:
    """Measure each size and write the table."""
    os.environ |= dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "testing")
    os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
    load = "{:.1f} {:.1f} {:.1f}".format(*os.getloadavg())
    title = f"Python {platform.python_version()}, {THREADS} threads"
    columns = (
        "uploads",
        "S3 calls each",
        "wall, s",
        "wall / bare",
        "CPU / bare",
        "CPU each, ms",
        "MiB before",
        "MiB more at the peak",
    )
    lines = [
        f"# Collecting, `python -m benchmarks.collect`: {title}",
        "",
        f"Medians of {rounds} rounds. Bare: boto3's get and put of as many objects with the same",
        f"threads. Lambda's limit is {LIMIT_S} s.",
        "",
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
        *(compare(size, rounds) for size in sizes),
        "",
        f"Load average of the machine at the start: {load}.",
    ]
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
