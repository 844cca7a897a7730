"""In which numbers the exported network is run on a CPU: what is chosen, and what is possible.

Only decisions, no measuring. ``fp32`` and ``bf16`` run the network as learned, ``int8`` the one
whose convolutions were given whole numbers.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

FP32, BF16, INT8 = "fp32", "bf16", "int8"
PRECISIONS = (FP32, BF16, INT8)
"""From the most exact to what should be the fastest."""
AUTO, NONE = "auto", "none"

TOLERANCE = 0.003
"""Largest loss of accuracy and of AUC against fp32, as a share: 0.3 points."""
LEAST_GAIN = 1.05
"""How much faster a less exact precision must be: less is not worth it, and may be noise."""
_ROUNDING = 1e-9

NEEDED_FLAGS: dict[str, frozenset[str]] = {
    FP32: frozenset(),
    BF16: frozenset({"avx512_bf16", "amx_bf16", "bf16"}),
    INT8: frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"}),
}
"""One of them makes a precision fast (x86, and the last of each Arm); without, it is slower."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a precision was worth on validation slices, on one CPU; ``auc`` may be undefined."""

    accuracy: float
    auc: float | None
    images_per_second: float

    def as_json(self) -> dict[str, float | None]:
        """Return what ``model.json`` keeps."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Choice:
    """The precision to serve in, all that are exact enough, and the reason in words."""

    precision: str
    kept: tuple[str, ...]
    reason: str


def has_flags(precision: str, flags: Collection[str]) -> bool:
    """Whether a CPU with these ``flags`` is fast in ``precision``."""
    needed = NEEDED_FLAGS[precision]
    return not needed or not needed.isdisjoint(flags)


def is_exact_enough(candidate: Measured, reference: Measured) -> bool:
    """Whether neither accuracy nor AUC is more than :data:`TOLERANCE` below the reference's."""
    pairs = [(candidate.accuracy, reference.accuracy)]
    if reference.auc is not None:
        # An area that was defined and is no more comes of scores that are no numbers.
        pairs.append((-1.0 if candidate.auc is None else candidate.auc, reference.auc))
    return all(known - found <= TOLERANCE + _ROUNDING for found, known in pairs)


def choose(measured: Mapping[str, Measured], wanted: str = AUTO) -> Choice:
    """Choose among what was measured, FP32 being the reference; ``wanted`` is taken if it is there.

    Automatically it is the fastest that is exact enough.
    """
    reference = measured[FP32]
    there = [each for each in PRECISIONS if each in measured]
    kept = tuple(each for each in there if is_exact_enough(measured[each], reference))
    if wanted in measured:
        return Choice(wanted, kept, f"serving_precision={wanted}")
    best = FP32
    for each in kept:
        gain = measured[each].images_per_second / measured[best].images_per_second
        if gain >= LEAST_GAIN:
            best = each
    lost = [each for each in there if each not in kept]
    reason = f"the fastest of {', '.join(kept)}"
    if wanted != AUTO:
        reason = f"serving_precision={wanted} is not for this CPU: {reason}"
    if lost:
        reason += f"; {', '.join(lost)} lost more than {TOLERANCE * 100:g} points"
    return Choice(best, kept, reason)


def to_run(serving: Mapping[str, Any], flags: Collection[str]) -> str:
    """Return the precision to serve in on this CPU: what was chosen, or the next it is fast in."""
    chosen = serving["precision"]
    possible = [each for each in reversed(PRECISIONS) if has_flags(each, flags)]
    if chosen in possible:
        return str(chosen)
    below = PRECISIONS[: PRECISIONS.index(chosen)]
    return next(each for each in possible if each in below and each in (FP32, *serving["kept"]))


def check_serving(serving: Any) -> None:
    """:raises ValueError: when this is no ``serving`` of ``model.json`` that can be followed."""
    if serving is None:
        return
    named = [serving["precision"], *serving["kept"]]
    if not set(named) <= set(PRECISIONS):
        raise ValueError(f"serving in one of {named}, where {PRECISIONS} are known")
