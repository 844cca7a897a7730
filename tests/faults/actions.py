"""What can happen next: each action takes two numbers and makes of them what fits the moment.

So any list of (name, number, number) is a schedule, also one that lost some of its actions on the
way to a smaller one.
"""

from collections.abc import Callable
from dataclasses import replace

from tests.faults.fates import FATES, TRAININGS
from tests.faults.learning import LEARNING
from tests.faults.network import Order
from tests.faults.sagemaker import is_evaluation
from tests.faults.stage import FUNCTIONS
from tests.faults.uploads import INCOMING, KINDS, LABELLED
from tests.faults.waiting import Storm
from tests.faults.world import World

Action = tuple[str, int, int]
_KEYS = (*INCOMING, *LABELLED[:1])
_PAUSES_S = (5, 61, 400, 400, 1000, 3700, 7300)
_SKEWS_S = (-600, -61, 0, 61, 600)
_STORMS = (
    ("s3", Order.THROTTLE),
    ("s3", Order.DENY),
    ("s3", Order.LOSE_REPLY),
    ("s3", Order.LOSE_REQUEST),
    ("dynamodb", Order.THROTTLE),
    ("dynamodb", Order.LOSE_REPLY),
    ("dynamodb", Order.LOSE_REQUEST),
    ("sagemaker", Order.THROTTLE),
    ("sagemaker", Order.QUOTA),
    ("sagemaker", Order.LOSE_REPLY),
    ("sagemaker", Order.LOSE_REQUEST),
    ("sqs", Order.THROTTLE),
    ("sqs", Order.LOSE_REPLY),
    ("ssm", Order.THROTTLE),
    ("ssm", Order.LOSE_REPLY),
    ("ssm", Order.LOSE_REQUEST),
)
# More than botocore's five attempts, so that a storm can outlast them.
_MOST_IN_A_STORM = 12
_SCHEDULED = ("dispatch", "dispatch", "dispatch", "sweep")


def put(world: World, a: int, b: int) -> None:
    """A user puts an upload, or a newer version of one."""
    keys = (*INCOMING, *LABELLED) if world.studies else _KEYS
    key = keys[a % len(keys)]
    if key in world.versions:
        world.fired["an upload overwritten"] += 1
    world.put(key, KINDS[b % len(KINDS)])


def delete(world: World, a: int, _: int) -> None:
    """A user deletes an upload."""
    there = [key for key in sorted(world.versions) if key not in world.deleted]
    if there:
        world.fired["an upload deleted"] += 1
        world.delete(there[a % len(there)])


def notify(world: World, a: int, b: int) -> None:
    """One of S3's events reaches the queue: once, twice, or never."""
    if not world.notifications:
        return
    place = a % len(world.notifications)
    if place:
        world.fired["S3 events out of order"] += 1
    body = world.notifications.pop(place)
    copies = {0: 0, 1: 2}.get(b % 8, 1)
    if copies != 1:
        world.fired["an S3 event lost" if copies == 0 else "an S3 event doubled"] += 1
    world.queue.extend(world.message(body) for _ in range(copies))


def receive(world: World, a: int, b: int) -> None:
    """Lambda hands messages to intake; some of them it may hand out once more."""
    visible = world.visible()
    if visible:
        start = a % len(visible)
        again = b % 5 == 0
        if again:
            world.fired["a message received twice at once"] += 1
        world.receive(visible[start : start + 1 + b % 3], again=again)


def schedule(world: World, a: int, _: int) -> None:
    """A schedule fires."""
    world.scheduled(_SCHEDULED[a % len(_SCHEDULED)])


def dispatch(world: World, _: int, __: int) -> None:
    """The schedule of dispatch fires."""
    world.scheduled("dispatch")


def pause(world: World, _: int, __: int) -> None:
    """Time passes if nothing runs, so that nothing is out of time."""
    if not world.invocations:
        world.advance(400)


def run(world: World, a: int, b: int) -> None:
    """An invocation makes some calls, or all that it has to make."""
    if not world.invocations:
        return
    invocation = world.invocations[a % len(world.invocations)]
    calls = None if b % 4 else b % 48 // 4
    if calls is None:
        world.finish(invocation)
    for _ in range(calls or 0):
        if invocation.outcome is None:
            world.step(invocation)


