"""What a child takes from itself before it looks at an upload. None of it can be taken back."""

import contextlib
import ctypes
import math
import os
import resource
import signal
import sys

from tomodrop.sandbox.bounds import MIB, Bounds
from tomodrop.sandbox.seccomp import Filter

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER = 1, 4, 36
# Enough to import a module late; a decoder reads no files.
_MOST_FILES = 32


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent (a process id) ends, however it ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended in between
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends, so that none is lost sight of."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def hide_from_others() -> None:
    """Let no process of the same user read this one's memory or environment in /proc."""
    _prctl(_PR_SET_DUMPABLE, 0)


def give_back_memory() -> None:
    """Return what is free to the kernel: a child gets it anew, where it would copy what was there.

    GNU's allocator only.
    """
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        _LIBC.prctl(option, value, 0, 0, 0)


def confine(
    bounds: Bounds, system_calls: Filter, address_space: int, keep: tuple[int, ...]
) -> None:
    """Limit this process; of its descriptors only the standard ones and `keep` stay open.

    `address_space` (bytes) is what the process has already, and is not counted. Where the kernel
    takes no filter, no process can be made (unless by root) and Python code finds no sockets;
    memory, time, files and the environment are bounded all the same.
    """
    _close_all_but(keep)
    seconds = math.ceil(bounds.seconds)
    _limit(resource.RLIMIT_CPU, seconds + 1)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, max(_MOST_FILES, *keep) + 1)
    if sys.platform == "linux":
        _limit(resource.RLIMIT_AS, address_space + bounds.memory_mb * MIB)
    if not system_calls.put_on_this_process():
        _limit(resource.RLIMIT_NPROC, 0)
        for name in ("socket", "_socket"):
            sys.modules[name] = None  # type: ignore[assignment] # Python's way to refuse an import


def _close_all_but(keep: tuple[int, ...]) -> None:
    start = 3
    for kept in sorted(keep):
        os.closerange(start, kept)
        start = max(start, kept + 1)
    os.closerange(start, max(start, os.sysconf("SC_OPEN_MAX")))


def _limit(kind: int, most: int) -> None:
    hard = resource.getrlimit(kind)[1]
    allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses some
        resource.setrlimit(kind, (allowed, allowed))


def address_space() -> int:
    """Bytes of address space that this process has; 0 where the kernel does not tell."""
    if sys.platform != "linux":
        return 0
    with open("/proc/self/statm", "rb") as statm:  # noqa: PTH123 - pathlib may not be loaded yet
        return int(statm.read().split()[0]) * resource.getpagesize()
