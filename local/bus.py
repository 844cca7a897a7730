"""The default event bus: events to the targets of the rules that match them.

Rules and targets are read from EventBridge's API for each event, so a rule that is switched off
through the API is off. moto matches the patterns; it cannot call functions itself.
"""

import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, wait
from dataclasses import dataclass
from typing import Any

from moto.events.models import EventPattern

from local import moto_seams
from local.errors import FunctionFailedError, TemplateError
from local.invocations import AsyncInvoker, TargetQueue

logger = logging.getLogger(__name__)

# What a target may say here; InputPath and InputTransformer are not there until someone needs them.
SUPPORTED_TARGET_SETTINGS = frozenset(
    {"Arn", "DeadLetterConfig", "Id", "Input", "RetryPolicy", "RoleArn"}
)


@dataclass(frozen=True)
class RuleTarget:
    """One target of one rule, as EventBridge's API describes them."""

    rule: dict[str, Any]
    target: dict[str, Any]

    @property
    def arn(self) -> str:
        """Whom to tell."""
        return str(self.target["Arn"])

    def matches(self, event: dict[str, Any]) -> bool:
        """Whether the rule is on, and its pattern fits."""
        on = self.rule["State"] == "ENABLED"
        return on and EventPattern.load(self.rule["EventPattern"]).matches_event(event)  # type: ignore[arg-type]

    def input_for(self, event: dict[str, Any]) -> Any:
        """What the target is told: a constant, else the event."""
        constant = self.target.get("Input")
        return event if constant is None else json.loads(constant)

    def dead_letters(self) -> TargetQueue | None:
        """Its dead-letter queue, if it has one."""
        arn = self.target.get("DeadLetterConfig", {}).get("Arn")
        if arn is None:
            return None
        return TargetQueue(arn, {"RULE_ARN": self.rule["Arn"], "TARGET_ARN": self.arn})


class EventBus:
    """See the module. `events` is a boto3 client."""

    def __init__(self, events: Any, invoker: AsyncInvoker, executor: Executor) -> None:
        self._events = events
        self._invoker = invoker
        self._executor = executor

    def check_targets(self) -> None:
        """Raise TemplateError for a target that cannot be served on one machine."""
        for entry in self._targets():
            unknown = sorted(set(entry.target) - SUPPORTED_TARGET_SETTINGS)
            if unknown:
                raise TemplateError(
                    f"Rule {entry.rule['Name']}: a target's {unknown} is not available here."
                )
            if not (self._invoker.knows(entry.arn) or _is_queue(entry.arn)):
                raise TemplateError(
                    f"Rule {entry.rule['Name']}: {entry.arn} is neither a function nor a queue."
                )

    def put(self, event: dict[str, Any]) -> None:
        """Deliver an event, and return when every target has it, or a dead-letter queue does.

        Raises CloudStoppedError when some target has yet to get it; others may get it again then.
        """
        matching = [entry for entry in self._targets() if entry.matches(event)]
        deliveries = [self._executor.submit(self._deliver, entry, event) for entry in matching]
        wait(deliveries)
        for delivery in deliveries:
            delivery.result()

    def _deliver(self, entry: RuleTarget, event: dict[str, Any]) -> None:
        told = entry.input_for(event)
        if _is_queue(entry.arn):
            moto_seams.send_message(entry.arn, json.dumps(told))
            return
        try:
            self._invoker.deliver(entry.arn, told, entry.dead_letters())
        except FunctionFailedError as error:
            logger.warning("event %s of rule %s: %s", event.get("id"), entry.rule["Name"], error)

    def _targets(self) -> Iterator[RuleTarget]:
        for rule in _pages(self._events.list_rules, "Rules"):
            if rule.get("EventPattern"):
                for target in _pages(
                    self._events.list_targets_by_rule, "Targets", Rule=rule["Name"]
                ):
                    yield RuleTarget(rule, target)


def _is_queue(arn: str) -> bool:
    return arn.split(":")[2] == "sqs"


def _pages(
    call: Callable[..., dict[str, Any]], name: str, **wanted: str
) -> Iterator[dict[str, Any]]:
    page = call(**wanted)
    yield from page[name]
    while "NextToken" in page:
        page = call(**wanted, NextToken=page["NextToken"])
        yield from page[name]
