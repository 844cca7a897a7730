"""After the faults: the stack is left alone, and must come to rest by itself."""

from tests.faults import checker
from tests.faults.errors import InvariantBroken
from tests.faults.fates import Fate, Learnt
from tests.faults.world import World

_ROUNDS = 16
_DISPATCH_AFTER_S = 370
_SWEEP_EVERY_S = 1800


def settle(world: World, *, sweeps: bool = True) -> float:
    """Let schedules, queue and jobs do their work; returns the hours until all was as it must be.

    `sweeps` False: nothing was lost, so no sweep may be needed.

    Raises
    ------
    InvariantBroken
        Something is missing, doubled or stuck after a time in which every limit has run out twice.
    """
    world.storms.clear()
    world.skews.clear()
    since = world.now()
    while world.invocations:
        world.finish(world.invocations[0])
    for body in world.notifications:
        world.queue.append(world.message(body))
    world.notifications.clear()
    for _ in range(_ROUNDS):
        _round(world)
        found = checker.faults(world)
        if not found:
            hours = (world.now() - since) / 3600
            if sweeps:
                _rest(world)
            return hours
        world.advance(_SWEEP_EVERY_S - _DISPATCH_AFTER_S)
        if sweeps:
            world.finish(world.scheduled("sweep"))
    raise InvariantBroken("; ".join(found))


def _round(world: World) -> None:
    while visible := world.visible():
        invocation = world.receive(visible[:10])
        if invocation:
            world.finish(invocation)
    for name in world.moment().trainings:
        world.sagemaker.end_training(name, Learnt())
    _deliver_events(world)
    world.advance(_DISPATCH_AFTER_S)
    world.finish(world.scheduled("dispatch"))
    for name in world.sagemaker.running("transform-job"):
        stopping = world.sagemaker.status("transform-job", name) == "Stopping"
        if stopping or name not in world.hung:
            world.sagemaker.end_transform(name, Fate())
    _deliver_events(world)


def _deliver_events(world: World) -> None:
    while events := world.take_events():
        world.finish(world.deliver(events.pop(0)))


def _rest(world: World) -> None:
    """At rest, nothing moves: no upload is sent again, no job is made, and nothing is decided."""
    jobs, decisions = len(world.sagemaker.accepted), len(world.live_models.decided)
    world.advance(2 * _SWEEP_EVERY_S)
    world.finish(world.scheduled("sweep"))
    if found := world.live_models.faults():
        raise InvariantBroken("; ".join(found))
    before = (jobs, decisions)
    if world.queue or before != (len(world.sagemaker.accepted), len(world.live_models.decided)):
        raise InvariantBroken("I5: at rest, a sweep set something going again")
