"""EventBridge Scheduler's expressions, rate(…), cron(…) and at(…) → the next moment. Pure."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from aws_croniter import AwsCroniter  # type: ignore[import-untyped]
from aws_croniter.exceptions import (  # type: ignore[import-untyped]
    AwsCroniterExpressionError,
)

from local.errors import TemplateError

RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
CRON = re.compile(r"cron\((.+)\)")
AT = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)")


class Recurrence(Protocol):
    """When a schedule is due."""

    def next_after(self, moment: datetime) -> datetime | None:
        """The first time after `moment` (aware), in UTC; None if there is none any more."""


@dataclass(frozen=True)
class Rate:
    """Every `interval`, counted from `anchor`, the schedule's start, when it is first due."""

    anchor: datetime
    interval: timedelta

    def next_after(self, moment: datetime) -> datetime | None:
        """See Recurrence."""
        if moment < self.anchor:
            return self.anchor
        passed = (moment - self.anchor) // self.interval
        return self.anchor + (passed + 1) * self.interval


@dataclass(frozen=True)
class Cron:
    """By the calendar and wall clock of a time zone.

    A time that the clocks skip in spring is skipped; one that comes twice in autumn is due once.
    """

    fields: Any  # an AwsCroniter, which has no types
    zone: ZoneInfo

    def next_after(self, moment: datetime) -> datetime | None:
        """See Recurrence."""
        # aws-croniter knows UTC only: it gets the wall clock's time under that name.
        wall: datetime | None = moment.astimezone(self.zone).replace(tzinfo=UTC)
        while (wall := self.fields.get_next(wall)[0]) is not None:
            due: datetime = wall.replace(tzinfo=self.zone).astimezone(UTC)
            skipped = due.astimezone(self.zone).replace(tzinfo=None) != wall.replace(tzinfo=None)
            if due > moment and not skipped:
                return due
        return None


@dataclass(frozen=True)
class Once:
    """At one moment."""

    due: datetime

    def next_after(self, moment: datetime) -> datetime | None:
        """See Recurrence."""
        return self.due if moment < self.due else None


def parse_expression(expression: str, zone: str, anchor: datetime, speed: float) -> Recurrence:
    """The recurrence that a schedule's expression and time zone stand for.

    `speed` shortens rates (12: every 5 s for "1 minute"); cron and at keep to the calendar.

    Raises TemplateError for an expression or zone that EventBridge would refuse.
    """
    if match := RATE.fullmatch(expression):
        number, unit = match.groups()
        if int(number) > 0:
            return Rate(anchor, timedelta(**{unit + "s": int(number)}) / speed)
    place = _zone(zone)
    if match := CRON.fullmatch(expression):
        try:
            return Cron(AwsCroniter(match[1]), place)
        except AwsCroniterExpressionError as error:
            raise TemplateError(f"Schedule {expression}: {error}") from error
    if match := AT.fullmatch(expression):
        return Once(datetime.fromisoformat(match[1]).replace(tzinfo=place).astimezone(UTC))
    raise TemplateError(
        f"Schedule {expression!r} is none of rate(5 minutes), cron(0 3 ? * SUN *) or "
        "at(2026-11-24T03:00:00)."
    )


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise TemplateError(
            f"Time zone {name!r} is not known; an example is Europe/Berlin."
        ) from error
