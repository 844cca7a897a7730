"""Invocations of the real handlers that run one AWS call at a time, in any order.

Each has a thread, and at most one of all threads runs: it stops before every call until the
schedule lets it go on. So two invocations can meet between any two calls, and the same schedule
gives the same run.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.faults.errors import Crash, SimulatorError
from tests.faults.network import Call, Order

# An invocation that makes more calls than this is going round in circles.
MOST_CALLS = 2000
_PATIENCE_S = 60


@dataclass
class Invocation:
    """One run of a handler. `outcome` is None while it goes on, then "ok", "error" or "crash".

    `lives`: how many models had been live when it began.
    """

    name: str
    function: str
    work: Callable[[], Any]
    deadline: float
    skew_s: float
    payload: Any = None
    lives: int = 0
    outcome: str | None = None
    answer: Any = None
    error: BaseException | None = None
    calls: int = 0
    waiting: Call | None = None
    dead: bool = False
    _order: Order = Order.GO
    _turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _parked: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def start(self) -> None:
        """Run to the first call."""
        threading.Thread(target=self._run, name=self.name, daemon=True).start()
        self._await()

    def go_on(self, order: Order) -> None:
        """Let the waiting call have its fate, and run to the next call or the end."""
        if self.waiting is None or self.outcome:
            message = f"{self.name} does not wait for a call"
            raise SimulatorError(message)
        self._order, self.waiting = order, None
        if order in (Order.DIE_BEFORE, Order.DIE_AFTER):
            self.dead = True
        self._turn.release()
        self._await()

    def pause(self, call: Call) -> Order:
        """Called in the invocation's thread before each call: wait for its fate."""
        if self.dead:
            raise Crash
        self.calls += 1
        if self.calls > MOST_CALLS:
            message = f"{self.name} made {MOST_CALLS} calls"
            raise SimulatorError(message)
        self.waiting = call
        self._parked.release()
        self._turn.acquire()
        return self._order

    def _run(self) -> None:
        try:
            self.answer = self.work()
            outcome = "ok"
        except Exception as error:  # noqa: BLE001 (whatever a handler raises)
            self.error = error
            outcome = "error"
        except BaseException as error:  # noqa: BLE001 (its process may die)
            self.error = error
            outcome = "crash"
        self.outcome = "crash" if self.dead else outcome
        self._parked.release()

    def _await(self) -> None:
        if not self._parked.acquire(timeout=_PATIENCE_S):
            message = f"{self.name} neither called AWS nor ended within {_PATIENCE_S} s"
            raise SimulatorError(message)
