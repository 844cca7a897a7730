"""Real processes, killed with `kill -9` at random: the whole stack, a function, a model server.

One folder of uploads and one state from the first kill to the last. Uploads go on coming; at the
end a run that nobody disturbs must answer every one, and the receipt must find nothing missing and
nothing doubled.
"""

import os
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.local.test_watch import Folders, running
from training.datasets.phantoms import write_tree

STACK, FUNCTION, SERVER = "the whole stack", "a function", "a model server"
# What tells a process of the stack by its command line.
_MARKS = {FUNCTION: "worker_main", SERVER: "training.algorithm serve"}
_LONGEST_S = {STACK: 12.0, FUNCTION: 4.0, SERVER: 8.0}
_NEW_FILES = 3


@dataclass
class Killed:
    """How many of each kind; `missed`: times when there was no such process to kill."""

    kinds: Counter[str] = field(default_factory=Counter)
    missed: int = 0
    files: int = 0

    @property
    def times(self) -> int:
        """All kills."""
        return self.kinds.total()


class KillsError(AssertionError):
    """Something was lost, doubled or left undone."""


def kill_often(times: int, seed: int, longest_s: float) -> Iterator[Killed]:
    """Kill so many processes, or as many as the time allows; yields the count after each.

    Raises
    ------
    KillsError
        Afterwards not every upload had its one result.
    """
    chance, ends, done = random.Random(seed), time.monotonic() + longest_s, Killed()
    with tempfile.TemporaryDirectory(prefix="tomodrop-kills-") as name:
        folders = _trained(Path(name))
        while done.times < times and time.monotonic() < ends:
            with running(folders, folders.root / "log") as stack:
                yield from _until_the_stack_is_killed(folders, stack, chance, done, times)
        _check(folders, done)


def _trained(root: Path) -> Folders:
    folders = Folders(root)
    write_tree(root / "labelled", patients=2, slices=2, seed=3, size=48)
    folders.drop("first.png")
    code, told = folders.run("--once", "--labelled", str(root / "labelled"))
    if code:
        raise KillsError(told)
    return folders


def _until_the_stack_is_killed(
    folders: Folders,
    stack: subprocess.Popen[bytes],
    chance: random.Random,
    done: Killed,
    times: int,
) -> Iterator[Killed]:
    while done.times < times and stack.poll() is None:
        kind = chance.choice((STACK, STACK, FUNCTION, SERVER))
        names = [f"{done.files + number:05d}.png" for number in range(_NEW_FILES)]
        folders.drop(*names, seed=100 + done.files)
        done.files += _NEW_FILES
        if not _kill(kind, stack, chance.uniform(0.2, _LONGEST_S[kind])):
            done.missed += 1
            continue
        done.kinds[kind] += 1
        yield done


def _kill(kind: str, stack: subprocess.Popen[bytes], after_s: float) -> bool:
    """Kill one process of this kind after so many seconds; False if there was none by then."""
    time.sleep(after_s)
    if kind == STACK:
        stack.kill()
        stack.wait()
        return True
    ends = time.monotonic() + _LONGEST_S[kind]
    while time.monotonic() < ends:
        for pid in _descendants(stack.pid):
            if _MARKS[kind] in _command(pid):
                os.kill(pid, signal.SIGKILL)
                return True
        time.sleep(0.05)
    return False


def _descendants(pid: int) -> list[int]:
    entries = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    parents = {int(entry.name): _parent(entry) for entry in entries}
    found, new = [], {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new}
        found += sorted(new)
    return found


def _parent(process: Path) -> int:
    try:
        # proc(5): the name in brackets may hold anything, so the fields are counted after it.
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def _check(folders: Folders, done: Killed) -> None:
    code, told = folders.run("--once")
    if code:
        raise KillsError(told)
    code, receipt = folders.audit()
    if code:
        raise KillsError(receipt)
    answered = len(folders.results())
    if answered != done.files + 1:
        message = f"{answered} results of {done.files + 1} uploads"
        raise KillsError(message)
