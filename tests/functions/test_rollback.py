"""Going back to an earlier model: for good, until a later training passes the gate."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import promote as step
from tests.functions.builders import ENVIRONMENT, MODEL, go_live
from tests.functions.conftest import Context
from tests.functions.evaluations import (
    CREATED,
    HELD_OUT,
    JOB,
    NEXT_JOB,
    answer,
    decide,
    end,
    evaluations,
    hold_out,
    models,
    notices,
    running_until_answered,
    stored,
    train,
)
from tests.functions.interference import dies_before
from tests.functions.labelled import label
from tests.functions.test_retraining import label_enough
from tomodrop import objects
from tomodrop.clients import App
from tomodrop.errors import EventError, RollbackError
from tomodrop.events import RollbackAsked, parse_promote_event
from tomodrop.live_model import read_live_model, write_live_model
from tomodrop.promotion import promote
from tomodrop.retraining import retrain
from tomodrop.rollback import roll_back
from tomodrop.sweeping import sweep

THIRD_JOB = "tomodrop-train-20261206T030000Z"
SCHEDULED = datetime(2026, 11, 22, 3, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _jobs_run(connected: App) -> Iterator[None]:
    with running_until_answered(connected):
        yield


@pytest.fixture
def replaced(stack: App) -> App:
    """JOB was live, and NEXT_JOB is."""
    train(stack)
    decide(stack)
    train(stack, job=NEXT_JOB, created=CREATED + timedelta(days=7))
    decide(stack, NEXT_JOB, challenger=1, champion=1)
    return stack


def live_name(stack: App) -> str | None:
    live = read_live_model(stack)
    return live.model_name if live else None


def test_an_earlier_model_goes_live_again(replaced: App) -> None:
    assert live_name(replaced) == NEXT_JOB
    decision = roll_back(replaced, JOB)
    assert decision is not None
    live = read_live_model(replaced)
    assert live is not None
    assert (live.model_name, live.generation, live.metrics["accuracy"]) == (JOB, 3, 0.95)
    assert {name: decision[name] for name in ("training_job", "decision", "live_before")} == {
        "training_job": JOB,
        "decision": "rolled back",
        "live_before": NEXT_JOB,
    }
    assert stored(replaced, f"000003-{JOB}.json", "rollbacks") == decision
    assert notices()[-1] == (f"Tomodrop: {JOB} rolled back", decision)
    assert stored(replaced)["decision"] == "promoted", "what was decided of it stays"


def test_neither_sweep_nor_late_events_undo_it(replaced: App) -> None:
    roll_back(replaced, JOB)
    for job in (NEXT_JOB, JOB):
        assert promote(replaced, job) is None
    sweep(replaced, CREATED)
    assert live_name(replaced) == JOB


def test_the_next_training_stands_against_the_model_gone_back_to(replaced: App) -> None:
    roll_back(replaced, JOB)
    train(replaced, job=THIRD_JOB, created=CREATED + timedelta(days=14))
    assert decide(replaced, THIRD_JOB, challenger=3, champion=0)["decision"] == "refused"
    champion = evaluations(replaced)[-1]
    made = replaced.sagemaker.describe_transform_job(TransformJobName=str(champion))
    assert (champion.role, made["ModelName"]) == ("champion", JOB)
    assert live_name(replaced) == JOB


def test_an_older_training_may_follow_it_if_it_is_newer_than_the_model(stack: App) -> None:
    """A training between the two, whose end was heard late, passes the gate like any other."""
    go_live(stack)
    train(stack, job=NEXT_JOB, created=CREATED + timedelta(days=7))
    decide(stack, NEXT_JOB)
    roll_back(stack, MODEL.training_job)
    train(stack)
    promote(stack, JOB)
    answer(stack, {"challenger": 0, "champion": 0})
    decision = promote(stack, JOB)
    assert decision is not None
    assert decision["decision"] == "promoted"


def test_schedules_after_it_learn_nothing_anew_until_something_is_new(stack: App) -> None:
    """The set is what the model learnt that was gone back from, not what the live one did."""
    go_live(stack)
    label_enough(stack)
    assert retrain(stack, SCHEDULED) == JOB
    end()
    hold_out(stack, HELD_OUT)
    assert decide(stack)["decision"] == "promoted"
    roll_back(stack, MODEL.training_job)
    assert [retrain(stack, SCHEDULED + timedelta(weeks=later)) for later in (1, 2)] == [None] * 2
    label(stack, "covid/p9/new")
    assert retrain(stack, SCHEDULED + timedelta(weeks=2)) == THIRD_JOB


def test_to_ask_twice_goes_back_once(replaced: App) -> None:
    roll_back(replaced, JOB)
    assert roll_back(replaced, JOB) is None
    assert live_name(replaced) == JOB
    folder = "models/rollbacks/"
    bucket = replaced.settings.predictions_bucket
    assert len(objects.keys_under(replaced.s3, bucket, folder)) == 1


def test_a_model_that_somebody_deleted_is_made_again(replaced: App) -> None:
    replaced.sagemaker.delete_model(ModelName=JOB)
    roll_back(replaced, JOB)
    assert JOB in models(replaced)


@pytest.mark.parametrize("name", ["tomodrop-train-unknown", "", "../live", JOB])
def test_a_model_that_was_never_live_is_refused(stack: App, name: str) -> None:
    train(stack)
    decide(stack, challenger=19)
    with pytest.raises(RollbackError, match="was never live") as refused:
        roll_back(stack, name)
    assert name in str(refused.value)
    assert live_name(stack) is None


@pytest.mark.parametrize(
    "changes",
    [{"normaliser": "1"}, {"image_shape": (3, 8, 8)}, {"classes": ("covid", "non_covid")}],
)
def test_a_model_for_other_images_is_refused(stack: App, changes: dict[str, Any]) -> None:
    write_live_model(stack, MODEL.model_copy(update=changes))
    write_live_model(stack, MODEL.model_copy(update={"training_job": "other"}))
    with pytest.raises(RollbackError, match=r"other images than the stack's now: .* instead of"):
        roll_back(stack, MODEL.training_job)


def test_it_is_a_way_out_of_a_broken_parameter(replaced: App) -> None:
    name = ENVIRONMENT["LIVE_MODEL_PARAMETER"]
    replaced.ssm.put_parameter(Name=name, Value="{broken", Type="String", Overwrite=True)
    roll_back(replaced, JOB)
    assert live_name(replaced) == JOB


def test_a_death_anywhere_is_made_good_by_asking_again(replaced: App) -> None:
    for number in range(40):
        died = dies_before(number, replaced, lambda: roll_back(replaced, JOB))
        roll_back(replaced, JOB)
        assert live_name(replaced) == JOB, f"died before call {number}"
        if not died:
            break
        roll_back(replaced, NEXT_JOB)
    assert 6 < number < 39


# The event


def test_the_handler_goes_back(replaced: App, load_event: Callable[[str], dict[str, Any]]) -> None:
    event = load_event("rollback") | {"rollback_to": JOB}
    assert step.handler(event, Context())["decision"] == "rolled back"
    assert step.handler(event, Context()) is None


def test_what_is_asked_for_is_read() -> None:
    assert parse_promote_event({"rollback_to": "job"}) == RollbackAsked("job")


@pytest.mark.parametrize("target", [None, "", 7, ["job"], {"job": 1}])
def test_a_rollback_to_nothing_is_refused(target: Any) -> None:
    with pytest.raises(EventError, match="rollback_to must name a training job"):
        parse_promote_event({"rollback_to": target})
