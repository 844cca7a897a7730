"""The simulator notices each guard that is broken on purpose."""

from dataclasses import replace

import pytest

from tests.faults.mutants import MUTANTS
from tests.faults.mutating import Mutant, at_work
from tests.faults.schedule import Report, run, without_losses
from tests.faults.stage import Stage


def run_for(on: Stage, mutant: Mutant) -> Report:
    return run(on, 0, mutant.schedule, sweeps=mutant.sweeps)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_guard_is_noticed(on: Stage, name: str) -> None:
    assert run_for(on, MUTANTS[name]).broken is None
    with at_work(MUTANTS[name]):
        assert run_for(on, MUTANTS[name]).broken


@pytest.mark.slow
def test_without_losses_no_sweep_is_needed(on: Stage) -> None:
    for seed in range(12):
        assert run(on, seed, without_losses(seed), sweeps=False).broken is None, seed


def test_a_mutant_that_fits_nowhere_is_an_error() -> None:
    edit = replace(MUTANTS["attempts have no end"].edits[0], old="no such text")
    with pytest.raises(LookupError, match="mend the mutant"), at_work(Mutant((edit,), ())):
        pass
