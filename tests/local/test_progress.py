"""What people read while they wait."""

import io
from typing import Literal

import pytest
from rich.console import Console

from local.patience import Patience
from local.progress import (
    Pace,
    Screen,
    Status,
    clock_text,
    decision_status,
    describe,
    duration,
    gone_on,
    training_status,
    work_status,
)
from local.sagemaker import JobProgress


def job(
    kind: Literal["training", "transform"],
    detail: str = "",
    done: int = 0,
    status: str = "InProgress",
) -> JobProgress:
    return JobProgress(kind, "name", status, detail, done, None, started_at=0.0)


def evaluation(done: int) -> JobProgress:
    name = "tomodrop-eval-20261122T030000Z-challenger-0a1b2c-1"
    return JobProgress("transform", name, "InProgress", "", done, 20, started_at=0.0)


class Time:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("detail", "text", "done", "total"),
    [
        ("epoch 2 of 5", "training: epoch 2 of 5", 1.0, 5),
        ("epoch 2 of 5, batch 30 of 60", "training: epoch 2 of 5, batch 30 of 60", 1.5, 5),
        ("epoch 2", "training: epoch 2", 0, 0),
        ("waiting to start", "training: waiting to start", 0, 0),
        ("training", "training", 0, 0),
        ("", "training", 0, 0),
    ],
)
def test_a_training_tells_its_epoch(detail: str, text: str, done: float, total: float) -> None:
    status = training_status(detail)
    assert (status.text, status.done, status.total) == (text, done, total)


def test_the_last_epoch_comes_to_an_end() -> None:
    status = training_status("epoch 3 of 3", finished=3)
    assert (status.done, status.total) == (3, 3)


@pytest.mark.parametrize(
    ("jobs", "queued", "answered", "text"),
    [
        ([], 100, 0, "taking in 384 of 484"),
        ([job("transform", done=20)], 0, 100, "classifying 120 of 484"),
        ([job("transform", done=20)], 50, 100, "classifying 120 of 484"),
        ([job("transform", done=999)], 0, 100, "classifying 484 of 484"),
        ([job("transform", status="Failed", done=20)], 0, 100, "waiting for the batch's"),
        ([job("training", "epoch 1 of 2")], 0, 100, "training: epoch 1 of 2"),
        ([evaluation(3), evaluation(4)], 0, 100, "evaluating the model: held-out slice 7 of 40"),
        ([evaluation(3), job("transform", done=20)], 0, 100, "classifying 120 of 484"),
        ([], 0, 100, "waiting for the batch's"),
        ([], 0, 484, "all answered 484 of 484"),
        ([], 500, 484, "taking in 484 of 484"),
    ],
)
def test_the_step_has_a_name_and_counts(
    jobs: list[JobProgress], queued: int, answered: int, text: str
) -> None:
    status = work_status(jobs, queued=queued, answered=answered, total=484)
    assert status.text.startswith(text)


def test_a_decision_waits_for_the_evaluation() -> None:
    assert decision_status([job("transform", done=9)]).text == "deciding on the model"
    status = decision_status([evaluation(3), job("transform", done=9)])
    assert status.text == "evaluating the model: held-out slice 3 of 20"


def test_time_left_follows_the_rate_of_this_step() -> None:
    clock = Time()
    pace = Pace(clock)
    pace.follow(Status("uploading", 100, 200))
    clock.now = 100
    pace.follow(Status("classifying", 0, 400))
    clock.now = 160
    pace.follow(Status("classifying", 100, 400))
    assert describe(Status("classifying", 100, 400), pace) == (
        "classifying 100 of 400, about 3 min left"
    )


@pytest.mark.parametrize(("done", "total"), [(0, 400), (400, 400), (5, 0)])
def test_no_time_is_told_where_there_is_no_telling(done: float, total: float) -> None:
    clock = Time()
    pace = Pace(clock)
    pace.follow(Status("classifying", 0, total))
    clock.now = 60
    assert pace.left(Status("classifying", done, total)) is None


def test_an_epoch_does_not_restart_the_clock_of_its_training() -> None:
    clock = Time()
    pace = Pace(clock)
    for minute in range(5):
        clock.now = 60.0 * minute
        pace.follow(training_status(f"epoch {minute + 1} of 5"))
    assert pace.left(training_status("epoch 5 of 5")) == pytest.approx(60)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1 s"),
        (40.4, "40 s"),
        (89, "89 s"),
        (100, "2 min"),
        (3599, "1 h 0 min"),
        (3900, "1 h 5 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (7.9, "0:07"), (725, "12:05"), (3753, "1:02:33")]
)
def test_time_gone(seconds: float, text: str) -> None:
    assert clock_text(seconds) == text


def test_the_start_of_a_training_is_no_rate_to_go_by() -> None:
    clock = Time()
    pace = Pace(clock)
    pace.follow(training_status("waiting to start"))
    clock.now = 100
    pace.follow(training_status("epoch 1 of 5"))
    clock.now = 160
    assert pace.left(training_status("epoch 2 of 5")) == pytest.approx(240)


def plain(clock: Time) -> tuple[Screen, io.StringIO]:
    told = io.StringIO()
    return Screen(Console(file=told, width=200, markup=False), clock), told


def test_without_a_terminal_lines_come_every_ten_seconds_and_with_each_step() -> None:
    clock = Time()
    screen, told = plain(clock)
    with screen:
        for second in range(25):
            clock.now = float(second)
            screen.show(Status("uploading", second, 100))
        screen.show(Status("taking in", 1, 100))
    lines = told.getvalue().splitlines()
    assert [line.split("] ")[1].split(",")[0] for line in lines] == [
        "uploading 0 of 100",
        "uploading 10 of 100",
        "uploading 20 of 100",
        "taking in 1 of 100",
    ]
    assert "\x1b" not in told.getvalue()


def test_what_does_not_change_is_not_repeated() -> None:
    clock = Time()
    screen, told = plain(clock)
    with screen:
        for second in range(100):
            clock.now = float(second)
            screen.show(Status("waiting", counted=False))
    assert len(told.getvalue().splitlines()) == 1


def test_names_with_markup_are_said_as_they_are() -> None:
    screen, told = plain(Time())
    screen.say("[red]a[/red] :smile: " + "x" * 300)
    assert told.getvalue() == "[red]a[/red] :smile: " + "x" * 300 + "\n"


def test_on_a_terminal_one_live_line_names_the_step() -> None:
    told = io.StringIO()
    console = Console(file=told, width=120, force_terminal=True)
    with Screen(console) as screen:
        screen.show(Status("classifying", 120, 484))
        screen.say("a line that stays")
    assert "classifying 120 of 484" in told.getvalue()
    assert "a line that stays\n" in told.getvalue().replace("\r", "")


def test_patience_ends_only_when_nothing_moves() -> None:
    clock = Time()
    patience = Patience(10, clock)
    for second in range(0, 30, 3):
        clock.now = float(second)
        assert not patience.is_over(second)
    clock.now = 36.9
    assert not patience.is_over(27)
    clock.now = 37.0
    assert patience.is_over(27)


def test_between_job_and_json_results_are_collected() -> None:
    status = work_status([], queued=0, answered=3, total=5, collecting=True)
    assert status.text == "collecting results"


def test_a_job_that_was_interrupted_tells_what_is_done() -> None:
    job = JobProgress("transform", "j-1", "InProgress", "", 312, 500, started_at=0.0, before=312)
    assert gone_on(job) == "312 of 500 slices were scored before; going on (j-1)."
    status = work_status([job], queued=0, answered=0, total=500)
    assert status.text == "classifying 312 of 500"
