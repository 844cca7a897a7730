"""How jobs can end, for a schedule to choose from."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.uploads import LABELLED

# What a job can write in place of an answer.
GARBLED = (
    b"",
    b'{"prediction": [0.5',
    b"<html>502</html>",
    b'{"prediction": [0.1, 0.2, 0.7]}',
    b'{"prediction": [NaN, 1]}',
    b'{"prediction": [0.9, 0.9]}',
)


@dataclass(frozen=True)
class Fate:
    """How a transform job ends: its status, and which outputs, by place, are missing or garbled."""

    status: str = "Completed"
    missing: frozenset[int] = frozenset()
    garbled: frozenset[int] = frozenset()
    kind: int = 0

    def answers(self, place: int) -> bool:
        """Whether the input at this place is answered."""
        return place not in self.missing and place not in self.garbled

    def output(self, place: int, score: Callable[[], bytes | None]) -> bytes | None:
        """What is written for the input at this place."""
        if place in self.missing:
            return None
        if place in self.garbled:
            return GARBLED[(place + self.kind) % len(GARBLED)]
        return score()


_ALL = frozenset(range(100))
# What went wrong, and how; None: it hangs.
FATES: tuple[tuple[str, Fate] | None, ...] = (
    ("", Fate()),
    ("", Fate()),
    ("a job fails for one object", Fate("Failed", missing=frozenset({0}))),
    ("a job completes without an output", Fate("Completed", missing=frozenset({1}))),
    ("a job completes with no output at all", Fate("Completed", missing=_ALL)),
    ("a job is stopped half-way", Fate("Stopped", missing=frozenset({1, 2, 3}))),
    ("a job garbles an output", Fate("Completed", garbled=frozenset({0}))),
    ("a job garbles all outputs", Fate("Failed", garbled=_ALL)),
    None,
)


@dataclass(frozen=True)
class Learnt:
    """How a training ends: its status, and of which labelled uploads its model is always wrong."""

    status: str = "Completed"
    wrong: frozenset[str] = frozenset()


# Wrong of one held-out upload of four, each in its own way: enough for the floor, but worse than a
# model that is right of all of them. Wrong of a whole class: below the floor.
FAIR, OTHER = Learnt(wrong=frozenset(LABELLED[:1])), Learnt(wrong=frozenset(LABELLED[1:2]))
POOR = Learnt(wrong=frozenset(key for key in LABELLED if "/covid/" in key))
TRAININGS: tuple[tuple[str, Learnt] | None, ...] = (
    ("", Learnt()),
    ("", FAIR),
    ("", OTHER),
    ("", POOR),
    ("a training fails", Learnt("Failed")),
    ("a training is stopped", Learnt("Stopped")),
    None,
    ("", Learnt()),
    ("", Learnt()),
)
