"""Learning, as part of a schedule: a labelled set, trainings of it, and models that come and go."""

from collections.abc import Callable
from datetime import UTC, datetime

from tests.faults.fates import FAIR, POOR, TRAININGS
from tests.faults.uploads import LABELLED
from tests.faults.waiting import Event
from tests.faults.world import World
from tests.functions.builders import MODEL
from tomodrop.live_model import write_live_model

# What was live before the model that is live when a schedule begins.
EARLIER = MODEL.model_copy(
    update={
        "model_name": "tomodrop-train-20261025T030000Z",
        "training_job": "tomodrop-train-20261025T030000Z",
        "trained_at": datetime(2026, 10, 25, 3, tzinfo=UTC),
    }
)


def go_live(world: World) -> None:
    """Two models were made live by hand, one after the other."""
    bucket, key = world.settings.work_bucket, "training/first/output/model.tar.gz"
    world.stage.write(bucket, key, b"weights")
    shape = world.settings.image_shape
    for model in (EARLIER, MODEL):
        world.sagemaker.learnt[model.model_name] = FAIR.wrong
        write_live_model(world.app, model.model_copy(update={"image_shape": shape}))
        world.app.sagemaker.create_model(
            ModelName=model.model_name,
            PrimaryContainer={
                "Image": world.settings.algorithm_image,
                "ModelDataUrl": f"s3://{bucket}/{key}",
            },
            ExecutionRoleArn=world.settings.sagemaker_role_arn,
        )


def study(world: World, a: int, _: int) -> None:
    """A labelled set was taken in; by it the live model is fair, or below the floor itself."""
    if world.studies:
        return
    world.studies = True
    world.sagemaker.learnt[MODEL.model_name] = (FAIR, POOR)[a % 2].wrong
    for key in LABELLED:
        world.put(key, "picture")
    count = len(LABELLED)
    world.queue += map(world.message, world.notifications[-count:])
    del world.notifications[-count:]
    invocation = world.receive(world.queue[-count:])
    assert invocation
    world.finish(invocation)


def retrain(world: World, _: int, b: int) -> None:
    """The schedule of retrain fires, now and then twice for one time."""
    if world.studies:
        for _ in range(2 if b % 4 == 1 else 1):
            world.scheduled("retrain")


def train(world: World, a: int, b: int) -> None:
    """A training ends, or hangs."""
    running = world.moment().trainings
    if not running:
        return
    name = running[a % len(running)]
    fate = TRAININGS[b % len(TRAININGS)]
    if fate is None:
        world.fired["a training hangs"] += 1
        world.hung.add(name)
        return
    what, how = fate
    if what:
        world.fired[what] += 1
    world.sagemaker.end_training(name, how)


def roll_back(world: World, a: int, b: int) -> None:
    """Somebody asks for the model of an earlier training; for one that was never live in vain."""
    if not world.studies:
        return
    lives = [live["training_job"] for live in world.live_models.lives]
    known = [*lives, *world.sagemaker.trainings_ended()]
    target = known[a % len(known)]
    world.live_models.asked_back.add(target)
    for _ in range(2 if b % 4 == 1 else 1):
        world.deliver(Event("promote", {"rollback_to": target}))


LEARNING: dict[str, Callable[[World, int, int], None]] = {
    done.__name__: done for done in (study, retrain, train, roll_back)
}
