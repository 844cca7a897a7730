"""Time windows: a batch is the folder of the window its uploads arrived in."""

from datetime import UTC, datetime, timedelta

_FORMAT = "%Y%m%dT%H%M%SZ"


def window_of(now: datetime, window_seconds: int) -> str:
    """Batch id of the window that `now` falls in: its start, UTC, as `20261124T153900Z`."""
    start = int(now.timestamp()) // window_seconds * window_seconds
    return datetime.fromtimestamp(start, UTC).strftime(_FORMAT)


def window_start(batch: str) -> datetime:
    """Start of a batch's window (UTC). Raises ValueError for another text."""
    return datetime.strptime(batch, _FORMAT).replace(tzinfo=UTC)


def is_settled(batch: str, now: datetime, window_seconds: int, grace_seconds: int) -> bool:
    """Whether no invocation can write to this window any more.

    An invocation picks the window at its start and is stopped by the platform after
    `grace_seconds` (its time limit), so the last write comes before end + grace. One second more
    allows for the clocks of two machines to differ.
    """
    end = window_start(batch) + timedelta(seconds=window_seconds)
    return now >= end + timedelta(seconds=grace_seconds + 1)
