"""Many schedules in several processes, with progress, and an account at the end."""

import multiprocessing
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import takewhile
from statistics import median

from tests.faults.actions import KINDS_OF_FAULT
from tests.faults.schedule import Report, run
from tests.faults.stage import Stage, stage

_CHUNK = 20
_TOLD_EVERY_S = 15


@dataclass
class Account:
    """What came of many schedules. `broken`: seed → what did not hold."""

    schedules: int = 0
    calls: int = 0
    fired: Counter[str] = field(default_factory=Counter)
    hours: list[float] = field(default_factory=list)
    broken: dict[int, str] = field(default_factory=dict)

    def add(self, report: Report) -> None:
        """Count a schedule in."""
        self.schedules += 1
        self.calls += report.calls
        self.fired += report.fired
        self.hours.append(report.hours)
        if report.broken:
            self.broken[report.seed] = report.broken

    def merge(self, other: "Account") -> None:
        """Count many in."""
        self.schedules += other.schedules
        self.calls += other.calls
        self.fired += other.fired
        self.hours += other.hours
        self.broken |= other.broken

    @property
    def never_fired(self) -> list[str]:
        """Kinds of fault that no schedule met: of these the run says nothing."""
        return [kind for kind in KINDS_OF_FAULT if not self.fired[kind]]

    def lines(self) -> Iterator[str]:
        """The account in words."""
        yield f"{self.schedules} schedules, {self.calls} AWS calls"
        if self.hours:
            most, middle = max(self.hours), median(self.hours)
            yield f"at rest after {middle:.1f} h of virtual time (median), {most:.1f} h at most"
        for kind in KINDS_OF_FAULT:
            yield f"{self.fired[kind]:8d}  {kind}"
        for seed, what in sorted(self.broken.items()):
            yield f"BROKEN by seed {seed}: {what}"
            yield f"  replay it: python -m tests.faults replay {seed}"
        for kind in self.never_fired:
            yield f"NEVER FIRED: {kind}"


_stage: list[Stage] = []


def _enter() -> None:
    """Once per process; the process's end leaves it."""
    context = stage()
    _stage.append(context.__enter__())
    _kept.append(context)


_kept: list[object] = []


def _run_chunk(seeds: range) -> Account:
    account = Account()
    for seed in seeds:
        account.add(run(_stage[0], seed))
    return account


def soak(
    seeds: range, processes: int, longest_s: float = float("inf")
) -> Iterator[tuple[Account, bool]]:
    """Run the schedules of these seeds; yields the account so far, and whether it is the last.

    After `longest_s` seconds no further ones are begun.
    """
    end = time.monotonic() + longest_s
    starts = takewhile(lambda _: time.monotonic() < end, range(0, len(seeds), _CHUNK))
    chunks = (seeds[start : start + _CHUNK] for start in starts)
    account, told = Account(), time.monotonic()
    with ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), initializer=_enter
    ) as pool:
        for done in _as_they_end(pool, chunks, 2 * processes):
            account.merge(done.result())
            if time.monotonic() - told > _TOLD_EVERY_S:
                told = time.monotonic()
                yield account, False
    yield account, True


def _as_they_end(
    pool: ProcessPoolExecutor, chunks: Iterable[range], ahead: int
) -> Iterator["Future[Account]"]:
    running: set[Future[Account]] = set()
    for chunk in chunks:
        running.add(pool.submit(_run_chunk, chunk))
        if len(running) >= ahead:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from done
    while running:
        done, running = wait(running, return_when=FIRST_COMPLETED)
        yield from done
