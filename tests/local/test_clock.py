"""A clock that a test moves wakes everyone at their moment, in order, and skips nobody."""

import threading
from datetime import UTC, datetime, timedelta

from local.clock import ManualClock, RealClock

START = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def test_advancing_stops_at_every_awaited_moment() -> None:
    clock, stop, seen = ManualClock(START), threading.Event(), []

    def wait(name: str, every_s: int) -> None:
        moment = START
        while True:
            moment += timedelta(seconds=every_s)
            if not clock.wait_until(moment, stop):
                return
            seen.append((int((clock.now() - START).total_seconds()), name))

    threads = [
        threading.Thread(target=wait, args=(name, every_s))
        for name, every_s in (("three", 3), ("five", 5))
    ]
    for thread in threads:
        thread.start()
        clock.expect(thread)
    clock.advance(10)
    assert sorted(seen) == [(3, "three"), (5, "five"), (6, "three"), (9, "three"), (10, "five")]
    assert clock.now() == START + timedelta(seconds=10)
    stop.set()
    for thread in threads:
        thread.join(timeout=5)
        assert not thread.is_alive()


def test_waking_ends_a_wait_before_its_moment() -> None:
    clock, wake = RealClock(), threading.Event()
    wake.set()
    assert not clock.wait_until(clock.now() + timedelta(hours=1), wake)


def test_a_moment_in_the_past_is_reached_at_once() -> None:
    clock = RealClock()
    assert clock.wait_until(clock.now() - timedelta(hours=1), threading.Event())
