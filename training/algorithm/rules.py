"""What one hyperparameter may be: how its text is read, its default, and what it means."""

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from itertools import pairwise
from typing import Any


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value: ``read`` raises ValueError for a text that is not ``allowed`` (words)."""

    allowed: str
    read: Callable[[str], Any]

    def __call__(self, text: str) -> Any:
        """Return the value that ``text`` stands for.

        :raises ValueError: whose text is what would be allowed.
        """
        try:
            return self.read(text)
        except ValueError:
            raise ValueError(self.allowed) from None


@dataclass(frozen=True, slots=True)
class Rule:
    """How one hyperparameter is read; ``ours`` marks what the built-in does not have."""

    parse: Kind
    default: Any
    meaning: str
    _: KW_ONLY
    required: bool = False
    ours: bool = False


def whole(low: int, high: int | None = None) -> Kind:
    """Integers in low…high, both included."""

    def read(text: str) -> int:
        value = int(text)
        if value < low or (high is not None and value > high):
            raise ValueError
        return value

    return Kind(f"a whole number from {low}" + (f" to {high}" if high is not None else ""), read)


def real(low: float, high: float, *, open_low: bool = False, open_high: bool = False) -> Kind:
    """Finite numbers in low…high; an open end is itself left out."""
    left_out = [f"{end:g}" for end, is_open in ((low, open_low), (high, open_high)) if is_open]

    def read(text: str) -> float:
        value = float(text)
        if not math.isfinite(value) or not low <= value <= high:
            raise ValueError
        if (open_low and value == low) or (open_high and value == high):
            raise ValueError
        return value

    excluded = f", not {' or '.join(left_out)}" if left_out else ""
    return Kind(f"a number from {low:g} to {high:g}" + excluded, read)


def choice(*allowed: str) -> Kind:
    """One of a few words, exactly as written."""

    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError
        return text

    return Kind("one of " + ", ".join(allowed), read)


def one_of_numbers(*allowed: int) -> Kind:
    """One of a few integers."""
    words = choice(*map(str, allowed))
    return Kind(words.allowed, lambda text: int(words.read(text)))


def _read_flag(text: str) -> bool:
    switches = {"0": False, "1": True, "false": False, "true": True}
    if text.lower() not in switches:
        raise ValueError
    return switches[text.lower()]


def _read_image_shape(text: str) -> tuple[int, int, int]:
    channels, height, width = (int(part) for part in text.split(","))
    if channels not in (1, 3):
        raise ValueError
    if not all(MIN_SIDE_PX <= side <= MAX_SIDE_PX for side in (height, width)):
        raise ValueError
    return channels, height, width


def _read_epoch_list(text: str) -> tuple[int, ...]:
    steps = tuple(int(part) for part in text.split(","))
    if steps[0] < 1 or any(b <= a for a, b in pairwise(steps)):
        raise ValueError
    return steps


MIN_SIDE_PX = 28
MAX_SIDE_PX = 1024

flag = Kind("0, 1, True or False", _read_flag)
image_shape = Kind(
    'three whole numbers "channels,height,width" such as "3,224,224", with 1 or 3 channels, '
    f"sides from {MIN_SIDE_PX} to {MAX_SIDE_PX}",
    _read_image_shape,
)
epoch_list = Kind('increasing epoch numbers such as "10,20"', _read_epoch_list)
