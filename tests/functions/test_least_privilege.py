"""Every AWS call of every step is allowed by template.yaml, and everything allowed is called.

Each step goes its ways on moto, the rare ones as well, while its calls are recorded as they are on
one machine (local/calls.py). A step that comes to call something new needs a statement; a statement
that is new needs a way below that comes to it.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError
from moto import mock_aws

import collect
import intake
from local.calls import Call, Recorder
from tests.functions.builders import (
    ENVIRONMENT,
    MODEL,
    go_live,
    job_becomes,
    png,
    s3_event,
    upload,
)
from tests.functions.conftest import Context, create_resources
from tests.functions.evaluations import answer as answer_evaluations
from tests.functions.evaluations import running_until_answered, train
from tests.functions.interference import (
    answering,
    clients_of,
    losing_reply,
    refusing,
    unique_names,
)
from tests.functions.labelled import label, pixels_of
from tests.functions.test_retraining import label_enough
from tests.functions.test_the_way import answer, jobs, later, transform_ended
from tests.template.deployed import ACCOUNT, Deployed, deploy
from tests.template.policies import Grant, Role, as_list, role
from tomodrop import objects
from tomodrop.auditing import go_on_with_audit, take_receipt
from tomodrop.batches import Batches
from tomodrop.clients import App
from tomodrop.dispatching import dispatch
from tomodrop.drift_watch import watch_drift
from tomodrop.models import model_request
from tomodrop.promotion import promote
from tomodrop.retraining import retrain
from tomodrop.rollback import roll_back
from tomodrop.sweeping import sweep

STEPS = ("intake", "dispatch", "collect", "retrain", "promote", "sweep")
TRAINING = "tomodrop-train-20261122T030000Z"

# What AWS itself calls with a step's role, and no code of ours; why, and which actions.
OF_THE_PLATFORM = {
    "WriteLogs": "Lambda writes what a function prints",
    "WriteTraces": "Lambda's daemon sends traces; there is none on one machine",
    "SetFailedEventsAside": "Lambda sends an event that failed for good",
    "TakeAnnouncementsFromTheQueue": "Lambda polls the queue",
}

Way = Callable[[App, "Acting"], None]


class Acting:
    """Says whose calls are recorded: `with acting("intake"): ...`. Calls of tests are nobody's."""

    def __init__(self) -> None:
        self.calls: dict[str, set[tuple[str, str, str]]] = defaultdict(set)
        self._step = ""
        self.collector = "collect"
        self.promoter = "promote"

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        self._step = step
        try:
            yield
        finally:
            self._step = ""

    def events_are_lost(self, _app: App, _acting: "Acting") -> None:
        """From now on the sweep finds what collect and promote were not told of."""
        self.collector = self.promoter = "sweep"

    def record(self, call: Call) -> None:
        if self._step:
            context = json.dumps(dict(call.context), sort_keys=True)
            self.calls[self._step].add((call.action, as_deployed(call.resource), context))


def as_deployed(resource: str) -> str:
    """The ARN in the template's stack of what has another name in the tests' stack."""
    given = deploy().environment()
    for name in ("BATCH_TABLE", "INTAKE_QUEUE_URL", "NOTICES_TOPIC_ARN", "SAGEMAKER_ROLE_ARN"):
        ours, theirs = (text[name].rpartition("/")[2] for text in (ENVIRONMENT, given))
        resource = resource.replace(ours, theirs) if theirs not in resource else resource
    return resource


# ---- the ways


def take_in(acting: Acting, *records: dict[str, Any]) -> None:
    with acting("intake"):
        intake.handler(s3_event(*records), Context())


def submit(app: App, acting: Acting) -> str:
    """The job that dispatch makes of what was taken in."""
    with acting("dispatch"):
        dispatch(app, later())
    return jobs(app)[-1]


def predict(app: App, acting: Acting, key: str, *sequencers: str) -> None:
    """Versions of an upload go their whole way, in one job."""
    for sequencer in sequencers or ("0050",):
        take_in(acting, upload(app, key, png(), sequencer))
    end(app, acting, submit(app, acting), key)


def end(app: App, acting: Acting, job: str, *answered: str) -> None:
    """A job ends, Failed if it answered nothing, and whoever's turn it is collects it."""
    answer(app, job, dict.fromkeys(answered, b"[0.9, 0.1]"))
    status = "Completed" if answered else "Failed"
    job_becomes(job, transform_job_status=status)
    with acting(acting.collector):
        if acting.collector == "collect":
            collect.handler(transform_ended(job, status), Context())
        else:
            sweep(app, datetime.now(UTC))


