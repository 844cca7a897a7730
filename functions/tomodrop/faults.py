"""What goes wrong with one thing, noted, so that all others are still seen to."""

from collections.abc import Iterator
from contextlib import contextmanager

from aws_lambda_powertools import Logger

logger = Logger(child=True)


class Faults:
    """How many things went wrong; the log says which. Safe to use from several threads."""

    def __init__(self) -> None:
        self._noted: list[str] = []

    @property
    def count(self) -> int:
        """How many there were."""
        return len(self._noted)

    @contextmanager
    def noted(self, what: str) -> Iterator[None]:
        """Go on after an error, whatever it is; `what` says what was being done."""
        try:
            yield
        except Exception:
            self._noted.append(what)
            logger.exception(f"failed, and goes on: {what}")
