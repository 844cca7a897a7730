"""One simulated world: the real handlers, moto, and everything between them that can go wrong."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from botocore.awsrequest import AWSResponse
from moto.s3.models import s3_backends

from tests.faults.checker import Watch
from tests.faults.errors import SimulatorError
from tests.faults.invocations import Invocation
from tests.faults.live_models import LiveModels
from tests.faults.network import Call, Order, carry_out, json_answer
from tests.faults.sagemaker import SimulatedSageMaker, is_evaluation
from tests.faults.stage import Stage
from tests.faults.uploads import Kind, Version, body_of
from tests.faults.waiting import Event, Message, Moment, Storm
from tests.functions.builders import ACCOUNT, sqs_event
from tests.functions.conftest import Context
from tomodrop import keys

VISIBILITY_S = 360
# Five in template.yaml: of fewer the dead-letter queue is met in short schedules too.
MAX_RECEIVES = 2
# Lambda calls an asynchronous function three times in all before it gives up.
ASYNC_TRIES = 3
LAMBDA_LIMIT_S = 900


@dataclass
class World:
    """State of the cloud around the functions, and `fired`: what went wrong how often.

    `studies`: there is a labelled set that can be learnt.
    """

    stage: Stage
    versions: dict[str, list[Version]] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    notifications: list[str] = field(default_factory=list)
    queue: list[Message] = field(default_factory=list)
    dead_letters: list[Message] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    invocations: list[Invocation] = field(default_factory=list)
    storms: dict[str, Storm] = field(default_factory=dict)
    skews: dict[str, float] = field(default_factory=dict)
    hung: set[str] = field(default_factory=set)
    fired: Counter[str] = field(default_factory=Counter)
    trace: list[str] = field(default_factory=list)
    studies: bool = False
    started: int = 0
    current: Invocation | None = None

    def __post_init__(self) -> None:
        self.app, self.settings = self.stage.app, self.stage.app.settings
        self.sagemaker = SimulatedSageMaker(
            self.stage.read, self.stage.write, self.now, lambda name: self.version_of(name).key
        )
        self.watch, self.live_models = Watch(self), LiveModels(self)
        self.stage.answer = self.answer
        self.stage.slept = self._slept

    def now(self) -> float:
        """Seconds since the epoch, by the services' clock."""
        return self.stage.clock.now.timestamp()

    def moment(self) -> Moment:
        """Messages that can be received, jobs that run (and do not hang), events of jobs."""
        jobs, trainings = (
            [name for name in self.sagemaker.running(kind) if name not in self.hung]
            for kind in ("transform-job", "training-job")
        )
        return Moment(self.visible(), jobs, trainings, self.take_events())

    def version_of(self, slice_id: str) -> Version:
        """The version of an upload that a slice is of."""
        for versions in self.versions.values():
            for version in versions:
                if slice_id.startswith(version.upload_id):
                    return version
        message = f"no upload has a slice {slice_id}"
        raise SimulatorError(message)

    # ---- requests

    def answer(self, call: Call) -> AWSResponse:
        """Every request of every client: an invocation's waits for its fate first."""
        invocation = self.current
        if invocation is None:
            return self._send(call)
        order = invocation.pause(call)
        self.stage.clock.show()
        try:
            return carry_out(order, call, self._send)
        finally:
            self.stage.clock.show(invocation.skew_s)

    def _send(self, call: Call) -> AWSResponse:
        if call.service == "sagemaker":
            body = call.request.body
            assert isinstance(body, bytes)
            status, content = self.sagemaker.answer(call.operation, body)
            return json_answer(str(call.request.url), status, content)
        answer = self.stage.to_moto(call)
        if self._changes_results(call):
            self.watch.look()
        if call.operation == "PutParameter":
            self.live_models.look()
        return answer

    def _changes_results(self, call: Call) -> bool:
        host = str(urlsplit(str(call.request.url)).netloc)
        return call.operation in ("PutObject", "DeleteObject") and host.startswith(
            self.settings.predictions_bucket
        )

    def _slept(self, _: float) -> None:
        self.fired["a request tried again"] += 1

    def _fate_of(self, call: Call) -> Order:
        storm = self.storms.get(call.service)
        if not storm or storm.left == 0:
            return Order.GO
        if storm.order is Order.QUOTA and not call.operation.startswith("Create"):
            return Order.GO
        storm.left -= 1
        return storm.order

    # ---- invocations

    def invoke(self, function: str, payload: Any, event: dict[str, Any]) -> Invocation:
        """Begin an invocation: it waits before its first call. `payload` is what it is for."""
        self.started += 1
        limit_s = self.settings.intake_timeout_seconds if function == "intake" else LAMBDA_LIMIT_S
        handler = self.stage.modules[function].handler
        invocation = Invocation(
            name=f"{function}-{self.started}",
            function=function,
            work=lambda: handler(event, Context()),
            deadline=self.now() + limit_s,
            skew_s=self.skews.get(function, 0),
            payload=payload,
            lives=len(self.live_models.lives),
        )
        self.invocations.append(invocation)
        if any(other.function == function for other in self.invocations[:-1]):
            self.fired[f"two of {function} at once"] += 1
        if invocation.skew_s:
            self.fired["a function's clock is wrong"] += 1
        self._resume(invocation, None)
        return invocation

    def step(self, invocation: Invocation, order: Order | None = None) -> None:
        """Let an invocation's next call have its fate: this one, or what the weather says."""
        call = invocation.waiting
        assert call
        order = order or self._fate_of(call)
        if order is not Order.GO:
            self.fired[f"{order.value} ({call.service})"] += 1
        self.trace.append(f"  {invocation.name}: {call.operation} {order.value}")
        self._resume(invocation, order)

    def finish(self, invocation: Invocation) -> None:
        """Let an invocation run to its end."""
        while invocation.outcome is None:
            self.step(invocation)

    def _resume(self, invocation: Invocation, order: Order | None) -> None:
        self.current = invocation
        self.stage.clock.show(invocation.skew_s)
        if order is None:
            invocation.start()
        else:
            invocation.go_on(order)
        self.current = None
        self.stage.clock.show()
        if invocation.outcome:
            self.trace.append(f"  {invocation.name}: {invocation.outcome} {invocation.error!r}")
            self.invocations.remove(invocation)
            self._ended(invocation)
        for body in self.stage.take_sent():
            self.queue.append(Message(body))
        self.watch.raise_broken()
        self.live_models.raise_broken()

    def _ended(self, invocation: Invocation) -> None:
        if invocation.function == "intake":
            self._delete_messages(invocation)
        elif isinstance(invocation.payload, Event) and invocation.outcome != "ok":
            event = invocation.payload
            if event.tries + 1 < ASYNC_TRIES:
                self.events.append(Event(event.function, event.payload, event.tries + 1))
            else:
                self.fired["an event given up"] += 1
        elif isinstance(invocation.payload, Event) and "rollback_to" in invocation.payload.payload:
            target = invocation.payload.payload["rollback_to"]
            self.live_models.asked(target, invocation.answer, invocation.lives)

    def advance(self, seconds: float, *, lands_late: bool = False) -> None:
        """Let time pass. Invocations past their limit die; `lands_late`: a last request arrives."""
        self.stage.clock.advance(seconds)
        self.fired["a training runs out of time"] += self.sagemaker.stop_overlong()
        for invocation in [one for one in self.invocations if one.deadline < self.now()]:
            self.fired["an invocation timed out"] += 1
            self.step(invocation, Order.DIE_AFTER if lands_late else Order.DIE_BEFORE)

    # ---- uploads, S3's events and the queue

    def put(self, key: str, kind: Kind) -> None:
        """A user puts a version; S3 has an event to send of it."""
        # S3 knows the order of two puts in one second; moto goes by their times.
        self.stage.clock.advance(0.01)
        rank = sum(len(versions) for versions in self.versions.values())
        body = body_of(rank, kind, is_labelled=key.startswith(keys.LABELLED))
        bucket = self.settings.uploads_bucket
        stored = s3_backends[ACCOUNT]["aws"].put_object(bucket, key, body)
        etag = stored.etag.strip('"')
        version = Version(key, rank, kind, body, stored.version_id, etag, self.now())
        self.versions.setdefault(key, []).append(version)
        self.deleted.discard(key)
        self.notifications.append(version.notification(bucket, self.stage.clock.now))

    def delete(self, key: str) -> None:
        """A user deletes an upload."""
        self.stage.clock.advance(0.01)
        self.app.s3.delete_object(Bucket=self.settings.uploads_bucket, Key=key)
        self.deleted.add(key)

    def message(self, body: str) -> Message:
        """A new message."""
        return Message(body)

    def visible(self) -> list[Message]:
        """Messages that can be received."""
        return [message for message in self.queue if message.visible_at <= self.now()]

    def receive(self, messages: list[Message], *, again: bool = False) -> Invocation | None:
        """Hand messages to intake; `again`: they stay visible, so another may get them as well."""
        taken = []
        for message in messages:
            if message.receives >= MAX_RECEIVES:
                self.queue.remove(message)
                self.dead_letters.append(message)
                self.fired["a message set aside"] += 1
                continue
            message.receives += 1
            if not again:
                message.visible_at = self.now() + VISIBILITY_S
            taken.append(message)
        if not taken:
            return None
        return self.invoke("intake", taken, sqs_event(*(message.body for message in taken)))

    def _delete_messages(self, invocation: Invocation) -> None:
        if invocation.outcome != "ok":
            return
        failed = {one["itemIdentifier"] for one in invocation.answer["batchItemFailures"]}
        for number, message in enumerate(invocation.payload):
            if f"message-{number}" not in failed and message in self.queue:
                self.queue.remove(message)

    # ---- schedules and SageMaker's events

    def scheduled(self, function: str) -> Invocation:
        """A schedule fires."""
        time = self.stage.clock.now.strftime("%Y-%m-%dT%H:%M:%SZ")
        event = Event(function, {"scheduled_time": time}, ASYNC_TRIES)
        return self.invoke(function, event, event.payload)

    def take_events(self) -> list[Event]:
        """Events that can be delivered, also those of jobs that ended just now."""
        for payload in self.sagemaker.outbox:
            name = payload["detail"].get("TransformJobName")
            is_batch = name is not None and not is_evaluation(name)
            self.events.append(Event("collect" if is_batch else "promote", payload))
        self.sagemaker.outbox.clear()
        return self.events

    def deliver(self, event: Event) -> Invocation:
        """Call the function that an event is for."""
        return self.invoke(event.function, event, event.payload)