def uploads_of_every_kind(app: App, acting: Acting) -> None:
    unversioned = upload(app, "incoming/u.png", png())
    del unversioned["s3"]["object"]["versionId"]
    take_in(
        acting,
        upload(app, "incoming/a b+ü.png", png()),
        upload(app, "incoming/bad.png", b"no picture"),
        upload(app, "labelled/covid/p1/a.png", png()),
        upload(app, "labelled/bad.png", b"no picture"),
        unversioned,
    )
    unversioned_label = upload(app, "labelled/covid/p1/u.png", png())
    del unversioned_label["s3"]["object"]["versionId"]
    take_in(acting, unversioned_label)


def an_upload_that_is_gone(app: App, acting: Acting) -> None:
    record = upload(app, "incoming/a.png", png())
    version = record["s3"]["object"]["versionId"]
    uploads = app.settings.uploads_bucket
    app.s3.delete_object(Bucket=uploads, Key="incoming/a.png", VersionId=version)
    take_in(acting, record)


def a_prediction_and_then_a_rejection(app: App, acting: Acting) -> None:
    go_live(app)
    predict(app, acting, "incoming/a.png")
    take_in(acting, upload(app, "incoming/a.png", b"no picture", "0060"))


def a_rejection_that_is_older_than_the_prediction(app: App, acting: Acting) -> None:
    go_live(app)
    old = upload(app, "incoming/a.png", b"no picture", "0010")
    predict(app, acting, "incoming/a.png")
    take_in(acting, old)


def a_rejection_and_then_a_prediction(app: App, acting: Acting) -> None:
    go_live(app)
    take_in(acting, upload(app, "incoming/a.png", b"no picture", "0010"))
    predict(app, acting, "incoming/a.png")


def a_prediction_that_is_older_than_the_rejection(app: App, acting: Acting) -> None:
    go_live(app)
    take_in(acting, upload(app, "incoming/a.png", png(), "0010"))
    job = submit(app, acting)
    take_in(acting, upload(app, "incoming/a.png", b"no picture", "0060"))
    end(app, acting, job, "incoming/a.png")


def two_rejections_of_one_key(app: App, acting: Acting) -> None:
    for key in ("incoming/a.png", "labelled/a.png"):
        for sequencer in ("0010", "0060"):
            take_in(acting, upload(app, key, b"no picture", sequencer))


def a_labelled_rejection_and_then_a_good_version(app: App, acting: Acting) -> None:
    key = "labelled/covid/p1/a.png"
    take_in(acting, upload(app, key, b"no picture", "0010"))
    take_in(acting, upload(app, key, png(), "0060"))


def two_predictions_of_one_key(app: App, acting: Acting) -> None:
    go_live(app)
    predict(app, acting, "incoming/a.png", "0010", "0060")


def no_answer_at_any_attempt(app: App, acting: Acting) -> None:
    go_live(app)
    take_in(acting, upload(app, "incoming/a.png", png()))
    for _ in range(app.settings.max_attempts):
        end(app, acting, submit(app, acting))


def a_job_that_was_made_and_not_noted(app: App, acting: Acting) -> None:
    go_live(app)
    take_in(acting, upload(app, "incoming/a.png", png()))
    with unique_names(app.sagemaker):
        with suppress(BaseException), losing_reply(app.sagemaker, "CreateTransformJob"):
            submit(app, acting)
        submit(app, acting)


def a_part_that_has_expired(app: App, acting: Acting) -> None:
    take_in(acting, upload(app, "incoming/a.png", png()))
    with acting("dispatch"):
        dispatch(app, later())
    (part,) = Batches(app.table).ready()
    app.s3.delete_object(Bucket=app.settings.work_bucket, Key=part.slices_key)
    go_live(app)
    with acting("dispatch"):
        dispatch(app, later())


def a_job_that_has_no_room_yet(app: App, acting: Acting) -> None:
    go_live(app)
    take_in(acting, upload(app, "incoming/a.png", png()))
    with refusing(app.sagemaker, "CreateTransformJob", "ResourceLimitExceeded"), acting("dispatch"):
        dispatch(app, later())


def two_trainings(app: App, acting: Acting) -> None:
    label_enough(app)
    for day in (22, 29):
        with acting("retrain"):
            retrain(app, datetime(2026, 11, day, 3, tzinfo=UTC))
        job_becomes(f"tomodrop-train-202611{day}T030000Z", training_job_status="Failed")


def a_set_that_is_refused_twice(app: App, acting: Acting) -> None:
    label(app, "covid/p1/a")
    for day in (22, 29):
        with acting("retrain"):
            retrain(app, datetime(2026, 11, day, 3, tzinfo=UTC))


