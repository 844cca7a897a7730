"""What the process may compute on, and what its convolutions compute in."""

import torch

from training.algorithm.combinations import FLOAT16
from training.algorithm.hyperparameters import Hyperparameters
from training.algorithm.log import LOGGER


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
