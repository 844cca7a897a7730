"""The CPU time of this process and of those that it started, told apart by what they run."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PARTS = ("S3 and runner", "functions", "model server")
"""This process, its functions' workers, its model servers."""


@dataclass(frozen=True)
class Mark:
    """One moment: wall clock and CPU seconds so far of each of PARTS."""

    wall: float
    cpu: tuple[float, float, float]


@dataclass
class Watch:
    """Reads the CPU time of each of PARTS; children are told apart by their command lines."""

    _functions: dict[int, float] = field(default_factory=dict)
    _server: dict[int, float] = field(default_factory=dict)

    def look(self) -> Mark:
        """Read all; of what has ended, or could not be read, the last reading counts."""
        for pid in _children(os.getpid()):
            command, seconds = _read(pid)
            kind = self._server if "training.algorithm" in command else self._functions
            kind[pid] = max(seconds, kind.get(pid, 0.0))
        functions, server = sum(self._functions.values()), sum(self._server.values())
        return Mark(time.perf_counter(), (time.process_time(), functions, server))


def _children(pid: int) -> Iterator[int]:
    try:
        listed = [
            child
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return
    for child in map(int, listed):
        yield child
        yield from _children(child)


def _read(pid: int) -> tuple[str, float]:
    """The command line of a process and its own CPU seconds."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_text()
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", 0.0
    return command, sum(map(int, stat[11:13])) / os.sysconf("SC_CLK_TCK")


def per_slice(begin: Mark, end: Mark, total: int) -> list[float]:
    """CPU milliseconds of each of PARTS between two marks."""
    return [(b - a) / total * 1000 for a, b in zip(begin.cpu, end.cpu, strict=True)]
