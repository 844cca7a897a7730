"""Decisions follow one another: one at a time, each carried out, whoever dies on the way."""

from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.functions.builders import ENVIRONMENT, MODEL
from tests.functions.evaluations import notices
from tests.functions.interference import (
    Crash,
    before_call,
    clients_of,
    dies_before,
    losing_reply,
    refusing,
)
from tomodrop import objects
from tomodrop.clients import App
from tomodrop.live_model import LiveModel, read_live_model, read_model_record, write_live_model
from tomodrop.succession import LAST_DECISION, commit, settle_last_decision


def model(name: str) -> LiveModel:
    return MODEL.model_copy(update={"model_name": name, "training_job": name})


def decision(name: str, **more: Any) -> dict[str, Any]:
    return {"training_job": name, "decision": "promoted", "evaluation": None} | more


def make_live(stack: App, name: str, **more: Any) -> bool:
    before = settle_last_decision(stack)
    entry = before.following(f"models/{name}/decision.json", decision(name, **more), model(name))
    return commit(stack, before, entry)


def live(stack: App) -> tuple[str, int] | None:
    found = read_live_model(stack)
    return (found.model_name, found.generation) if found else None


def published(stack: App) -> list[str]:
    return objects.keys_under(stack.s3, stack.settings.predictions_bucket, "")


def put_by_hand(stack: App, value: str) -> None:
    name = ENVIRONMENT["LIVE_MODEL_PARAMETER"]
    stack.ssm.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)


def test_in_the_beginning_there_is_nothing(stack: App) -> None:
    assert settle_last_decision(stack).entry is None
    assert published(stack) == []


def test_a_decision_is_carried_out_and_published(stack: App) -> None:
    assert make_live(stack, "a", evaluation={"x": 1})
    assert live(stack) == ("a", 1)
    assert published(stack) == ["models/a/decision.json", "models/a/evaluation.json"]
    assert [subject for subject, _ in notices()] == ["Tomodrop: a promoted"]
    assert make_live(stack, "b")
    assert live(stack) == ("b", 2)


def test_a_decision_that_makes_nothing_live_leaves_the_live_model(stack: App) -> None:
    make_live(stack, "a")
    before = settle_last_decision(stack)
    entry = before.following("models/b/decision.json", decision("b"), None)
    assert (entry.generation, entry.makes_live) == (2, None)
    assert commit(stack, before, entry)
    assert live(stack) == ("a", 1)
    assert make_live(stack, "c")
    assert live(stack) == ("c", 3)


def test_of_two_decisions_after_the_same_one_the_first_stands(stack: App) -> None:
    for first, second in (("a", "b"), ("c", "d")):
        before = settle_last_decision(stack)
        entries = [
            before.following(f"models/{name}/decision.json", decision(name), model(name))
            for name in (first, second)
        ]
        assert [commit(stack, before, entry) for entry in entries] == [True, False]
        found = read_live_model(stack)
        assert found is not None
        assert found.model_name == first
        assert f"models/{second}/decision.json" not in published(stack)


def test_who_comes_next_carries_out_what_is_left(stack: App) -> None:
    make_live(stack, "a")
    for number in range(30):
        name = f"n{number}"
        died = dies_before(number, stack, partial(make_live, stack, name))
        standing = settle_last_decision(stack)
        assert standing.entry
        generation = standing.entry.generation
        assert live(stack) == (standing.entry.decision["training_job"], generation)
        assert standing.entry.key in published(stack)
        if not died:
            break
    assert 6 < number < 29


def test_a_put_whose_answer_is_lost_is_a_decision_all_the_same(stack: App) -> None:
    make_live(stack, "a")
    before = settle_last_decision(stack)
    entry = before.following("models/b/decision.json", decision("b"), model("b"))
    with losing_reply(stack.s3, "PutObject"), pytest.raises(Crash):
        commit(stack, before, entry)
    assert commit(stack, before, entry), "botocore sends it again, and it meets itself"
    assert live(stack) == ("b", 2)


def test_a_writer_that_was_held_up_does_not_leave_its_model_live(stack: App) -> None:
    """Its successor's decision comes whole right before it writes the parameter."""
    for number in range(14):
        make_live(stack, f"before{number}")
        intruder = partial(make_live, stack, f"later{number}")
        with before_call(number, intruder, *clients_of(stack)):
            make_live(stack, f"slow{number}")
        standing = settle_last_decision(stack)
        assert standing.entry
        assert standing.entry.live
        assert live(stack) == (standing.entry.live.model_name, standing.entry.live.generation)


def test_a_writer_that_died_right_after_writing_late_is_put_right(stack: App) -> None:
    make_live(stack, "a")
    late = read_live_model(stack)
    assert late
    make_live(stack, "b")
    write_live_model(stack, late)
    assert live(stack) == ("a", 1)
    settle_last_decision(stack)
    assert live(stack) == ("b", 2)


@pytest.mark.parametrize("value", ["none", MODEL.model_dump_json(), "{broken"])
def test_what_people_put_there_by_hand_stays(stack: App, value: str) -> None:
    make_live(stack, "a")
    put_by_hand(stack, value)
    settle_last_decision(stack)
    found = stack.ssm.get_parameter(Name=ENVIRONMENT["LIVE_MODEL_PARAMETER"])
    assert found["Parameter"]["Value"] == value


def test_the_record_beside_the_training_can_be_put_there_by_hand(stack: App) -> None:
    """It has no generation, so nothing takes it for a late writer's."""
    make_live(stack, "a")
    make_live(stack, "b")
    put_by_hand(stack, read_model_record(stack, "a").model_dump_json())
    settle_last_decision(stack)
    assert live(stack) == ("a", 0)


def test_an_upgraded_stack_goes_on_with_its_live_model(stack: App) -> None:
    write_live_model(stack, MODEL)
    settle_last_decision(stack)
    assert live(stack) == (MODEL.model_name, 0)
    make_live(stack, "b")
    assert live(stack) == ("b", 1)


@pytest.mark.parametrize("operation", ["PutObject", "HeadObject"])
def test_a_refusal_for_another_reason_is_raised(stack: App, operation: str) -> None:
    make_live(stack, "a")
    with (
        refusing(stack.s3, operation, "AccessDenied", status=403),
        pytest.raises(ClientError, match="AccessDenied"),
    ):
        make_live(stack, "b")
    assert live(stack) == ("a", 1)


def test_a_notice_that_cannot_be_sent_is_sent_by_the_next(stack: App) -> None:
    with refusing(stack.sns, "Publish", "Throttling"), pytest.raises(ClientError):
        make_live(stack, "a")
    assert published(stack) == []
    settle_last_decision(stack)
    assert published(stack) == ["models/a/decision.json"]
    assert len(notices()) == 1


def test_the_last_decision_is_one_object(stack: App) -> None:
    make_live(stack, "a")
    make_live(stack, "b")
    found = objects.keys_under(stack.s3, stack.settings.work_bucket, "training/last")
    assert found == [LAST_DECISION]