def a_large_training_that_breaks_off(app: App, acting: Acting) -> None:
    """Each file that goes in parts meets a part that S3 refuses."""
    label_enough(app)
    label(app, "covid/p1/x", "non_covid/p1/x", pixels=pixels_of("x"))  # are left out
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objects, "TransferConfig", partial(TransferConfig, multipart_threshold=1))
        for name in ("train.manifest", "validation.manifest", "held_out.jsonl", "left_out.jsonl"):
            with refusing_parts_of(app, name), acting("retrain"), pytest.raises(ClientError):
                retrain(app, datetime(2026, 11, 22, 3, tzinfo=UTC))


@contextmanager
def refusing_parts_of(app: App, name: str) -> Iterator[None]:
    def hook(params: dict[str, Any], **_: Any) -> tuple[AWSResponse, dict[str, Any]] | None:
        if name not in params["url_path"]:
            return None
        refusal = {"Code": "AccessDenied", "Message": "a part is refused"}
        return AWSResponse("https://refused", 403, HTTPHeaders(), None), {"Error": refusal}

    events: Any = app.s3.meta.events  # typed for hooks that answer nothing
    events.register_first("before-call.s3.UploadPart", hook)
    try:
        yield
    finally:
        events.unregister("before-call.s3.UploadPart", hook)


def a_training_that_goes_live(app: App, acting: Acting) -> None:
    """And somebody who goes back to the model before."""
    go_live(app)
    train(app)
    with running_until_answered(app):
        for _ in range(2):
            with acting(acting.promoter):
                decide(app, acting.promoter)
            answer_evaluations(app)
    with acting("promote"):
        roll_back(app, MODEL.training_job)


def a_training_whose_model_is_there_already(app: App, acting: Acting) -> None:
    train(app)
    described: dict[str, Any] = dict(app.sagemaker.describe_training_job(TrainingJobName=TRAINING))
    app.sagemaker.create_model(**model_request(app.settings, described))
    with (
        acting(acting.promoter),
        refusing(app.sagemaker, "CreateModel", "ValidationException"),
    ):
        decide(app, acting.promoter)


def decide(app: App, promoter: str) -> None:
    if promoter == "promote":
        promote(app, TRAINING)
    else:
        sweep(app, datetime.now(UTC))


def what_nobody_heard_of(app: App, acting: Acting) -> None:
    go_live(app)
    for key in ("incoming/lost.png", "labelled/covid/p1/lost.png"):
        upload(app, key, png())
    take_in(acting, upload(app, "labelled/covid/p2/a.png", png()))
    take_in(acting, upload(app, "incoming/a.png", png()))
    job = submit(app, acting)
    job_becomes(job, transform_job_status="InProgress")
    train(app)
    with acting("sweep"), answering(app.sagemaker, "StopTransformJob", {}):
        sweep(app, datetime.now(UTC) + timedelta(days=2))


def a_sweep_that_goes_on_next_time(app: App, acting: Acting) -> None:
    upload(app, "incoming/lost.png", png())
    with acting("sweep"):
        for seconds_left in (0.0, 900.0):
            sweep(app, datetime.now(UTC), partial(float, seconds_left))


def a_receipt_that_breaks_off_and_goes_on(app: App, acting: Acting) -> None:
    go_live(app)
    predict(app, acting, "incoming/a.png")
    take_in(acting, upload(app, "incoming/b.png", b"no picture"))
    take_in(acting, upload(app, "labelled/b.png", b"no picture"))
    now = datetime.now(UTC)
    with pytest.MonkeyPatch.context() as patch, acting("sweep"):
        take_receipt(app, now, partial(float, 0.0))
        patch.setattr(objects, "TransferConfig", partial(TransferConfig, multipart_threshold=1))
        with refusing_parts_of(app, "reports/audit"), suppress(ClientError):
            take_receipt(app, now, partial(float, 900.0))
        go_on_with_audit(app, now, partial(float, 900.0))


def a_sweep_past_old_rejections(app: App, acting: Acting) -> None:
    """One of a version whose successor nobody heard of, one that intake could not let go."""
    lost, kept = "labelled/lost.png", "labelled/covid/p1/kept.png"
    take_in(acting, *(upload(app, key, b"no picture", "0010") for key in (lost, kept)))
    upload(app, lost, png())
    good = upload(app, kept, png())
    with refusing(app.s3, "HeadObject", "AccessDenied", status=403), suppress(ClientError):
        take_in(acting, good)
    with acting("sweep"):
        sweep(app, datetime.now(UTC) + timedelta(days=2))


def predictions_that_are_compared_with_the_training(app: App, acting: Acting) -> None:
    go_live(app)
    predict(app, acting, "incoming/a.png")
    with acting("sweep"):
        watch_drift(app, datetime.now(UTC))


