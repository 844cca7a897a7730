"""Schedules call functions when a clock that the test holds comes to their time."""

from collections.abc import Callable
from typing import Any

import pytest

from local.errors import LocalCloudError

Eventually = Callable[[Callable[[], Any]], Any]
HOUR_S = 3600


def turns(small: Any, by: str) -> list[str]:
    """The times that a schedule's function was told."""
    return [turn["scheduled_time"] for turn in small.traces("turns") if turn["by"] == by]


def test_a_rate_begins_at_once_and_misses_no_turn(small: Any, eventually: Eventually) -> None:
    small.clock.advance(3 * HOUR_S)
    eventually(lambda: len(turns(small, "hourly")) == 4)
    assert sorted(turns(small, "hourly")) == [
        "2026-07-10T11:59:00Z",
        "2026-07-10T12:59:00Z",
        "2026-07-10T13:59:00Z",
        "2026-07-10T14:59:00Z",
    ]


def test_a_cron_goes_by_the_wall_clock_of_its_zone(small: Any, eventually: Eventually) -> None:
    assert turns(small, "daily") == []
    small.clock.advance(12 * HOUR_S)
    eventually(lambda: turns(small, "daily"))
    assert turns(small, "daily") == ["2026-07-11T01:00:00Z"]  # 3 o'clock summer time in Berlin


def test_a_schedule_switched_off_through_the_api_is_off(small: Any) -> None:
    client = small.client("scheduler")
    [name] = [s["Name"] for s in client.list_schedules()["Schedules"] if "Daily" in s["Name"]]
    described = client.get_schedule(Name=name)
    settings = {
        key: described[key]
        for key in ("Name", "ScheduleExpression", "FlexibleTimeWindow", "Target")
    }
    client.update_schedule(**settings, State="DISABLED")
    before = turns(small, "daily")
    small.clock.advance(24 * HOUR_S)
    assert turns(small, "daily") == before


def test_firing_by_hand_works_for_a_schedule_that_is_off(small: Any) -> None:
    now = small.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    assert small.cloud.fire("DailyFunction") == {"scheduled_time": now, "by": "daily"}


@pytest.mark.parametrize("name", ["QueueFunction", "NoSuchFunction"])
def test_firing_needs_a_function_with_a_schedule(small: Any, name: str) -> None:
    with pytest.raises(LocalCloudError):
        small.cloud.fire(name)
