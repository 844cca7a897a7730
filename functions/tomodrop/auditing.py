"""Audit: the receipt of all uploads, written piece by piece, however many invocations it takes.

`reports/audit/<id>.jsonl` holds the lines (see `receipt`) in the order of results' names, first of
`incoming/`, then of `labelled/`; `<id>.json` sums them up.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from aws_lambda_powertools import Logger
from pydantic import BaseModel

from tomodrop import keys, objects
from tomodrop.clients import THREADS, App
from tomodrop.comparison import Comparison, Place
from tomodrop.dataset import index_parts
from tomodrop.merge_join import Row
from tomodrop.positions import Position
from tomodrop.predictions import NOTICE
from tomodrop.receipt import FAULTS, Found, digested, lines_of, read_result, write_line

REPORTS = "reports/audit/"
POSITION_KEY = f"{keys.SWEEP}audit.json"
CHUNK_ROWS = 500
PIECE_BYTES = 8 * 1024 * 1024
# What a chunk may take, and a piece to be stored after it.
RESERVE_S = 60.0
MOST_NAMED = 100
_LINES = "application/jsonl"

logger = Logger(child=True)


class Audit(BaseModel):
    """An audit as far as it has come. `pieces`: how many of its receipt are stored.

    `counts`: lines by status; `results`: JSON by status; `models`: predictions by model. `named`:
    the first faults, as (status, key). `within_promise`: of the missing ones, those that are not
    overdue yet. `left_alone`: uploads not looked at, see `merge_join.MOST_HELD`.
    """

    id: str
    folder: str = keys.INCOMING
    place: Place = Place()
    pieces: int = 0
    counts: Counter[str] = Counter()
    results: Counter[str] = Counter()
    models: Counter[str] = Counter()
    named: list[tuple[str, str]] = []
    within_promise: int = 0
    left_alone: int = 0

    def count(self, row: Row, line: dict[str, Any], young: datetime) -> None:
        """Take a line in."""
        status = line["status"]
        self.counts[status] += 1
        for result in line.get("results", ()):
            self.results[result.get("status", "damaged")] += 1
            if "name" in result:
                self.models[result["name"]] += 1
        if status in FAULTS and len(self.named) < MOST_NAMED:
            self.named.append((status, line["key"] or row.name))
        current = row.upload.current if row.upload else None
        if status == "missing" and current and current.modified > young:
            self.within_promise += 1


def take_receipt(app: App, now: datetime, left_s: Callable[[], float]) -> dict[str, Any]:
    """Go on with an audit, or begin one; its summary, or `{"goes_on": True}` when time ended."""
    position = Position(app, POSITION_KEY, Audit)
    done = position.recall() or Audit(id=now.strftime("%Y%m%dT%H%M%SZ"))
    with ThreadPoolExecutor(THREADS) as pool:
        auditor = _Auditor(app, pool, now, done)
        if not auditor.go_through_all(left_s):
            position.remember(done)
            logger.info("the audit goes on next time", extra={"audit": done.id})
            return {"audit": done.id, "goes_on": True}
        summary = auditor.write_receipt()
    position.forget()
    shown = ("audit", "complete", "digest", "counts")
    logger.info("audited", extra={name: summary[name] for name in shown})
    return summary


def go_on_with_audit(app: App, now: datetime, left_s: Callable[[], float]) -> None:
    """Use what time a sweep left for an audit that had not enough of its own."""
    if left_s() > 2 * RESERVE_S and Position(app, POSITION_KEY, Audit).recall():
        take_receipt(app, now, left_s)


class _Auditor:
    """One invocation's work on an audit."""

    def __init__(self, app: App, pool: Executor, now: datetime, done: Audit) -> None:
        self._app, self._pool, self._done, self._now = app, pool, done, now
        self._young = now - timedelta(minutes=app.settings.overdue_minutes)
        self._piece = bytearray()

    def go_through_all(self, left_s: Callable[[], float]) -> bool:
        """Write lines until all are written; False when time ended before."""
        done = self._done
        while self._go_through_folder(left_s):
            if done.folder == keys.LABELLED:
                return True
            done.folder, done.place = keys.LABELLED, Place()
        return False

    def _go_through_folder(self, left_s: Callable[[], float]) -> bool:
        done = self._done
        comparison = Comparison(self._app, done.folder, self._pool, done.place)
        while rows := comparison.next_rows(CHUNK_ROWS):
            for row, found in zip(rows, self._pool.map(self._read, rows), strict=True):
                for line in lines_of(row, found, is_taken_in=self._is_taken_in(row)):
                    done.count(row, line, self._young)
                    self._piece += write_line(line)
            done.place = comparison.place
            is_late = left_s() < RESERVE_S
            if is_late or len(self._piece) > PIECE_BYTES:
                self._store_piece()
            if is_late:
                done.left_alone += comparison.left_alone
                return False
        done.left_alone += comparison.left_alone
        self._store_piece()
        return True

    def _read(self, row: Row) -> list[Found]:
        """The row's results; one that went since it was listed is none."""
        bucket = self._app.settings.predictions_bucket
        found = []
        for result in row.results:
            body = objects.read_if_there(self._app.s3, bucket, result.key) if result else None
            if result and body is not None:
                found.append(read_result(result.key, body))
        return found

    def _is_taken_in(self, row: Row) -> bool:
        return (
            self._done.folder == keys.LABELLED
            and row.upload is not None
            and row.upload.current is not None
            and int(row.upload.id[:16], 16) in self._taken_in
        )

    @cached_property
    def _taken_in(self) -> frozenset[int]:
        """Labelled versions that are in the data set: half an id tells millions apart."""
        parts = (lines for _, lines in index_parts(self._app))
        return frozenset(int(line.slice_id[:16], 16) for lines in parts for line in lines)

    def _store_piece(self) -> None:
        if self._piece:
            work, body = self._app.settings.work_bucket, bytes(self._piece)
            objects.write(self._app.s3, work, self._piece_key(self._done.pieces), body, _LINES)
            self._done.pieces += 1
            self._piece.clear()

    def _piece_key(self, number: int) -> str:
        return f"{keys.SWEEP}audit/{self._done.id}/{number:05d}.jsonl"

    def write_receipt(self) -> dict[str, Any]:
        """Put the pieces together where users look, and sum them up."""
        s3, bucket = self._app.s3, self._app.settings.predictions_bucket
        digest = hashlib.sha256()
        pieces = [self._piece_key(number) for number in range(self._done.pieces)]

        def lines() -> Iterator[str]:
            for key in pieces:
                body = objects.read(s3, self._app.settings.work_bucket, key)
                for line in digested(body):
                    digest.update(line)
                for line in body.splitlines(keepends=True):
                    yield line.decode()

        objects.write_stream(s3, bucket, f"{REPORTS}{self._done.id}.jsonl", lines(), _LINES)
        summary = summarise(self._done, digest.hexdigest(), self._now)
        body = json.dumps(summary, ensure_ascii=False, indent=2).encode() + b"\n"
        objects.write(s3, bucket, f"{REPORTS}{self._done.id}.json", body, "application/json")
        for key in pieces:
            s3.delete_object(Bucket=self._app.settings.work_bucket, Key=key)
        return summary


def summarise(done: Audit, digest: str, now: datetime) -> dict[str, Any]:
    """The summary. `complete`: every upload has its one JSON, and all were looked at."""
    return {
        "audit": done.id,
        "complete": not done.left_alone and not any(done.counts[status] for status in FAULTS),
        "digest": f"sha256:{digest}",
        "receipt": f"{REPORTS}{done.id}.jsonl",
        "counts": dict(sorted(done.counts.items())),
        "missing_within_promise": done.within_promise,
        "left_alone": done.left_alone,
        "results": dict(sorted(done.results.items())),
        "models": dict(sorted(done.models.items())),
        "faults": [{"status": status, "key": key} for status, key in done.named],
        "audited_at": now.isoformat(timespec="seconds"),
        "notice": NOTICE,
    }
