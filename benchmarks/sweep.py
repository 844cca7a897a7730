"""The sweep in numbers: keys per second and memory, by the number of uploads.

    python -m benchmarks.sweep [--sizes 100000 1000000] [--page-seconds 0.2]

Uploads with their results are listed by a stub of S3 in a process of its own, which answers each
page after `--page-seconds`, as S3 lets one wait. One upload of a thousand has no result, and one
of twenty waits in a batch. A process compares them as the sweep function does, over HTTP, with the
real clients; what is overdue goes to the stub's queue.

The table goes to standard output and to `benchmarks/results/sweep.md`.
"""

import argparse
import json
import os
import platform
import sys
import time
from bisect import bisect_right
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from xml.sax.saxutils import escape

from benchmarks.apart import REPOSITORY, measure_against, server
from tomodrop import keys
from tomodrop.clients import THREADS, connect
from tomodrop.faults import Faults
from tomodrop.imaging.version import NORMALISER
from tomodrop.overdue import RESERVE_S, send_again
from tomodrop.settings import Settings
from tomodrop.slices import IndexLine, Source, write_lines

RESULT = REPOSITORY / "benchmarks" / "results" / "sweep.md"
LIMIT_S, MEMORY_MB = 900, 1769
PAGE = 1000
UPLOADS, WORK, PREDICTIONS = "tomodrop-uploads", "tomodrop-work", "tomodrop-predictions"
# One in so many has no result, one in so many waits in a part of so many.
LOST, WAITING, PART = 1000, 20, 5000
PUT, ANSWERED = "2026-11-24T15:39:00.000Z", "2026-11-24T16:39:00.000Z"
NOW = datetime(2026, 11, 27, tzinfo=UTC)
# What comparing reads; the rest of the settings are not its.
SETTINGS = Settings.model_construct(
    uploads_bucket=UPLOADS,
    work_bucket=WORK,
    predictions_bucket=PREDICTIONS,
    batch_table="tomodrop-batches",
    intake_queue_url="https://sqs.us-east-1.amazonaws.com/123456789012/tomodrop-intake",
    overdue_minutes=120,
)


