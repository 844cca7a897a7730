"""EventBridge Scheduler: calls functions by rate and calendar.

Schedules are read from the Scheduler's API, again after each change that goes through it, so one
that is switched off or deleted there is. Targets are functions, invoked as asynchronous events.
"""

import json
import logging
import threading
import uuid
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.background import run_in_background
from local.clock import Clock
from local.errors import CloudStoppedError, FunctionFailedError, LocalCloudError, TemplateError
from local.invocations import AsyncInvoker, TargetQueue
from local.recurrence import Recurrence, parse_expression

NOTHING_DUE = timedelta(days=365)
# More turns of one schedule than this are not under way at once: on a machine that cannot keep up
# they would only pile up.
MOST_UNDER_WAY = 8
# A machine that slept through some turns makes up for the last one only.
LATE_AFTER = timedelta(minutes=1)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Schedule:
    """One schedule as the Scheduler's API describes it."""

    described: dict[str, Any]

    @property
    def arn(self) -> str:
        """Its own name in full."""
        return str(self.described["Arn"])

    @property
    def timing(self) -> tuple[str, str]:
        """What decides when it is due: expression and time zone."""
        zone = self.described.get("ScheduleExpressionTimezone") or "UTC"
        return str(self.described["ScheduleExpression"]), zone

    @property
    def function_arn(self) -> str:
        """Whom it calls."""
        return str(self.described["Target"]["Arn"])

    @property
    def enabled(self) -> bool:
        """Whether it is on."""
        return bool(self.described["State"] == "ENABLED")

    def allows(self, moment: datetime) -> bool:
        """Whether the moment lies between its start and end dates."""
        start, end = self.described.get("StartDate"), self.described.get("EndDate")
        return (start is None or start <= moment) and (end is None or moment <= end)

    def event(self, due: datetime) -> Any:
        """What the function is told: the target's input, with context variables filled in."""
        time_text = due.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        text = self.described["Target"].get("Input") or json.dumps(self._default_event(time_text))
        for name, value in {
            "scheduled-time": time_text,
            "schedule-arn": self.arn,
            "execution-id": uuid.uuid4().hex,
            "attempt-number": "1",
        }.items():
            text = text.replace(f"<aws.scheduler.{name}>", value)
        return json.loads(text)

    def _default_event(self, time_text: str) -> dict[str, Any]:
        _, _, _, region, account, _ = self.arn.split(":", 5)
        return {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "Scheduled Event",
            "source": "aws.scheduler",
            "account": account,
            "time": time_text,
            "region": region,
            "resources": [self.arn],
            "detail": "{}",
        }

    def dead_letters(self, due: datetime) -> TargetQueue | None:
        """Its dead-letter queue, if it has one."""
        arn = self.described["Target"].get("DeadLetterConfig", {}).get("Arn")
        if arn is None:
            return None
        attributes = {
            "SCHEDULE_ARN": self.arn,
            "TARGET_ARN": self.function_arn,
            "SCHEDULED_TIME": due.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return TargetQueue(arn, attributes)


@dataclass(frozen=True)
class _Turn:
    """When a schedule is due next, and the timing that this was reckoned from."""

    timing: tuple[str, str]
    recurrence: Recurrence
    due: datetime | None


class Scheduler:
    """See the module. `client` is a boto3 client of the Scheduler."""

    def __init__(
        self,
        client: Any,
        invoker: AsyncInvoker,
        executor: Executor,
        clock: Clock,
        speed: float = 1.0,
    ) -> None:
        self._client = client
        self._invoker = invoker
        self._executor = executor
        self._clock = clock
        self._speed = speed
        self._stopping = False
        self._wake = threading.Event()
        self._turns: dict[str, _Turn] = {}
        self._under_way: dict[str, threading.BoundedSemaphore] = defaultdict(
            lambda: threading.BoundedSemaphore(MOST_UNDER_WAY)
        )
        self._thread = threading.Thread(target=self._run, name="scheduler")

    def check(self) -> None:
        """Raise TemplateError for a schedule that cannot run on one machine."""
        for schedule in self._read():
            parse_expression(*schedule.timing, self._clock.now(), self._speed)
            if not self._invoker.knows(schedule.function_arn):
                raise TemplateError(f"{schedule.arn}: {schedule.function_arn} is no function here.")

    def start(self) -> None:
        """Call functions when their time comes, from now on."""
        self._thread.start()
        self._clock.expect(self._thread)

    def stop(self) -> None:
        """Call no more. Events under way are the invoker's affair."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def look_again(self) -> None:
        """Told that schedules were changed through the API."""
        self._wake.set()

    def fire(self, function_arn: str) -> Any:
        """Call a function as its schedule would now, even one that is switched off.

        Returns the function's result. Raises as the invoker does, and
        LocalCloudError for a function that no schedule calls.
        """
        for schedule in self._read():
            if schedule.function_arn == function_arn:
                return self._deliver(schedule, self._clock.now())
        raise LocalCloudError(f"No schedule calls {function_arn}.")

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            now = self._clock.now()
            self._take_turns(now)
            coming = [turn.due for turn in self._turns.values() if turn.due is not None]
            self._clock.wait_until(min(coming, default=now + NOTHING_DUE), self._wake)

    def _take_turns(self, now: datetime) -> None:
        try:
            schedules = list(self._read())
        except (ClientError, BotoCoreError):
            logger.exception("cannot read the schedules")
            return
        deleted = set(self._turns) - {schedule.arn for schedule in schedules}
        for arn in deleted:
            del self._turns[arn]
        for schedule in schedules:
            try:
                self._take_turn(schedule, now)
            except TemplateError:  # changed, through the API, to what does not run here
                logger.exception("%s", schedule.arn)

    def _take_turn(self, schedule: Schedule, now: datetime) -> None:
        turn = self._turns.get(schedule.arn)
        if not schedule.enabled:
            self._turns.pop(schedule.arn, None)
            return
        if turn is None or turn.timing != schedule.timing:
            turn = self._first_turn(schedule, now)
        if turn.due is not None and turn.due <= now:
            if schedule.allows(turn.due):
                self._call(schedule, turn.due)
            turn = _Turn(turn.timing, turn.recurrence, _following(turn, now))
        self._turns[schedule.arn] = turn

    def _first_turn(self, schedule: Schedule, now: datetime) -> _Turn:
        recurrence = parse_expression(*schedule.timing, now, self._speed)
        # A rate without a start date begins at once; the others wait for their time.
        return _Turn(schedule.timing, recurrence, recurrence.next_after(now - timedelta.resolution))

    def _call(self, schedule: Schedule, due: datetime) -> None:
        free = self._under_way[schedule.arn]
        if not free.acquire(blocking=False):
            logger.warning("%s: turn of %s left out, others are under way", schedule.arn, due)
            return

        def deliver() -> None:
            try:
                self._deliver(schedule, due)
            except FunctionFailedError as error:
                logger.warning("%s: %s", schedule.arn, error)
            except CloudStoppedError:
                logger.info("%s: not delivered, the cloud is stopping", schedule.arn)
            finally:
                free.release()

        run_in_background(self._executor, deliver)

    def _deliver(self, schedule: Schedule, due: datetime) -> Any:
        return self._invoker.deliver(
            schedule.function_arn, schedule.event(due), schedule.dead_letters(due)
        )

    def _read(self) -> Iterator[Schedule]:
        for page in self._client.get_paginator("list_schedules").paginate():
            for entry in page["Schedules"]:
                described = self._client.get_schedule(
                    Name=entry["Name"], GroupName=entry["GroupName"]
                )
                yield Schedule(described)


def _following(turn: _Turn, now: datetime) -> datetime | None:
    assert turn.due is not None
    following = turn.recurrence.next_after(turn.due)
    if following is not None and following < now - LATE_AFTER:
        return turn.recurrence.next_after(now - LATE_AFTER)
    return following
