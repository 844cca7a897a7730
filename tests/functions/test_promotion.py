"""Promote: which model goes live, why, and what people find of the others."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

import promote as step
from tests.functions.builders import ENVIRONMENT, MODEL, go_live, job_becomes
from tests.functions.conftest import Context, create_resources
from tests.functions.evaluations import (
    CREATED,
    HELD_OUT,
    JOB,
    NEXT_JOB,
    RECORD,
    accuracy,
    answer,
    artifacts,
    decide,
    evaluations,
    hold_out,
    manifest_of,
    models,
    notices,
    put_output,
    record,
    running_until_answered,
    stored,
    train,
)
from tests.functions.interference import (
    before_call,
    clients_of,
    dies_before,
    refusing,
    unique_names,
)
from tests.functions.test_training_request import WHOLE
from tomodrop import keys, objects
from tomodrop.clients import App
from tomodrop.errors import EventError
from tomodrop.imaging.version import NORMALISER
from tomodrop.live_model import read_live_model, write_live_model
from tomodrop.models import model_request
from tomodrop.promotion import final_metrics, promote
from tomodrop.settings import Settings

Change = Callable[..., App]


@pytest.fixture(autouse=True)
def _jobs_run(connected: App) -> Iterator[None]:
    with running_until_answered(connected):
        yield


def live_name(stack: App) -> str | None:
    live = read_live_model(stack)
    return live.model_name if live else None


# The way of a good model


def test_the_first_model_goes_live_by_the_floors_alone(stack: App) -> None:
    train(stack)
    decision = decide(stack)
    assert (decision["decision"], decision["reason"]) == (
        "promoted",
        "accuracy 0.950 on held-out slices reaches the minimum 0.800",
    )
    live = read_live_model(stack)
    assert live is not None
    assert live.model_dump() == {
        "model_name": JOB,
        "training_job": JOB,
        "trained_at": CREATED,
        "classes": ("non_covid", "covid"),
        "normaliser": NORMALISER,
        "image_shape": (3, 64, 64),
        "fingerprint": "f" * 64,
        "metrics": {
            "accuracy": 0.95,
            "auc": 0.95,
            "sensitivity": 1.0,
            "specificity": 0.9,
            "calibration_error": 0.05,
        },
        "generation": 1,
    }
    assert [job.role for job in evaluations(stack)] == ["challenger"]


def test_nothing_is_decided_before_all_answers_are_there(stack: App) -> None:
    go_live(stack)
    train(stack)
    assert promote(stack, JOB) is None
    challenger, champion = evaluations(stack)
    assert (challenger.role, champion.role) == ("challenger", "champion")
    assert models(stack) == [MODEL.model_name, JOB]
    answer(stack)
    for job in (challenger, champion):
        for status in ("InProgress", "Stopping"):
            job_becomes(str(job), transform_job_status=status)
            assert promote(stack, JOB) is None
        job_becomes(str(job), transform_job_status="Completed")
    assert live_name(stack) == MODEL.model_name
    assert len(evaluations(stack)) == 2
    assert promote(stack, JOB)
    assert live_name(stack) == JOB


def test_both_models_are_scored_on_the_same_held_out_slices(stack: App) -> None:
    go_live(stack)
    train(stack)
    promote(stack, JOB)
    wanted = [
        {"prefix": "s3://tomodrop-work-123456789012/dataset/slices/"},
        *(f"{one.slice_id}.png" for one in HELD_OUT),
    ]
    for job, model in zip(evaluations(stack), (JOB, MODEL.model_name), strict=True):
        assert manifest_of(stack, job) == wanted
        made = stack.sagemaker.describe_transform_job(TransformJobName=str(job))
        assert made["ModelName"] == model
        folder = f"s3://tomodrop-work-123456789012/evaluations/{JOB}/{job}"
        source = made["TransformInput"]["DataSource"]["S3DataSource"]
        assert source == {"S3DataType": "ManifestFile", "S3Uri": f"{folder}/manifest.json"}
        assert made["TransformOutput"]["S3OutputPath"] == f"{folder}/out"
        assert len(str(job)) <= 63


def test_the_decision_and_its_figures_are_kept_for_people(stack: App) -> None:
    go_live(stack)
    train(stack)
    decision = decide(stack, challenger=1, champion=2)
    assert stored(stack) == decision
    assert stored(stack, "evaluation.json") == decision["evaluation"]
    assert decision["live_before"] == MODEL.model_name
    assert decision["not_compared"] is None
    assert decision["metrics"] == {"train:accuracy": 0.99, "validation:accuracy": 0.93}
    assert decision["slices"] == RECORD["slices"]
    assert decision["rules"] == {
        "minimum_accuracy": 0.8,
        "minimum_sensitivity": 0,
        "maximum_calibration_error": 1,
        "margin": 0.02,
        "confidence": 0.95,
    }
    assert "Research use only" in decision["notice"]
    evaluation = decision["evaluation"]
    assert {name: evaluation["held_out"][name] for name in ("slices", "scored", "groups")} == {
        "slices": 20,
        "scored": 20,
        "groups": 10,
    }
    challenger, champion = (evaluation["models"][role] for role in ("challenger", "champion"))
    assert (challenger["model"], champion["model"]) == (JOB, MODEL.model_name)
    assert challenger["confusion"] == [[9, 1], [0, 10]]
    assert champion["confusion"] == [[9, 1], [1, 9]]
    assert champion["accuracy"]["value"] == 0.9
    assert evaluation["difference"]["accuracy"]["value"] == 0.05
    assert [len(model["jobs"]) for model in (challenger, champion)] == [1, 1]


def test_people_who_asked_are_told(stack: App) -> None:
    train(stack)
    decision = decide(stack)
    assert notices() == [(f"Tomodrop: {JOB} promoted", decision)]
    told = str(notices())
    assert "group1" not in told
    assert HELD_OUT[0].slice_id not in told


def test_a_repeated_event_decides_nothing_more(stack: App) -> None:
    train(stack)
    decide(stack)
    before = stored(stack)
    assert promote(stack, JOB) is None
    assert stored(stack) == before
    assert (models(stack), len(evaluations(stack)), len(notices())) == ([JOB], 1, 1)


# The floors


@pytest.mark.parametrize(
    ("wrong", "changes", "verdict", "reason"),
    [
        (5, {}, "refused", "accuracy 0.750 on held-out slices is below the minimum 0.800"),
        (4, {}, "promoted", "reaches the minimum 0.800"),
        (2, {"minimum_sensitivity": 0.95}, "refused", "sensitivity 0.900 is below"),
        (1, {"minimum_sensitivity": 1.0}, "promoted", "reaches"),
        (4, {"maximum_calibration_error": 0.05}, "refused", "calibration error 0.100 is above"),
        (1, {"maximum_calibration_error": 0.06}, "promoted", "reaches"),
    ],
)
def test_a_model_must_reach_the_floors(
    change: Change, wrong: int, changes: dict[str, float], verdict: str, reason: str
) -> None:
    stack = change(**changes)
    train(stack)
    decision = decide(stack, challenger=wrong)
    assert (decision["decision"], reason in decision["reason"]) == (verdict, True)
    assert live_name(stack) == (JOB if verdict == "promoted" else None)
    assert stored(stack)["evaluation"]["models"]["challenger"]["confusion"]


def test_the_floor_is_of_what_was_measured_and_not_of_what_the_training_says(stack: App) -> None:
    train(stack)
    job_becomes(JOB, final_metric_data_list=accuracy(1.0))
    assert decide(stack, challenger=19)["decision"] == "refused"


# The comparison


@pytest.mark.parametrize(
    ("challenger", "champion", "changes", "verdict"),
    [
        (1, 1, {}, "promoted"),
        (0, 3, {}, "promoted"),
        (2, 1, {}, "refused"),
        (2, 1, {"promotion_margin": 0.2}, "promoted"),
        (2, 1, {"promotion_margin": 0.06, "promotion_confidence": 0.5}, "promoted"),
        (3, 0, {"promotion_margin": 1.0}, "promoted"),
    ],
)
def test_a_model_must_not_be_worse_than_the_live_one(
    change: Change, challenger: int, champion: int, changes: dict[str, float], verdict: str
) -> None:
    stack = change(**changes)
    go_live(stack)
    train(stack)
    decision = decide(stack, challenger=challenger, champion=champion)
    assert decision["decision"] == verdict
    assert f"live model {MODEL.model_name}" in decision["reason"]
    assert live_name(stack) == (JOB if verdict == "promoted" else MODEL.model_name)


@pytest.mark.parametrize(
    "changes",
    [{"classes": ("covid", "non_covid")}, {"normaliser": "1"}, {"image_shape": (3, 32, 32)}],
)
def test_a_live_model_for_other_images_is_not_compared(stack: App, changes: dict[str, Any]) -> None:
    go_live(stack, MODEL.model_copy(update=changes))
    train(stack)
    decision = decide(stack)
    assert decision["decision"] == "promoted"
    assert " instead of " in decision["not_compared"]
    assert list(decision["evaluation"]["models"]) == ["challenger"]
    assert decision["evaluation"]["difference"] is None


def test_a_live_model_that_somebody_deleted_is_made_again_to_be_scored(stack: App) -> None:
    train(stack)
    decide(stack)
    stack.sagemaker.delete_model(ModelName=JOB)
    train(stack, job=NEXT_JOB, created=CREATED + timedelta(days=7))
    assert decide(stack, NEXT_JOB)["decision"] == "promoted"
    assert sorted(models(stack)) == [JOB, NEXT_JOB]


# What need not be scored


@pytest.mark.parametrize("status", ["Failed", "Stopped"])
def test_a_training_that_did_not_complete_has_failed(stack: App, status: str) -> None:
    train(stack, status)
    decision = promote(stack, JOB)
    assert decision is not None
    assert decision["decision"] == "failed"
    assert decision["reason"] == f"the job ended {status}: no reason"
    assert (live_name(stack), models(stack), evaluations(stack)) == (None, [], [])
    assert stored(stack)["decision"] == "failed"
    assert len(notices()) == 1


def test_a_model_older_than_the_live_one_does_not_replace_it(stack: App) -> None:
    newer = MODEL.model_copy(update={"trained_at": CREATED + timedelta(seconds=1)})
    write_live_model(stack, newer)
    train(stack)
    decision = promote(stack, JOB)
    assert decision is not None
    assert (decision["decision"], decision["reason"]) == (
        "refused",
        f"the live model {MODEL.model_name} was trained later",
    )
    assert read_live_model(stack) == newer
    assert (models(stack), evaluations(stack)) == ([], [])


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"class_names": ("a", "b")}, "classes non_covid,covid instead of a,b"),
        ({"image_shape": (3, 224, 224)}, "image shape 3,64,64 instead of 3,224,224"),
    ],
)
def test_a_model_for_images_that_are_no_longer_made_does_not_go_live(
    change: Change, changes: dict[str, Any], difference: str
) -> None:
    stack = change(**changes)
    train(stack)
    decision = promote(stack, JOB)
    assert decision is not None
    assert decision["decision"] == "refused"
    assert decision["reason"].endswith(difference)
    assert live_name(stack) is None


def test_a_model_of_an_earlier_normaliser_does_not_go_live(stack: App) -> None:
    train(stack)
    record(stack, normaliser="1")
    decision = promote(stack, JOB)
    assert decision is not None
    assert f"normaliser 1 instead of {NORMALISER}" in decision["reason"]


def test_a_job_that_runs_is_not_decided_on(stack: App) -> None:
    train(stack, status="InProgress")
    assert promote(stack, JOB) is None
    assert objects.keys_under(stack.s3, stack.settings.predictions_bucket, "") == []


def test_a_job_of_another_maker_is_refused(stack: App) -> None:
    stack.sagemaker.create_training_job(**WHOLE)
    with pytest.raises(EventError, match=r"was not started by this stack: it has no job\.json"):
        promote(stack, JOB)


# What goes wrong while models are scored


@pytest.mark.parametrize(
    "body", [b"", b"[0.5", b"<html>", b"[0.1, 0.2, 0.7]", b"[NaN, 1]", b"[0.5, 0.9]"]
)
def test_slices_without_a_usable_answer_are_scored_again_and_only_they(
    stack: App, body: bytes
) -> None:
    train(stack)
    promote(stack, JOB)
    answer(stack)
    (first,) = evaluations(stack)
    put_output(stack, first, f"{HELD_OUT[3].slice_id}.png", body)
    assert promote(stack, JOB) is None
    second = evaluations(stack)[1]
    assert second.attempt == 2
    assert manifest_of(stack, second)[1:] == [f"{HELD_OUT[3].slice_id}.png"]
    answer(stack)
    put_output(stack, first, f"{HELD_OUT[3].slice_id}.png", body)
    decision = promote(stack, JOB)
    assert decision is not None
    assert decision["decision"] == "promoted"
    jobs = decision["evaluation"]["models"]["challenger"]["jobs"]
    assert jobs == [str(first), str(second)]


def test_a_model_that_does_not_answer_is_refused_after_the_last_attempt(stack: App) -> None:
    go_live(stack)
    train(stack)
    for _ in range(2):
        assert promote(stack, JOB) is None
        answer(stack, only=15 if len(evaluations(stack)) == 2 else 0)
        for job in evaluations(stack):
            job_becomes(str(job), transform_job_status="Failed", failure_reason="AlgorithmError: x")
    decision = promote(stack, JOB)
    assert decision is not None
    assert decision["decision"] == "refused"
    assert decision["reason"] == (
        f"could not be evaluated: the challenger {JOB} gave no usable answer for 5 of 20 held-out "
        f"slices in 2 attempts (the last job, {evaluations(stack)[1]}, ended Failed "
        "AlgorithmError: x)"
    )
    assert decision["evaluation"] is None
    assert live_name(stack) == MODEL.model_name
    assert len(evaluations(stack)) == 4


@pytest.mark.parametrize("code", ["ResourceLimitExceeded", "ThrottlingException"])
def test_without_room_for_a_job_the_decision_waits(stack: App, code: str) -> None:
    go_live(stack)
    train(stack)
    with refusing(stack.sagemaker, "CreateTransformJob", code) as refused:
        assert promote(stack, JOB) is None
        assert len(refused) >= 2
    assert evaluations(stack) == []
    assert decide(stack)["decision"] == "promoted"


def test_another_error_at_making_a_job_is_raised(stack: App) -> None:
    train(stack)
    with (
        refusing(stack.sagemaker, "CreateTransformJob", "AccessDeniedException"),
        pytest.raises(ClientError, match="AccessDenied"),
    ):
        promote(stack, JOB)


def test_held_out_slices_that_change_are_scored_anew(stack: App) -> None:
    train(stack)
    promote(stack, JOB)
    answer(stack, {"challenger": 9})
    (first,) = evaluations(stack)
    hold_out(stack, HELD_OUT[:10])
    assert promote(stack, JOB) is None
    assert live_name(stack) is None
    second = next(job for job in evaluations(stack) if job != first)
    assert (second.attempt, second.code != first.code) == (1, True)
    answer(stack, {"challenger": 0})
    decision = promote(stack, JOB)
    assert decision is not None
    assert decision["evaluation"]["held_out"]["scored"] == 10


def test_held_out_slices_that_change_during_the_decision_decide_nothing(stack: App) -> None:
    train(stack)
    promote(stack, JOB)
    answer(stack)
    replaced = partial(hold_out, stack, HELD_OUT[:10])
    # What was decided before, the record, both readings of the set and all outputs come before it.
    outputs = len(HELD_OUT)
    with before_call(10 + outputs, replaced, *clients_of(stack)) as calls:
        assert promote(stack, JOB) is None
    assert calls[9 : 11 + outputs] == ["ListObjectsV2", *["GetObject"] * (outputs + 1)]
    assert live_name(stack) is None
    assert len(evaluations(stack)) == 2


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (None, "has no held_out.jsonl"),
        (b"", "names no slice"),
        (b"{}\n", "is damaged"),
        (b'{"slice_id": "a", "label": 2, "group": "g"}\n', "is damaged"),
        (b'{"slice_id": "a", "label": true, "group": "g"}\n', "is damaged"),
        (b'{"slice_id": "a", "label": 0, "group": 7}\n', "is damaged"),
        (b'{"slice_id": "a", "label": 0, "gr', "is damaged"),
        (b"[1, 2, 3]\n", "is damaged"),
    ],
)
def test_without_a_held_out_set_a_model_cannot_be_evaluated(
    stack: App, body: bytes | None, fault: str
) -> None:
    train(stack)
    work = stack.settings.work_bucket
    if body is None:
        stack.s3.delete_object(Bucket=work, Key=keys.held_out(JOB))
    else:
        objects.write(stack.s3, work, keys.held_out(JOB), body, "application/jsonl")
    decision = promote(stack, JOB)
    assert decision is not None
    assert decision["reason"].startswith("could not be evaluated: ")
    assert fault in decision["reason"]
    assert live_name(stack) is None


# Events that come twice, together, late, or to a process that dies


@pytest.fixture
def world(connected: App) -> Iterator[Callable[[], App]]:
    """Fresh stacks, one after the other, in which a training ended that held out four slices."""
    with ExitStack() as held:
        moto = held.enter_context(mock_aws())
        held.enter_context(unique_names(connected.sagemaker))

        def prepared() -> App:
            moto.reset()
            create_resources(connected)
            go_live(connected)
            train(connected)
            hold_out(connected, HELD_OUT[:4])
            return connected

        yield prepared


def finish(stack: App) -> None:
    promote(stack, JOB)
    answer(stack, {"challenger": 0, "champion": 1})
    promote(stack, JOB)


def left(stack: App) -> dict[str, Any]:
    """All that a decision leaves, but for its time, and however often it was told of."""
    decision = stored(stack)
    return {
        "decision": decision | {"decided_at": ""},
        "live": read_live_model(stack),
        "models": sorted(models(stack)),
        "jobs": evaluations(stack),
        "keys": objects.keys_under(stack.s3, stack.settings.predictions_bucket, ""),
        "told": {subject for subject, _ in notices()},
    }


def test_a_death_anywhere_is_made_good_by_the_next_event(world: Callable[[], App]) -> None:
    stack = world()
    finish(stack)
    expected = left(stack)
    for begun in (False, True):
        for number in range(0, 200, 1 + begun):
            stack = world()
            if begun:
                promote(stack, JOB)
                answer(stack, {"challenger": 0, "champion": 1})
            if not dies_before(number, stack, partial(promote, stack, JOB)):
                break
            finish(stack)
            assert left(stack) == expected, f"died before call {number}, begun: {begun}"
            assert len(notices()) <= 2
        assert 8 < number < 198


def test_two_at_once_make_one_decision(world: Callable[[], App]) -> None:
    stack = world()
    finish(stack)
    expected = left(stack)
    for begun in (False, True):
        for number in range(0, 36, 3):
            stack = world()
            if begun:
                promote(stack, JOB)
                answer(stack, {"challenger": 0, "champion": 1})
            other: list[Any] = []
            intruder = partial(lambda stack, made: made.append(promote(stack, JOB)), stack, other)
            with before_call(number, intruder, *clients_of(stack)):
                mine = promote(stack, JOB)
            made = [decision for decision in (mine, *other) if decision]
            assert len(made) <= 1, f"the other ran before call {number}, begun: {begun}"
            finish(stack)
            assert left(stack) == expected, f"the other ran before call {number}, begun: {begun}"


def test_an_older_training_never_replaces_a_newer_one_whatever_the_order(
    world: Callable[[], App],
) -> None:
    """Both beat the live model; the newer one's decision comes between two calls of the older's."""
    for number in range(1, 40, 5):
        stack = world()
        train(stack, job=NEXT_JOB, created=CREATED + timedelta(days=7))
        hold_out(stack, HELD_OUT[:4], NEXT_JOB)
        for job in (JOB, NEXT_JOB):
            promote(stack, job)
        answer(stack, {"challenger": 0, "champion": 1})
        with before_call(number, partial(promote, stack, NEXT_JOB), *clients_of(stack)):
            promote(stack, JOB)
        for job in (NEXT_JOB, JOB):
            promote(stack, job)
            answer(stack, {"challenger": 0, "champion": 0})
            promote(stack, job)
        assert live_name(stack) == NEXT_JOB, f"it came before call {number}"
        assert stored(stack, job=NEXT_JOB)["decision"] == "promoted"
        assert stored(stack)["decision"] in ("promoted", "refused")


def test_when_the_live_model_changes_meanwhile_the_new_one_is_the_one_to_beat(stack: App) -> None:
    go_live(stack)
    train(stack)
    train(stack, job=NEXT_JOB, created=CREATED + timedelta(days=7))
    promote(stack, NEXT_JOB)
    answer(stack, {"challenger": 3, "champion": 4})
    decide(stack, challenger=0, champion=2)
    # The next one was scored beside the model that was live when its training ended.
    assert promote(stack, NEXT_JOB) is None
    answer(stack, {"challenger": 3, "champion": 0})
    decision = promote(stack, NEXT_JOB)
    assert decision is not None
    assert (decision["decision"], decision["live_before"]) == ("refused", JOB)
    assert live_name(stack) == JOB


# SageMaker's models


def test_a_model_of_that_name_with_other_weights_is_an_error(stack: App) -> None:
    train(stack)
    stack.sagemaker.create_model(
        ModelName=JOB,
        PrimaryContainer={"Image": "i", "ModelDataUrl": "s3://work/other/model.tar.gz"},
        ExecutionRoleArn=ENVIRONMENT["SAGEMAKER_ROLE_ARN"],
    )
    with (
        refusing(stack.sagemaker, "CreateModel", "ValidationException"),
        pytest.raises(ClientError, match="CreateModel"),
    ):
        promote(stack, JOB)
    assert evaluations(stack) == []


def test_a_model_that_exists_already_is_no_error(stack: App) -> None:
    train(stack)
    described: dict[str, Any] = dict(stack.sagemaker.describe_training_job(TrainingJobName=JOB))
    stack.sagemaker.create_model(**model_request(stack.settings, described))
    with refusing(stack.sagemaker, "CreateModel", "ValidationException") as refused:
        assert decide(stack)["decision"] == "promoted"
    assert refused == ["CreateModel"]


def test_a_model_sees_no_network(settings: Settings) -> None:
    described = {
        "TrainingJobName": JOB,
        "AlgorithmSpecification": {"TrainingImage": "image"},
        "ModelArtifacts": artifacts(),
    }
    assert model_request(settings, described) == {
        "ModelName": JOB,
        "PrimaryContainer": {
            "Image": "image",
            "ModelDataUrl": artifacts()["S3ModelArtifacts"],
        },
        "ExecutionRoleArn": ENVIRONMENT["SAGEMAKER_ROLE_ARN"],
        "EnableNetworkIsolation": True,
    }


def test_metrics_are_read_as_they_are_reported() -> None:
    assert final_metrics({"FinalMetricDataList": accuracy(0.93000001)}) == {
        "train:accuracy": 0.99,
        "validation:accuracy": 0.93,
    }
    assert final_metrics({}) == {}


# The handler


def test_the_handler_goes_on_with_either_event(
    stack: App, load_event: Callable[[str], dict[str, Any]]
) -> None:
    train(stack)
    event = load_event("training-completed")
    assert event["detail"]["TrainingJobName"] == JOB
    assert step.handler(event, Context()) is None
    answer(stack)
    ended = load_event("transform-completed")
    ended["detail"]["TransformJobName"] = str(evaluations(stack)[0])
    assert step.handler(ended, Context())["decision"] == "promoted"
    assert step.handler(ended, Context()) is None


@pytest.mark.filterwarnings("ignore:No application metrics")
def test_the_handler_refuses_the_jobs_of_batches(
    stack: App, load_event: Callable[[str], dict[str, Any]]
) -> None:
    with pytest.raises(EventError, match="was not started by this stack"):
        step.handler(load_event("transform-completed"), Context())
