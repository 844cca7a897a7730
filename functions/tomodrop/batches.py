"""The batch table: whose turn it is. One item per window, one per part of a planned window.

    window  OPEN ──all its parts are noted──▶ PLANNED
    part    READY(attempt) ──job made──▶ SUBMITTED(attempt, job) ──collected──▶ DONE
                 ▲                                │
                 └───── some uploads unanswered ──┘
            READY ──its slices expired before there was a model──▶ DONE

Every move is one conditional write, so two invocations can never both make it. The sparse index
`pending` holds only what still waits (attribute `pending`: "window", "ready" or "submitted").
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from boto3.dynamodb.conditions import Attr, ConditionBase, Key
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from types_boto3_dynamodb.service_resource import Table

WINDOW = "window"
Pending = Literal["window", "ready", "submitted"]
_KEEP_DAYS = 90


@dataclass(frozen=True)
class Part:
    """Some uploads of one window, scored by one transform job at a time.

    `slices_key` names the index lines that this attempt is to score; `job`, `model` (the live
    model's record) and `expected` (what the job takes, see `instances.Choice`) are empty until a
    job was made; `state_since` is when the item last moved. `slices`: how many the part has, and
    `left`: how many of them still lack an answer.
    """

    batch: str
    part: str
    state: str
    attempt: int
    slices_key: str
    job: str = ""
    model: str = ""
    expected: str = ""
    state_since: str = ""
    slices: int = 0
    left: int = 0


@dataclass(frozen=True)
class Progress:
    """How many parts of a planned window are done, and how many of their slices are answered."""

    batch: str
    parts_done: int
    parts: int
    slices_done: int
    slices: int


class Batches:
    """The batch table's moves. Methods return whether this caller made the move."""

    def __init__(self, table: "Table") -> None:
        self._table = table

    def open_window(self, batch: str) -> bool:
        """Note that a window has slices. False: it was planned already, take the next one."""
        return self._update(
            batch,
            WINDOW,
            {"state": "OPEN", "pending": "window"},
            when=Attr("state").not_exists() | Attr("state").eq("OPEN"),
        )

    def windows(self) -> Iterator[str]:
        """Batch ids of all open windows, oldest first."""
        return (item["batch_id"] for item in self._pending("window"))

    def add_part(self, part: Part) -> bool:
        """Note a part of a window that is being planned; a repeat changes nothing."""
        return self._update(
            part.batch,
            part.part,
            {
                "state": "READY",
                "pending": "ready",
                "attempt": part.attempt,
                "slices_key": part.slices_key,
                "slices": part.slices,
                "left": part.slices,
            },
            when=Attr("state").not_exists(),
        )

    def close_window(self, batch: str, parts: int) -> bool:
        """All parts are noted: the window waits no more."""
        return self._update(
            batch, WINDOW, {"state": "PLANNED", "parts": parts}, when=Attr("state").eq("OPEN")
        )

    def ready(self) -> Iterator[Part]:
        """Parts that wait for a job, oldest first."""
        return map(_part, self._pending("ready"))

    def submitted(self) -> Iterator[Part]:
        """Parts whose job was made and not collected, oldest first."""
        return map(_part, self._pending("submitted"))

    def part(self, batch: str, part: str) -> Part | None:
        """One part as it stands now (a consistent read)."""
        found = self._table.get_item(
            Key={"batch_id": batch, "part": part}, ConsistentRead=True
        ).get("Item")
        return _part(found) if found else None

    def progress(self, batch: str) -> Progress:
        """How far a planned window is."""
        items = list(self._query({"KeyConditionExpression": Key("batch_id").eq(batch)}))
        parts = [_part(item) for item in items if item["part"] != WINDOW]
        return Progress(
            batch=batch,
            parts_done=sum(part.state == "DONE" for part in parts),
            parts=len(parts),
            slices_done=sum(part.slices - part.left for part in parts),
            slices=sum(part.slices for part in parts),
        )

    def submit(
        self, part: Part, job: str, model: dict[str, Any], expected: dict[str, Any] | None = None
    ) -> bool:
        """The part's job exists."""
        return self._update(
            part.batch,
            part.part,
            {
                "state": "SUBMITTED",
                "pending": "submitted",
                "job": job,
                "model": json.dumps(model),
                "expected": json.dumps(expected) if expected else "",
            },
            when=Attr("state").eq("READY") & Attr("attempt").eq(part.attempt),
        )

    def drop(self, part: Part) -> bool:
        """What the part was to score has expired: the sweep sends its uploads round again."""
        return self._update(
            part.batch,
            part.part,
            {"state": "DONE"},
            when=Attr("state").eq("READY") & Attr("attempt").eq(part.attempt),
        )

    def retry(self, part: Part, slices_key: str, left: int) -> bool:
        """The part's job left so many slices unanswered: they wait for the next attempt's job."""
        return self._update(
            part.batch,
            part.part,
            {
                "state": "READY",
                "pending": "ready",
                "attempt": part.attempt + 1,
                "slices_key": slices_key,
                "left": left,
            },
            when=Attr("state").eq("SUBMITTED") & Attr("job").eq(part.job),
        )

    def finish(self, part: Part) -> bool:
        """Every upload of the part has its JSON."""
        return self._update(
            part.batch,
            part.part,
            {"state": "DONE", "left": 0},
            when=Attr("state").eq("SUBMITTED") & Attr("job").eq(part.job),
        )

    def _pending(self, pending: Pending) -> Iterator[dict[str, Any]]:
        condition = Key("pending").eq(pending)
        return self._query({"IndexName": "pending", "KeyConditionExpression": condition})

    def _query(self, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
        while True:
            page = self._table.query(**query)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _update(self, batch: str, part: str, values: dict[str, Any], when: ConditionBase) -> bool:
        request = update_request(batch, part, values, datetime.now(UTC))
        try:
            self._table.update_item(**request, ConditionExpression=when)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True


def update_request(batch: str, part: str, values: dict[str, Any], now: datetime) -> dict[str, Any]:
    """The UpdateItem request for a move. Without `pending` in it the item leaves the index."""
    moved = {**values, "state_since": now.isoformat(timespec="seconds")}
    removed = ""
    if "pending" not in values:
        moved["expires_at"] = int((now + timedelta(days=_KEEP_DAYS)).timestamp())
        removed = " REMOVE #pending"
    names = {f"#{name}": name for name in moved} | ({"#pending": "pending"} if removed else {})
    return {
        "Key": {"batch_id": batch, "part": part},
        "UpdateExpression": "SET " + ", ".join(f"#{name} = :{name}" for name in moved) + removed,
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": {f":{name}": value for name, value in moved.items()},
    }


def _part(item: dict[str, Any]) -> Part:
    return Part(
        batch=item["batch_id"],
        part=item["part"],
        state=item["state"],
        attempt=int(item["attempt"]),
        slices_key=item["slices_key"],
        job=item.get("job", ""),
        model=item.get("model", ""),
        expected=item.get("expected", ""),
        state_since=item["state_since"],
        slices=int(item.get("slices", 0)),
        left=int(item.get("left", 0)),
    )
