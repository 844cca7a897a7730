"""Schedules made from seeds, and those that once found something."""

import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.faults.actions import Action
from tests.faults.schedule import run, shrink
from tests.faults.stage import Stage

SEEDS = range(100)
# Without the service they hit: of these few schedules not every pair comes up.
COARSE = (
    "throttled",
    "access denied",
    "request lost",
    "reply lost",
    "crash before a call",
    "crash after a call",
    "two of intake at once",
    "two of dispatch at once",
    "two of sweep at once",
    "a job hangs",
    "a job fails for one object",
    "a job garbles all outputs",
    "a job event lost",
    "a job event doubled",
    "an S3 event lost",
    "an S3 event doubled",
    "S3 events out of order",
    "a message received twice at once",
    "an invocation timed out",
    "an upload overwritten",
    "an upload deleted",
    "a function's clock is wrong",
    "two of promote at once",
    "a training fails",
    "a training hangs",
    "an evaluation is not answered",
    "a promote event lost",
    "a promote event doubled",
    "a model is promoted",
    "a model is below the floor",
    "a model loses against the live one",
    "an earlier model is gone back to",
)


@pytest.mark.slow
def test_whatever_goes_wrong_each_upload_ends_in_its_one_result(on: Stage) -> None:
    fired: Counter[str] = Counter()
    for seed in SEEDS:
        report = run(on, seed)
        assert report.broken is None, f"python -m tests.faults replay {seed} --shrink"
        fired += report.fired
    never = [kind for kind in COARSE if not any(one.startswith(kind) for one in fired)]
    assert never == []


# Two trainings are decided on, the second against the first. The call that decides on the first is
# held up before it writes the parameter; others have done that in its place.
_WRITES_LATE: list[Action] = [
    ("study", 0, 0),
    ("retrain", 0, 2),
    ("run", 0, 1),
    ("train", 0, 1),
    ("event", 0, 2),
    ("run", 0, 1),
    ("transform", 0, 0),
    ("transform", 0, 0),
    ("put", 3, 0),
    ("wait", 1, 0),
    ("retrain", 0, 2),
    ("run", 0, 1),
    ("train", 0, 0),
    ("event", 2, 2),
    ("run", 0, 1),
    ("transform", 0, 0),
    ("transform", 0, 0),
    ("event", 0, 2),
    ("run", 0, 44),
    ("run", 0, 44),
    ("run", 0, 16),
    ("event", 0, 2),
    ("run", 1, 1),
    ("event", 0, 2),
    ("run", 1, 1),
    ("transform", 0, 0),
    ("event", 0, 2),
    ("run", 1, 1),
]

# What was found, in its shortest form, by what it was.
FOUND: dict[str, list[Action]] = {
    "the newer version's event is lost, and the older one's result comes later": [
        ("put", 0, 0),
        ("notify", 0, 2),
        ("put", 0, 0),
        ("notify", 0, 0),
    ],
    "the same for a labelled upload": [
        ("put", 3, 0),
        ("notify", 0, 2),
        ("put", 3, 0),
        ("notify", 0, 0),
    ],
    "a decision goes by an earlier live model that was written late": [
        *_WRITES_LATE,
        ("event", 0, 0),
        ("put", 4, 0),
        ("wait", 1, 0),
        ("retrain", 0, 2),
        ("run", 1, 1),
        ("train", 0, 1),
        ("event", 0, 2),
        ("run", 1, 12),
        ("storm", 14, 0),
        ("run", 0, 4),
        ("run", 1, 1),
        ("transform", 0, 0),
        ("transform", 0, 0),
        ("event", 0, 2),
        ("run", 1, 24),
        ("run", 0, 4),
        ("run", 1, 1),
    ],
    "whom somebody asks for is taken for live, but was only written late": [
        *_WRITES_LATE,
        ("roll_back", 2, 2),
        ("run", 1, 20),
        ("run", 0, 4),
        ("run", 1, 1),
    ],
}


@pytest.mark.parametrize("actions", FOUND.values(), ids=FOUND)
def test_what_was_found_once_stays_mended(on: Stage, actions: list[Action]) -> None:
    assert run(on, 0, actions).broken is None


@pytest.mark.slow
def test_a_seed_gives_the_same_run_in_any_process() -> None:
    def digests(hash_seed: str) -> list[str]:
        program = (
            "from tests.faults.stage import stage\nfrom tests.faults.schedule import run\n"
            "with stage() as on:\n    print(*[run(on, seed).digest for seed in range(8)])"
        )
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ".:functions"}
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        return done.stdout.split()

    first = digests("1")
    assert len(first) == 8
    assert first == digests("2")


def test_a_schedule_that_breaks_is_made_shorter(on: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checker that never has enough is satisfied by no schedule: the shortest is no action."""
    monkeypatch.setattr("tests.faults.calm.checker.faults", lambda _: ["I0: as always"])
    monkeypatch.setattr("tests.faults.calm._ROUNDS", 1)
    report = run(on, 3)
    assert report.broken == "I0: as always"
    assert shrink(on, report).actions == []
