"""What a person sees while the cloud works: the step by name, counts, time gone, time left.

On a terminal it is one live line; elsewhere a plain line is printed every few seconds, so that a
log tells the same story.
"""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from local.sagemaker import JobProgress

PLAIN_SECONDS = 10.0
# Before this, a rate is mostly noise.
RATE_SECONDS = 5.0
BAR_WIDTH = 28

_EPOCH = re.compile(r"epoch (\d+)(?: of (\d+))?(?:, batch (\d+) of (\d+))?")


@dataclass(frozen=True)
class Status:
    """What is being done. `done` may be a fraction (of an epoch); `total` 0 is unknown."""

    step: str
    done: float = 0
    total: float = 0
    counted: bool = True

    @property
    def text(self) -> str:
        """As people read it: "classifying 120 of 484"."""
        if not self.counted or not self.total:
            return self.step
        return f"{self.step} {self.done:,.0f} of {self.total:,.0f}"

    @property
    def kind(self) -> str:
        """The step without what changes within it: a new kind starts a new clock."""
        return self.step.split(":")[0]


def training_status(detail: str, finished: int = 0) -> Status:
    """A training's own words ("epoch 2 of 5, batch 20 of 78") with how far that is.

    `finished` epochs are done in any case: the words stay those of the last epoch to the end.
    """
    found = _EPOCH.search(detail)
    step = f"training: {detail}" if detail and detail != "training" else "training"
    if not found or not found.group(2):
        return Status(step, counted=False)
    epoch, epochs = int(found.group(1)), int(found.group(2))
    batch, batches = (int(number or 0) for number in found.group(3, 4))
    share = batch / batches if batches else 0.0
    return Status(step, done=max(epoch - 1 + share, finished), total=epochs, counted=False)


def is_evaluation(job: JobProgress) -> bool:
    """Whether a job scores a model on held-out slices, which answers no upload."""
    return job.kind == "transform" and "-eval-" in job.name


def decision_status(jobs: Sequence[JobProgress]) -> Status:
    """What happens between a training's end and the decision on its model."""
    evaluations = [job for job in jobs if is_evaluation(job)]
    if not evaluations:
        return Status("deciding on the model", counted=False)
    done, total = (sum(job.done for job in evaluations), sum(job.total or 0 for job in evaluations))
    return Status("evaluating the model: held-out slice", done, total)


def work_status(
    jobs: Sequence[JobProgress], *, queued: int, answered: int, total: int, collecting: bool = False
) -> Status:
    """What happens to `total` uploads of which `answered` have their JSON."""
    running = [job for job in jobs if job.status in ("InProgress", "Stopping")]
    classified = [job for job in running if job.kind == "transform" and not is_evaluation(job)]
    if queued and not classified:
        return Status("taking in", max(total - queued, answered), total)
    if classified and answered < total:
        under_way = sum(job.done for job in classified)
        return Status("classifying", min(answered + under_way, total), total)
    if collecting and answered < total:
        return Status("collecting results", answered, total, counted=False)
    training = next((job for job in running if job.kind == "training"), None)
    if training:
        return training_status(training.detail, training.done)
    rest = Status("all answered", answered, total)
    if answered < total:
        rest = Status("waiting for the batch's next step", answered, total, counted=False)
    return decision_status(running) if any(map(is_evaluation, running)) else rest


def gone_on(job: JobProgress) -> str:
    """What is said of a job that an earlier run began: done slices are not scored again."""
    total = job.total or job.before
    return f"{job.before:,} of {total:,} slices were scored before; going on ({job.name})."


class Pace:
    """How long the present step has taken, and how long the rest of it may take."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kind, self._total = "", 0.0
        self._since = clock()
        self._first = 0.0

    def follow(self, status: Status) -> None:
        """Note where the step is; a step of another kind starts afresh."""
        # A training knows its epochs only once it has loaded everything, which is no rate to go by.
        known = bool(self._total) or not status.total
        if status.kind != self._kind or status.done < self._first or not known:
            self._kind, self._since, self._first = status.kind, self._clock(), status.done
        self._total = status.total

    def elapsed(self) -> float:
        """Seconds since the step began."""
        return self._clock() - self._since

    def left(self, status: Status) -> float | None:
        """Seconds to the step's end at the rate so far; None while there is no telling."""
        gained, elapsed = status.done - self._first, self.elapsed()
        if gained <= 0 or elapsed < RATE_SECONDS or status.total <= status.done:
            return None
        return elapsed * (status.total - status.done) / gained


def duration(seconds: float) -> str:
    """As exact as a person wants it: "40 s", "3 min", "1 h 5 min"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def clock_text(seconds: float) -> str:
    """Time gone: "0:07", "12:05", "1:02:33"."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def describe(status: Status, pace: Pace) -> str:
    """One line: what, how far, how much longer."""
    left = pace.left(status)
    return status.text + (f", about {duration(left)} left" if left is not None else "")


class Screen:
    """Shows one status at a time; `say` leaves a line for good. Use it as a context manager."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._started = clock()
        self._pace = Pace(clock)
        self._status = Status("starting", counted=False)
        self._spinner = Spinner("dots")
        self._printed, self._printed_at, self._printed_kind = "", -PLAIN_SECONDS, ""
        self._live = Live(
            get_renderable=self._line, console=console, refresh_per_second=4, transient=True
        )

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    @property
    def console(self) -> Console:
        """Where tables and pictures of text go; safe to use while the live line is up."""
        return self._console

    def show(self, status: Status) -> None:
        """Tell what is being done now."""
        self._status = status
        self._pace.follow(status)
        if not self._console.is_terminal:
            self._print_now_and_then()

    def say(self, text: str, style: str = "") -> None:
        """Print a line, as it is: no markup in it is read."""
        self._console.print(Text(text, style=style), soft_wrap=True)

    def _print_now_and_then(self) -> None:
        line, now = describe(self._status, self._pace), self._clock()
        due = now - self._printed_at >= PLAIN_SECONDS or self._status.kind != self._printed_kind
        if due and line != self._printed:
            self.say(f"[{clock_text(now - self._started):>7}] {line}")
            self._printed, self._printed_at, self._printed_kind = line, now, self._status.kind

    def _line(self) -> Table:
        status, line = self._status, Table.grid(padding=(0, 1))
        cells: list[Spinner | Text | ProgressBar] = [self._spinner]
        cells.append(Text(describe(status, self._pace), style="bold"))
        if status.total:
            cells.append(ProgressBar(total=status.total, completed=status.done, width=BAR_WIDTH))
        cells.append(Text(clock_text(self._clock() - self._started), style="dim"))
        line.add_row(*cells)
        return line
