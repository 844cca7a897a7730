"""Progress of an import: a live bar on a terminal, a plain line now and then elsewhere."""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

PLAIN_SECONDS = 10.0

Item = TypeVar("Item")


def tracked(items: Sequence[Item], step: str, console: Console) -> Iterator[Item]:
    """Give out `items` one by one and show how many are done."""
    if not console.is_terminal:
        yield from _told_now_and_then(items, step, console)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield from progress.track(items, description=step)


def _told_now_and_then(items: Sequence[Item], step: str, console: Console) -> Iterable[Item]:
    told_at = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - told_at >= PLAIN_SECONDS:
            console.print(f"{step}: {done:,} of {len(items):,}", highlight=False)
            told_at = now
        yield item
