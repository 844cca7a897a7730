"""A queue for moto that keeps every message, on disk too, and does not slow down as it fills.

moto's own `Queue` copies its list of messages on each delete, without a lock, and counts all of
them on each send. `RecordedQueue` has the same outside (moto's SQS backend and its HTTP protocol
work on it unchanged) and differs inside: messages lie in a dictionary, and each arrival and
departure is told to a journal before the client hears of it.

Whoever calls into it holds `traffic`: moto's backend steps through several states for one request.
"""

import base64
import itertools
import threading
from collections.abc import Iterator
from typing import Any, ClassVar, Protocol

from moto.sqs.models import Message, Queue

# The most messages that one receive call may look at: more than SQS hands out (10), so that
# messages on their way to a dead-letter queue do not hide the rest.
READY_AT_MOST = 64


class MessageJournal(Protocol):
    """Where messages are kept across restarts."""

    def keep_message(self, queue: str, message_id: str, content: dict[str, Any]) -> None:
        """Record a message of a queue; one already recorded moves to this queue."""

    def drop_message(self, message_id: str) -> None:
        """Forget a deleted message."""

    def drop_queue(self, queue: str) -> None:
        """Forget all messages of a purged queue."""


class MessageLog:
    """Messages by id in order of arrival; to moto's backend it looks like the list it expects."""

    def __init__(self) -> None:
        self._by_id: dict[str, Message] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Message]:
        return iter(list(self._by_id.values()))

    def append(self, message: Message) -> None:
        """Add at the end."""
        self._by_id[message.id] = message

    def remove(self, message: Message) -> None:
        """Take out; the message must be there."""
        del self._by_id[message.id]

    def ready(self) -> list[Message]:
        """The first messages that can be received now."""
        can_go = (entry for entry in self._by_id.values() if entry.visible and not entry.delayed)
        return list(itertools.islice(can_go, READY_AT_MOST))


class RecordedQueue(Queue):
    """See the module. Standard queues only: `local.supplements` knows no FIFO queues."""

    traffic: ClassVar[threading.RLock] = threading.RLock()
    arrivals: ClassVar[threading.Condition] = threading.Condition(traffic)
    journal: ClassVar[MessageJournal | None] = None

    _log: MessageLog

    @property
    def _messages(self) -> Any:
        return self._log

    @_messages.setter
    def _messages(self, emptied: list[Message]) -> None:
        # moto assigns an empty list when it makes or purges a queue, and nothing else. Asked to
        # create one that exists, it makes another of the same name to compare them.
        assert not emptied
        is_purge = "_log" in vars(self)
        self._log = MessageLog()
        self._delayed: set[Message] = set()
        if is_purge and self.journal is not None:
            self.journal.drop_queue(self.name)

    def add_message(self, message: Message) -> None:
        """A message arrives, new or from the queue whose dead letters come here."""
        if self.journal is not None:
            self.journal.keep_message(self.name, message.id, message_content(message))
        self._log.append(message)
        if message.delayed:
            self._delayed.add(message)
        self.arrivals.notify_all()

    def delete_message(self, receipt_handle: str) -> None:
        """Delete the message that this receipt belongs to; one deleted before is a success too."""
        message = self._received_as(receipt_handle)
        if message is None:
            return
        if self.journal is not None:
            self.journal.drop_message(message.id)
        self._pending_messages.discard(message)
        self._log.remove(message)

    def take_out(self, message: Message) -> None:
        """A message that nobody has in hand leaves: it is in another queue already."""
        if self.journal is not None:
            self.journal.drop_message(message.id)
        self._pending_messages.discard(message)
        self._log.remove(message)

    def _received_as(self, receipt_handle: str) -> Message | None:
        for messages in (self._pending_messages, self._log):
            for message in messages:
                if message.had_receipt_handle(receipt_handle):
                    return message
        return None

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        """Which attributes Fn::GetAtt knows; moto leaves QueueUrl out."""
        return attr in ("Arn", "QueueName", "QueueUrl")

    def get_cfn_attribute(self, attribute_name: str) -> str:
        """The value of Fn::GetAtt."""
        if attribute_name == "QueueUrl":
            return self.physical_resource_id
        return super().get_cfn_attribute(attribute_name)

    @property
    def messages(self) -> list[Message]:
        """The messages that the next receive call may take."""
        return self._log.ready()

    @property
    def approximate_number_of_messages_not_visible(self) -> int:
        """Received and not yet deleted."""
        return sum(not message.visible for message in self._pending_messages)

    @property
    def approximate_number_of_messages_delayed(self) -> int:
        """Sent with a delay that is not over."""
        self._delayed = {message for message in self._delayed if message.delayed}
        return len(self._delayed)

    @property
    def approximate_number_of_messages(self) -> int:
        """Waiting to be received."""
        elsewhere = self.approximate_number_of_messages_not_visible
        return len(self._log) - elsewhere - self.approximate_number_of_messages_delayed


def message_content(message: Message) -> dict[str, Any]:
    """What has to be kept of a message, as JSON."""
    return {
        "body": message.body,
        "attributes": {
            name: _attribute_content(value) for name, value in message.message_attributes.items()
        },
        "system_attributes": message.system_attributes,
        "sent_ms": message.sent_timestamp,
        "delayed_until_ms": message.delayed_until,
    }


def message_from(message_id: str, content: dict[str, Any]) -> Message:
    """The message again, not yet received by anyone."""
    message = Message(message_id, content["body"], content["system_attributes"])
    message.message_attributes = {
        name: _attribute_value(value) for name, value in content["attributes"].items()
    }
    message.sent_timestamp = content["sent_ms"]
    message.delayed_until = content["delayed_until_ms"]
    return message


def _attribute_content(attribute: dict[str, Any]) -> dict[str, Any]:
    binary = attribute.get("BinaryValue")
    if isinstance(binary, bytes):
        return {**attribute, "BinaryValue": {"base64": base64.b64encode(binary).decode()}}
    return dict(attribute)


def _attribute_value(content: dict[str, Any]) -> dict[str, Any]:
    binary = content.get("BinaryValue")
    if isinstance(binary, dict):
        return {**content, "BinaryValue": base64.b64decode(binary["base64"])}
    return content
