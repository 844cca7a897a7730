"""What waits between the functions: messages, events, and storms that are to come."""

from dataclasses import dataclass
from typing import Any

from tests.faults.network import Order


@dataclass(eq=False)
class Message:
    """A message of the intake queue."""

    body: str
    visible_at: float = 0
    receives: int = 0


@dataclass(frozen=True)
class Event:
    """What EventBridge has for a function. `tries`: how often it was called for it in vain."""

    function: str
    payload: dict[str, Any]
    tries: int = 0


@dataclass
class Storm:
    """The next `left` requests to a service go wrong."""

    order: Order
    left: int


@dataclass(frozen=True)
class Moment:
    """What waits in the cloud now."""

    messages: list[Message]
    jobs: list[str]
    trainings: list[str]
    events: list[Event]
