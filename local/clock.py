"""The time that schedules go by: this machine's, or one that a test sets."""

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

# How often those who wait on a manual clock look at what does not notify them.
MANUAL_POLL_S = 0.02
# How long `advance` waits for the threads that it woke.
SETTLE_LIMIT_S = 10.0


class Clock(Protocol):
    """What the scheduler asks of time."""

    def now(self) -> datetime:
        """The present, aware, UTC."""

    def wait_until(self, moment: datetime, wake: threading.Event) -> bool:
        """Sleep until then. False if `wake` was set first."""

    def expect(self, thread: threading.Thread) -> None:
        """Told of a thread, just started, that is going to wait."""


class RealClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The present, aware, UTC."""
        return datetime.now(UTC)

    def wait_until(self, moment: datetime, wake: threading.Event) -> bool:
        """Sleep until then. False if `wake` was set first."""
        while (left_s := (moment - self.now()).total_seconds()) > 0:
            # Not in one sleep: the machine may sleep too, or its clock be set.
            if wake.wait(min(left_s, 60.0)):
                return False
        return not wake.is_set()

    def expect(self, thread: threading.Thread) -> None:
        """Nothing to do: time goes on by itself."""


class ManualClock:
    """Stands still until a test moves it.

    `advance` goes from one awaited moment to the next and lets whoever waited for it finish first,
    so nothing is skipped and the order is the same every time.
    """

    def __init__(self, start: datetime) -> None:
        self._now = start.astimezone(UTC)
        self._changed = threading.Condition()
        # Threads that wait, or were woken and have not come back to wait again: thread → moment.
        self._awaited: dict[threading.Thread, datetime] = {}

    def now(self) -> datetime:
        """The moment it was set to."""
        with self._changed:
            return self._now

    def wait_until(self, moment: datetime, wake: threading.Event) -> bool:
        """Sleep until a test has moved the clock there. False if `wake` was set first."""
        thread = threading.current_thread()
        with self._changed:
            self._awaited[thread] = moment
            self._changed.notify_all()
            while self._now < moment and not wake.is_set():
                self._changed.wait(MANUAL_POLL_S)
            self._awaited[thread] = min(moment, self._now)  # busy until it waits again
            return not wake.is_set()

    def expect(self, thread: threading.Thread) -> None:
        """Do not advance before this thread has come to wait for the first time."""
        with self._changed:
            self._awaited.setdefault(thread, self._now)

    def advance(self, seconds: float) -> None:
        """Move on by this much, stopping at every moment that is awaited on the way.

        Raises TimeoutError if a woken thread does not come back to wait.
        """
        with self._changed:
            target = self._now + timedelta(seconds=seconds)
            while True:
                self._settle()
                ahead = [moment for moment in self._awaited.values() if moment <= target]
                if not ahead:
                    break
                self._now = max(self._now, min(ahead))
                self._changed.notify_all()
            self._now = target
            self._changed.notify_all()

    def _settle(self) -> None:
        deadline = time.monotonic() + SETTLE_LIMIT_S
        while self._someone_is_busy():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("A thread that the clock woke did not come back to wait.")
            self._changed.wait(min(left_s, MANUAL_POLL_S))  # a thread may end without a word

    def _someone_is_busy(self) -> bool:
        self._awaited = {
            thread: moment for thread, moment in self._awaited.items() if thread.is_alive()
        }
        return any(moment <= self._now for moment in self._awaited.values())
