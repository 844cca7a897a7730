"""Schedules: made from a seed, run, and made smaller when they fail."""

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, repeat

from tests.faults.actions import Action, perform
from tests.faults.calm import settle
from tests.faults.errors import InvariantBroken
from tests.faults.learning import go_live
from tests.faults.network import Order
from tests.faults.stage import Stage, quiet
from tests.faults.world import World

_LENGTHS = (8, 48)
_NUMBERS = 1 << 12
# Of so many schedules one has a labelled set, and twice the length.
_STUDIES = 3


@dataclass
class Report:
    """How a schedule ended: `broken` is None, or what was found."""

    seed: int
    actions: list[Action]
    broken: str | None = None
    hours: float = 0
    fired: Counter[str] = field(default_factory=Counter)
    trace: list[str] = field(default_factory=list)
    calls: int = 0

    @property
    def digest(self) -> str:
        """The same for the same run."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()[:16]


# Of what goes well, how likely each is, and with which second numbers.
_MILD: dict[str, tuple[int, tuple[int, ...]]] = {
    "put": (6, ()),
    "notify": (8, (2, 1)),
    "receive": (8, (1, 2, 3)),
    "run": (16, (0, 4, 8, 12, 1)),
    "storm": (2, (0, 1)),
    "transform": (4, (0, 2, 3, 6)),
    "event": (4, (2, 1)),
    "dispatch": (8, (0,)),
    "pause": (8, (0,)),
}


def weights(world: World) -> dict[str, int]:
    """How likely each action is now: what cannot happen is not chosen."""
    busy, moment = bool(world.invocations), world.moment()
    return {
        "study": 0,
        "put": 5 if world.versions else 100,
        "delete": 1 if world.versions else 0,
        "notify": 14 if world.notifications else 0,
        "receive": 16 if moment.messages else 0,
        "schedule": 6 if world.studies else 16,
        "dispatch": 0,
        "pause": 0,
        "run": 40 if busy else 0,
        "kill": 5 if busy else 0,
        "storm": 3,
        "wait": 1 if busy else 6 if world.studies else 14,
        "skew": 1,
        "transform": 20 if moment.jobs else 0,
        "event": 20 if moment.events else 0,
        "retrain": _retrains(world),
        "train": 20 if moment.trainings else 0,
        "roll_back": 2 if world.studies else 0,
    }


def _retrains(world: World) -> int:
    if not world.studies:
        return 0
    goes_on = world.sagemaker.running("training-job") or any(
        invocation.function == "retrain" for invocation in world.invocations
    )
    return 2 if goes_on else 14


def chosen_by(seed: int) -> Iterator[Callable[[World], Action]]:
    """The schedule of a seed: each action is chosen among those that the moment allows."""
    chooser = random.Random(seed)

    def choose(world: World) -> Action:
        likely = weights(world)
        (name,) = chooser.choices(list(likely), list(likely.values()))
        return name, chooser.randrange(_NUMBERS), chooser.randrange(_NUMBERS)

    length = chooser.randint(*_LENGTHS)
    if chooser.randrange(_STUDIES):
        return repeat(choose, length)
    study: Action = ("study", chooser.randrange(_NUMBERS), 0)
    return chain([partial(_given, study)], repeat(choose, 2 * length))


@contextmanager
def world_on(stage: Stage, seed: int) -> Iterator[World]:
    """A fresh world with a live model; what still runs at the end is let die."""
    stage.reset(seed)
    world = World(stage)
    go_live(world)
    try:
        with quiet():
            yield world
    finally:
        stage.answer = stage.to_moto
        for invocation in world.invocations:
            world.current = invocation
            invocation.go_on(Order.DIE_BEFORE)
        world.current = None


def without_losses(seed: int) -> list[Action]:
    """A schedule in which all goes well, if in an odd order: no sweep may be needed after it."""
    chooser = random.Random(seed)
    names = chooser.choices(list(_MILD), [weight for weight, _ in _MILD.values()], k=40)
    actions = []
    for name in ("put", "notify", *names):
        numbers = _MILD[name][1]
        b = numbers[chooser.randrange(len(numbers))] if numbers else chooser.randrange(_NUMBERS)
        actions.append((name, chooser.randrange(3) if name == "put" else chooser.randrange(60), b))
    return actions


def run(
    stage: Stage, seed: int, actions: Sequence[Action] | None = None, *, sweeps: bool = True
) -> Report:
    """Let a schedule happen, and then the calm after it, with sweeps if need be."""
    report = Report(seed, [])
    choices = chosen_by(seed) if actions is None else (partial(_given, one) for one in actions)
    with world_on(stage, seed) as world:
        report.fired, report.trace = world.fired, world.trace
        try:
            for choose in choices:
                report.actions.append(choose(world))
                perform(world, report.actions[-1])
            world.trace.append("calm")
            lost = world.fired["an event given up"] + world.fired["a message set aside"]
            report.hours = settle(world, sweeps=sweeps or lost > 0)
        except InvariantBroken as broken:
            report.broken = str(broken)
        report.calls = sum(line.startswith("  ") for line in world.trace)
    return report


def _given(action: Action, _: World) -> Action:
    return action


def shrink(stage: Stage, report: Report) -> Report:
    """A shorter schedule that breaks something too: actions are left out as long as one does."""
    assert report.broken
    size = max(1, len(report.actions) // 2)
    while size:
        start = 0
        while start < len(report.actions):
            fewer = report.actions[:start] + report.actions[start + size :]
            tried = run(stage, report.seed, fewer)
            if tried.broken and tried.broken[:2] == report.broken[:2]:
                report = tried
            else:
                start += size
        size //= 2
    return report