WAYS: tuple[Way, ...] = (
    uploads_of_every_kind,
    an_upload_that_is_gone,
    a_rejection_that_is_older_than_the_prediction,
    two_rejections_of_one_key,
    a_labelled_rejection_and_then_a_good_version,
    a_job_that_was_made_and_not_noted,
    a_part_that_has_expired,
    a_job_that_has_no_room_yet,
    two_trainings,
    a_set_that_is_refused_twice,
    a_large_training_that_breaks_off,
    what_nobody_heard_of,
    a_sweep_that_goes_on_next_time,
    a_sweep_past_old_rejections,
    a_receipt_that_breaks_off_and_goes_on,
    predictions_that_are_compared_with_the_training,
)
# They end in collect and promote, or in the sweep, which does the same for events that were lost.
ENDS: tuple[Way, ...] = (
    a_prediction_and_then_a_rejection,
    a_rejection_and_then_a_prediction,
    a_prediction_that_is_older_than_the_rejection,
    two_predictions_of_one_key,
    no_answer_at_any_attempt,
    a_training_that_goes_live,
    a_training_whose_model_is_there_already,
)


@pytest.fixture(scope="module")
def calls(connected: App) -> dict[str, list[Call]]:
    """What each step called on all its ways."""
    acting = Acting()
    recorder = Recorder(acting.record, ACCOUNT)
    with ExitStack() as hooks:
        for client in clients_of(connected):
            for event, hook in recorder.hooks:
                client.meta.events.register(event, hook)
                hooks.callback(client.meta.events.unregister, event, hook)
        for way in (*WAYS, *ENDS, acting.events_are_lost, *ENDS):
            with mock_aws():
                create_resources(connected)
                way(connected, acting)
    return {
        step: [Call(action, resource, json.loads(text)) for action, resource, text in sorted(found)]
        for step, found in acting.calls.items()
    }


@pytest.fixture(scope="module")
def stack() -> Deployed:
    return deploy()


def role_of(stack: Deployed, step: str) -> Role:
    return role(stack, f"{step.capitalize()}Role")


@pytest.mark.parametrize("step", STEPS)
def test_every_call_is_allowed(stack: Deployed, calls: dict[str, list[Call]], step: str) -> None:
    granted = role_of(stack, step)
    assert calls[step]
    assert [call for call in calls[step] if not granted.grants_of(call)] == []


@pytest.mark.parametrize("step", STEPS)
def test_everything_allowed_is_called(
    stack: Deployed, calls: dict[str, list[Call]], step: str
) -> None:
    assert unused(role_of(stack, step), calls[step]) == []


def unused(granted: Role, calls: list[Call]) -> list[Grant]:
    """What no call needs, and what AWS itself calls left aside."""
    used: set[Grant] = set().union(*(granted.grants_of(call) for call in calls))
    return sorted(grant for grant in granted.grants - used if grant.sid not in OF_THE_PLATFORM)


# ---- the two above fail when the policies are wrong


@pytest.mark.parametrize("step", [step for step in STEPS if step != "sweep"])
def test_no_statement_can_be_spared(
    stack: Deployed, calls: dict[str, list[Call]], step: str
) -> None:
    """But for those of the sweep, which has the policies of two other steps besides its own."""
    statements = role_of(stack, step).statements
    spared = [
        left_out["Sid"]
        for left_out in statements
        if left_out["Sid"] not in OF_THE_PLATFORM
        and all(
            Role(tuple(kept for kept in statements if kept is not left_out)).grants_of(call)
            for call in calls[step]
        )
    ]
    assert spared == []


def test_a_statement_too_many_is_found(stack: Deployed, calls: dict[str, list[Call]]) -> None:
    more = {"Sid": "More", "Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:x/*"}
    granted = Role((*role_of(stack, "dispatch").statements, more))
    assert [grant.sid for grant in unused(granted, calls["dispatch"])] == ["More"]


def test_an_action_too_many_is_found(stack: Deployed, calls: dict[str, list[Call]]) -> None:
    *others, last = role_of(stack, "dispatch").statements
    wider = {**last, "Action": [*as_list(last["Action"]), "s3:DeleteObject"]}
    found = unused(Role((*others, wider)), calls["dispatch"])
    assert [grant.action for grant in found] == ["s3:DeleteObject"]


def test_what_the_platform_calls_is_called_by_no_step(
    stack: Deployed, calls: dict[str, list[Call]]
) -> None:
    """Or it would need no excuse."""
    used = {
        grant.sid
        for step in STEPS
        for call in calls[step]
        for grant in role_of(stack, step).grants_of(call)
    }
    granted = {grant.sid for step in STEPS for grant in role_of(stack, step).grants}
    assert used & OF_THE_PLATFORM.keys() == set()
    assert OF_THE_PLATFORM.keys() <= granted
