"""What one hyperparameter may be: how its text is read, its default, and what it means."""

import math
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import pairwise
from typing import Any


@dataclass(frozen=True, slots=True)
class Rule:
    """How one hyperparameter is read.

    ``parse`` raises ValueError with what is allowed; ``unbuilt`` says for a value that the
    built-in knows and this algorithm does not (yet) why it is refused, or returns None.
    """

    parse: Callable[[str], Any]
    default: Any
    meaning: str
    _: KW_ONLY
    required: bool = False
    ours: bool = False
    unbuilt: Callable[[Any], str | None] = lambda _value: None


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """Parse an integer in low…high, both included."""
    wanted = f"a whole number from {low}" + (f" to {high}" if high is not None else "")

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ValueError(wanted) from None
        if value < low or (high is not None and value > high):
            raise ValueError(wanted)
        return value

    return parse


def real(low: float, high: float, *, open_low: bool = False) -> Callable[[str], float]:
    """Parse a finite number in low…high; ``open_low`` leaves ``low`` itself out."""
    wanted = f"a number from {low:g} to {high:g}" + (f", not {low:g}" if open_low else "")

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(wanted) from None
        if not math.isfinite(value) or not low <= value <= high or (open_low and value == low):
            raise ValueError(wanted)
        return value

    return parse


def choice(*allowed: str) -> Callable[[str], str]:
    """Parse one of a few words, exactly as written."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError("one of " + ", ".join(allowed))
        return text

    return parse


def one_of_numbers(*allowed: int) -> Callable[[str], int]:
    """Parse one of a few integers."""
    words = choice(*map(str, allowed))
    return lambda text: int(words(text))


def flag(text: str) -> bool:
    """Parse a switch: 0 or 1, and True or False in any case."""
    switches = {"0": False, "1": True, "false": False, "true": True}
    if text.lower() not in switches:
        raise ValueError("0, 1, True or False")
    return switches[text.lower()]


def image_shape(text: str) -> tuple[int, int, int]:
    """Parse ``channels,height,width`` in pixels."""
    wanted = 'three whole numbers "channels,height,width" such as "3,224,224"'
    try:
        channels, height, width = (int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(wanted) from None
    if channels not in (1, 3):
        raise ValueError(wanted + ", with 1 or 3 channels")
    if not all(MIN_SIDE_PX <= side <= MAX_SIDE_PX for side in (height, width)):
        raise ValueError(wanted + f", sides from {MIN_SIDE_PX} to {MAX_SIDE_PX}")
    return channels, height, width


MIN_SIDE_PX = 28
MAX_SIDE_PX = 1024


def epoch_list(text: str) -> tuple[int, ...]:
    """Parse increasing epoch numbers such as "10,20"."""
    wanted = 'increasing epoch numbers such as "10,20"'
    try:
        steps = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(wanted) from None
    if steps[0] < 1 or any(b <= a for a, b in pairwise(steps)):
        raise ValueError(wanted)
    return steps


def only(allowed: Sequence[Any], instead: str) -> Callable[[Any], str | None]:
    """Refuse values of the built-in that this algorithm does not offer; say what to do."""
    return lambda value: None if value in allowed else instead