class Bucket:
    """So many uploads and results, listed and read as S3 does; nothing is ever written."""

    def __init__(self, count: int) -> None:
        paths = [f"ward-{number % 97:02d}/scan {number:07d}" for number in range(count)]
        self.uploads = sorted(f"incoming/{path}" for path in paths)
        without = set(self.uploads[::LOST]) | set(self.uploads[1::WAITING])
        answered = (key for key in self.uploads if key not in without)
        self.results = sorted(map(keys.prediction_key, answered))
        self.waiting = self.uploads[1::WAITING]

    def versions(self, query: dict[str, str]) -> str:
        """ListObjectVersions."""
        names, more = _page(self.uploads, query["prefix"], query.get("key-marker", ""))
        entries = "".join(
            f"<Version><Key>{escape(name)}</Key><VersionId>v1</VersionId><IsLatest>true</IsLatest>"
            f'<LastModified>{PUT}</LastModified><ETag>"{"ab" * 16}"</ETag><Size>70000</Size>'
            "<StorageClass>STANDARD</StorageClass></Version>"
            for name in names
        )
        following = (
            f"<NextKeyMarker>{escape(names[-1])}</NextKeyMarker>"
            "<NextVersionIdMarker>v1</NextVersionIdMarker>"
            if more
            else ""
        )
        return _xml("ListVersionsResult", more, following + entries)

    def objects(self, query: dict[str, str]) -> str:
        """ListObjectsV2 of the predictions bucket."""
        after = query.get("continuation-token") or query.get("start-after", "")
        names, more = _page(self.results, query["prefix"], after)
        entries = "".join(
            f"<Contents><Key>{escape(name)}</Key><LastModified>{ANSWERED}</LastModified>"
            f'<ETag>"{"cd" * 16}"</ETag><Size>1300</Size>'
            "<StorageClass>STANDARD</StorageClass></Contents>"
            for name in names
        )
        token = (
            f"<NextContinuationToken>{escape(names[-1])}</NextContinuationToken>" if more else ""
        )
        return _xml("ListBucketResult", more, token + entries)

    def part(self, number: int) -> bytes:
        """The index lines of a part that waits."""
        return write_lines(
            IndexLine(
                slice_id=keys.slice_id(keys.upload_id(key, "v1", ""), 0),
                source=Source(
                    bucket=UPLOADS,
                    key=key,
                    version_id="v1",
                    etag="ab" * 16,
                    sequencer="0060",
                    size_bytes=70_000,
                    sha256="ab" * 32,
                    last_modified=PUT,
                ),
                normaliser=NORMALISER,
                processing={"format": "PNG", "image_shape": [3, 224, 224]},
            )
            for key in self.waiting[number * PART : (number + 1) * PART]
        )

    def query(self, pending: str) -> dict[str, Any]:
        """What the table's index says is pending: the parts, all of them ready."""
        parts = -(-len(self.waiting) // PART) if pending == "ready" else 0
        items = [
            {
                "batch_id": {"S": "20261124T153900Z"},
                "part": {"S": f"{number:04d}"},
                "state": {"S": "READY"},
                "attempt": {"N": "1"},
                "slices_key": {"S": f"batches/{number}.jsonl"},
                "state_since": {"S": PUT},
            }
            for number in range(parts)
        ]
        return {"Items": items, "Count": len(items), "ScannedCount": len(items)}


def _page(names: Sequence[str], prefix: str, after: str) -> tuple[Sequence[str], bool]:
    if not names or not names[0].startswith(prefix):
        return [], False
    start = bisect_right(names, after)
    return names[start : start + PAGE], start + PAGE < len(names)


def _xml(root: str, more: bool, inner: str) -> str:  # noqa: FBT001
    truncated = str(more).lower()
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<{root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<IsTruncated>{truncated}</IsTruncated><EncodingType/>{inner}</{root}>"
    )


class Stub(BaseHTTPRequestHandler):
    """Answers what the comparison asks of S3, SQS and DynamoDB."""

    protocol_version = "HTTP/1.1"
    bucket: Bucket
    page_seconds: float

    def do_GET(self) -> None:
        """Pages of listings, and parts."""
        address = urlsplit(self.path)
        query = dict(parse_qsl(address.query, keep_blank_values=True))
        if address.path.endswith(".jsonl"):
            self._answer(self.bucket.part(int(Path(address.path).stem)))
        elif "prefix" in query:
            time.sleep(self.page_seconds)
            listing = self.bucket.versions if "versions" in query else self.bucket.objects
            self._answer(listing(query).encode())
        else:
            self._answer(b"<Error><Code>NoSuchKey</Code></Error>", status=404)

    def do_POST(self) -> None:
        """The queue and the table."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        operation = self.headers["X-Amz-Target"].rpartition(".")[2]
        if operation == "Query":
            [value] = asked["ExpressionAttributeValues"].values()
            answer = self.bucket.query(value["S"])
        elif operation == "SendMessageBatch":
            sent = [{"Id": entry["Id"], "MessageId": "m"} for entry in asked["Entries"]]
            answer = {"Successful": sent, "Failed": []}
        else:
            answer = {"Attributes": dict.fromkeys(asked["AttributeNames"], "0")}
        self._answer(json.dumps(answer).encode())

    def _answer(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


def serve(count: int, page_seconds: float) -> None:
    """Print where the stub listens, and serve until standard input ends."""
    Stub.bucket, Stub.page_seconds = Bucket(count), page_seconds
    with ThreadingHTTPServer(("127.0.0.1", 0), Stub) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(server.serve_forever)
            sys.stdin.read()
            server.shutdown()


def measure() -> None:
    """Compare all uploads once; print what it took as JSON."""
    app = connect(SETTINGS)
    before = _resident_mib("VmRSS")
    wall, cpu = time.perf_counter(), time.process_time()
    faults = Faults()
    with ThreadPoolExecutor(THREADS) as pool:
        found = send_again(app, pool, NOW, lambda: RESERVE_S, faults)
    taken = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    assert not faults.count
    peak = _resident_mib("VmHWM")
    print(json.dumps({**taken, "before": before, "peak": peak, **vars(found)}))


def _resident_mib(field: str) -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kibi = next(line.split()[1] for line in status.splitlines() if line.startswith(f"{field}:"))
    return int(kibi) / 1024


def compare(count: int, page_seconds: float) -> str:
    """A row of the table."""
    with server("benchmarks.sweep", "--serve", str(count), str(page_seconds)) as url:
        found = measure_against(url, "benchmarks.sweep")
    lost, waiting = count // LOST, count // WAITING
    assert (found["sent_again"], found["count"]) == (lost, lost + waiting), found
    return (
        f"| {count:,} | {found['wall']:.0f} | {count / found['wall']:,.0f} "
        f"| {found['cpu']:.0f} | {count / found['cpu']:,.0f} "
        f"| {found['before']:.0f} | {found['peak']:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--page-seconds", type=float, default=0.2)
    parser.add_argument("--serve", nargs=2, metavar=("COUNT", "S"), help=argparse.SUPPRESS)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(int(given.serve[0]), float(given.serve[1]))
    elif given.measure:
        measure()
    else:
        report(given.sizes, given.page_seconds)


def report(sizes: list[int], page_seconds: float) -> None:
    """Measure each size and write the table."""
    load = "{:.1f} {:.1f} {:.1f}".format(*os.getloadavg())
    columns = (
        "uploads",
        "wall, s",
        "uploads/s",
        "CPU, s",
        "uploads per CPU second",
        "MiB before",
        "MiB at the peak",
    )
    lines = [
        f"# The sweep, `python -m benchmarks.sweep`: Python {platform.python_version()}",
        "",
        f"Uploads compared with their results in one pass over listings of {PAGE:,} keys a page,",
        f"each page answered after {page_seconds:g} s. One upload of {LOST:,} has no result and is",
        f"sent again, one of {WAITING} waits in a batch. Lambda's limit is {LIMIT_S} s; the",
        f"function has {MEMORY_MB:,} MB, and goes on next time where time ended.",
        "",
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
        *(compare(size, page_seconds) for size in sizes),
        "",
        "The listings of uploads and of results come at the same time, a page ahead: of what S3",
        "lets one wait, little is waited for twice. Memory grows with what waits in batches (some",
        "70 bytes each), not with uploads or results.",
        "",
        f"Load average of the machine at the start: {load}. Others used it as well, and the stub",
        "took one of its two cores.",
    ]
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
