"""The same actions, chosen and made smaller by hypothesis: what it finds it shows in short."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.faults.actions import ACTIONS, perform
from tests.faults.calm import settle
from tests.faults.schedule import weights, world_on
from tests.faults.stage import Stage
from tests.faults.world import World

_NUMBERS = st.integers(0, 63)


def _rule(name: str) -> Callable[..., Any]:
    def act(self: "Cloud", a: int, b: int) -> None:
        perform(self.world, (name, a, b))

    act.__name__ = name
    possible = precondition(lambda self: weights(self.world)[name] > 0)
    return possible(rule(a=_NUMBERS, b=_NUMBERS)(act))


class Cloud(RuleBasedStateMachine):
    """A world, and everything that can happen in it."""

    on: ClassVar[Stage]
    world: World

    def __init__(self) -> None:
        super().__init__()
        self._entered = ExitStack()

    @initialize(a=_NUMBERS, b=_NUMBERS, studies=st.sampled_from((False, False, True)))
    def begin(self, a: int, b: int, *, studies: bool) -> None:
        """Every schedule begins with an upload, some with a labelled set before it."""
        self.world = self._entered.enter_context(world_on(self.on, 0))
        if studies:
            perform(self.world, ("study", 0, 0))
        perform(self.world, ("put", a, b))

    def teardown(self) -> None:
        with self._entered:
            settle(self.world)


for _name in ACTIONS:
    setattr(Cloud, _name, _rule(_name))


@pytest.mark.slow
def test_no_order_of_events_and_faults_breaks_what_is_promised(on: Stage) -> None:
    Cloud.on = on
    run_state_machine_as_test(
        Cloud,
        settings=settings(
            max_examples=60, stateful_step_count=20, deadline=None, derandomize=True, database=None
        ),
    )