def kill(world: World, a: int, b: int) -> None:
    """An invocation dies before its next call, or after it."""
    if not world.invocations:
        return
    invocation = world.invocations[a % len(world.invocations)]
    if b // 2 % 4 == 3:
        # Where the live model is read or written: of many calls it is one, and seldom met.
        while invocation.waiting and invocation.waiting.service != "ssm":
            world.step(invocation)
    if invocation.waiting:
        world.step(invocation, Order.DIE_AFTER if b % 2 else Order.DIE_BEFORE)


def storm(world: World, a: int, b: int) -> None:
    """A service refuses or loses the next requests."""
    service, order = _STORMS[a % len(_STORMS)]
    world.storms[service] = Storm(order, 1 + b % _MOST_IN_A_STORM)


def wait(world: World, a: int, b: int) -> None:
    """Time passes."""
    world.advance(_PAUSES_S[a % len(_PAUSES_S)], lands_late=bool(b % 2))


def skew(world: World, a: int, b: int) -> None:
    """A function's clock goes wrong, or right again."""
    function = ("intake", "dispatch", "sweep")[a % 3]
    world.skews[function] = _SKEWS_S[b % len(_SKEWS_S)]


def transform(world: World, a: int, b: int) -> None:
    """A transform job ends, or hangs."""
    running = world.moment().jobs
    if not running:
        return
    name = running[a % len(running)]
    kind, place = divmod(b, len(FATES))
    # Half of those that score models go well, or few models would be judged.
    fate = FATES[0 if is_evaluation(name) and kind % 2 else place]
    if fate is None:
        world.fired["an evaluation hangs" if is_evaluation(name) else "a job hangs"] += 1
        world.hung.add(name)
        return
    what, how = fate
    if what:
        world.fired["an evaluation is not answered" if is_evaluation(name) else what] += 1
    world.sagemaker.end_transform(name, replace(how, kind=kind))


def event(world: World, a: int, b: int) -> None:
    """The event of a job's end is delivered: once, twice, or never."""
    waiting = world.take_events()
    if not waiting:
        return
    place = a % len(waiting)
    if place:
        world.fired["job events out of order"] += 1
    chosen = waiting.pop(place)
    kind = "a promote event" if chosen.function == "promote" else "a job event"
    if b % 4 == 0:
        world.fired[f"{kind} lost"] += 1
        return
    world.deliver(chosen)
    if b % 4 == 1:
        world.fired[f"{kind} doubled"] += 1
        world.deliver(chosen)


ACTIONS: dict[str, Callable[[World, int, int], None]] = LEARNING | {
    done.__name__: done
    for done in (
        put,
        delete,
        notify,
        receive,
        schedule,
        dispatch,
        pause,
        run,
        kill,
        storm,
        wait,
        skew,
        transform,
        event,
    )
}


# Each of these has to have happened in a long run: what never fired was not tested.
KINDS_OF_FAULT = (
    *(f"{order.value} ({service})" for service, order in _STORMS),
    *(
        f"{order.value} ({service})"
        for order in (Order.DIE_BEFORE, Order.DIE_AFTER)
        for service in ("s3", "dynamodb", "sagemaker", "ssm")
    ),
    *(f"two of {function} at once" for function in FUNCTIONS),
    *(fate[0] for fate in (*FATES, *TRAININGS) if fate and fate[0]),
    "a job hangs",
    "a job event lost",
    "a job event doubled",
    "a promote event lost",
    "a promote event doubled",
    "a training hangs",
    "a training runs out of time",
    "an evaluation hangs",
    "an evaluation is not answered",
    "a model is promoted",
    "a model is below the floor",
    "a model loses against the live one",
    "an earlier model is gone back to",
    "job events out of order",
    "an event given up",
    "an S3 event lost",
    "an S3 event doubled",
    "S3 events out of order",
    "a message received twice at once",
    "a message set aside",
    "a request tried again",
    "an invocation timed out",
    "an upload overwritten",
    "an upload deleted",
    "a function's clock is wrong",
)


def perform(world: World, action: Action) -> None:
    """Let one thing happen."""
    name, a, b = action
    world.trace.append(f"{name} {a} {b}")
    ACTIONS[name](world, a, b)
