"""Work that nobody waits for: an error in it that was not foreseen goes to the log, not nowhere."""

import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

logger = logging.getLogger(__name__)


def run_in_background(executor: Executor, work: Callable[..., object], *arguments: Any) -> None:
    """Have the executor do it."""
    executor.submit(work, *arguments).add_done_callback(_log_error)


def _log_error(done: Future[object]) -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        logger.error("unforeseen error in the background", exc_info=error)
