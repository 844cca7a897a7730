"""What the process may use: cores within the container's quota, and the device to compute on."""

import math
import os
from pathlib import Path

import torch

from training.algorithm.combinations import FLOAT16
from training.algorithm.hyperparameters import Hyperparameters
from training.algorithm.log import LOGGER

CGROUP_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def count_cores() -> int:
    """Return the cores this process may keep busy: its affinity, within the CPU quota."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = CGROUP_CPU_MAX.read_text().split()
        cores = min(cores, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no cgroup v2, or "max": no quota
        pass
    return max(1, cores)


def count_gpus() -> int:
    """Return how many GPUs this host has for the job."""
    return torch.cuda.device_count()


def choose_device(index: int = 0) -> torch.device:
    """Return the GPU of that number if there is any, else the CPU."""
    return torch.device("cuda", index) if torch.cuda.is_available() else torch.device("cpu")


def mixed_precision(chosen: Hyperparameters, device: torch.device) -> torch.dtype | None:
    """Return what convolutions compute in, or None for float32."""
    if chosen.bf16:
        return torch.bfloat16
    if chosen.precision_dtype != FLOAT16:
        return None
    if device.type == "cuda":
        return torch.float16
    LOGGER.info("precision_dtype=float16 needs a GPU: computing in bfloat16 on this CPU")
    return torch.bfloat16
