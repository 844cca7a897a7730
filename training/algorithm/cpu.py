"""The CPU that the process runs on: how many cores it may keep busy, and what these can do."""

import math
import os
import platform
from pathlib import Path

CGROUP_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
CPU_INFO = Path("/proc/cpuinfo")
_NAMES = ("model name", "CPU part")
_FLAGS = ("flags", "Features")
"""Of x86, and of Arm."""


def count_cores() -> int:
    """Return the cores this process may keep busy: its affinity, within the CPU quota."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = CGROUP_CPU_MAX.read_text().split()
        cores = min(cores, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no cgroup v2, or "max": no quota
        pass
    return max(1, cores)


def cpu_flags() -> frozenset[str]:
    """Return what the CPU can do, in Linux's words; nothing where Linux does not say."""
    return frozenset(_look_up(_FLAGS).split())


def cpu_name() -> str:
    """Return the model of the CPU, or the architecture where there is no more to say."""
    return _look_up(_NAMES) or platform.machine()


def _look_up(keys: tuple[str, ...]) -> str:
    """Return the first value in ``/proc/cpuinfo`` under one of ``keys``."""
    try:
        lines = CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in pairs if key.strip() in keys), "")
