"""Schedule expressions come due when EventBridge Scheduler says they do."""

from datetime import UTC, datetime, timedelta

import pytest

from local.errors import TemplateError
from local.recurrence import parse_expression

ANCHOR = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def due_times(expression: str, zone: str, after: str, count: int = 1) -> list[str]:
    recurrence = parse_expression(expression, zone, ANCHOR, 1.0)
    moment, found = datetime.fromisoformat(after), []
    for _ in range(count):
        due = recurrence.next_after(moment)
        if due is None:
            break
        found.append(due.isoformat(timespec="minutes"))
        moment = due
    return found


def test_a_rate_counts_from_its_start() -> None:
    assert due_times("rate(5 minutes)", "UTC", "2026-11-24T12:07:30+00:00", 2) == [
        "2026-11-24T12:10+00:00",
        "2026-11-24T12:15+00:00",
    ]
    assert due_times("rate(1 day)", "UTC", "2026-11-20T00:00:00+00:00") == [
        "2026-11-24T12:00+00:00"
    ]


def test_speed_shortens_a_rate_and_leaves_the_calendar_alone() -> None:
    fast = parse_expression("rate(1 minute)", "UTC", ANCHOR, 12.0)
    assert fast.next_after(ANCHOR) == ANCHOR + timedelta(seconds=5)
    daily = parse_expression("cron(0 3 * * ? *)", "UTC", ANCHOR, 12.0)
    assert daily.next_after(ANCHOR) == datetime(2026, 11, 25, 3, 0, tzinfo=UTC)


def test_a_cron_takes_the_day_of_the_week() -> None:
    assert due_times("cron(0 3 ? * SUN *)", "UTC", "2026-11-24T12:00:00+00:00", 2) == [
        "2026-11-29T03:00+00:00",
        "2026-12-06T03:00+00:00",
    ]


def test_a_cron_moves_with_summer_time() -> None:
    assert due_times("cron(0 3 * * ? *)", "Europe/Berlin", "2026-03-27T12:00:00+00:00", 3) == [
        "2026-03-28T02:00+00:00",
        "2026-03-29T01:00+00:00",
        "2026-03-30T01:00+00:00",
    ]


def test_a_time_that_the_clocks_skip_is_skipped() -> None:
    assert due_times("cron(30 2 * * ? *)", "Europe/Berlin", "2026-03-28T12:00:00+00:00") == [
        "2026-03-30T00:30+00:00"
    ]


def test_a_time_that_comes_twice_is_due_once() -> None:
    assert due_times("cron(30 2 * * ? *)", "Europe/Berlin", "2026-10-24T12:00:00+00:00", 2) == [
        "2026-10-25T00:30+00:00",
        "2026-10-26T01:30+00:00",
    ]


def test_at_is_due_once() -> None:
    assert due_times("at(2026-12-01T09:00:00)", "Asia/Tokyo", "2026-11-24T12:00:00+00:00", 2) == [
        "2026-12-01T00:00+00:00"
    ]


@pytest.mark.parametrize(
    "expression",
    [
        "rate(0 minutes)",
        "rate(5 seconds)",
        "rate(5)",
        "every day",
        "cron(0 3 * * * *)",
        "cron(0 25 * * ? *)",
        "cron(0 3 * *)",
        "at(2026-12-01)",
        "",
    ],
)
def test_what_eventbridge_refuses_is_refused(expression: str) -> None:
    with pytest.raises(TemplateError):
        parse_expression(expression, "UTC", ANCHOR, 1.0)


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "../etc/passwd", ""])
def test_an_unknown_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(TemplateError, match="Time zone"):
        parse_expression("cron(0 3 * * ? *)", zone, ANCHOR, 1.0)
