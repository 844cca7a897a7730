"""The real template, deployed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.cloud import ACCOUNT, Cloud

TEMPLATE = Path(__file__).parents[2] / "template.yaml"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    parameters = {"WindowMinutes": "0.1", "LearningRate": "0.00010", "RetrainState": "DISABLED"}
    state = tmp_path_factory.mktemp("real")
    with Cloud(template=TEMPLATE, parameters=parameters, state_dir=state) as cloud:
        yield cloud


def test_it_has_the_outputs_that_people_script_against(real: Cloud) -> None:
    assert set(real.outputs) >= {
        "UploadsBucket",
        "WorkBucket",
        "PredictionsBucket",
        "IntakeQueueUrl",
        "IntakeDeadLetterQueueUrl",
        "EventDeadLetterQueueUrl",
        "BatchTable",
        "LiveModelParameter",
    }


def test_functions_get_their_parameters_as_they_were_given(real: Cloud) -> None:
    environment = real.environment("DispatchFunction")
    assert environment["WINDOW_MINUTES"] == "0.1"
    assert "learning_rate=0.00010" in environment["HYPERPARAMETERS"]
    assert environment["UPLOADS_BUCKET"] == real.outputs["UploadsBucket"]


def test_buckets_are_versioned_and_closed(real: Cloud) -> None:
    s3 = real.client("s3")
    for name in ("UploadsBucket", "WorkBucket", "PredictionsBucket"):
        bucket = {"Bucket": real.outputs[name]}
        assert s3.get_bucket_versioning(**bucket)["Status"] == "Enabled"
        closed = s3.get_public_access_block(**bucket)["PublicAccessBlockConfiguration"]
        assert all(closed.values())
        assert s3.get_bucket_lifecycle_configuration(**bucket)["Rules"]


def test_there_is_nothing_beside_the_stacks_own_buckets(real: Cloud) -> None:
    listed = {bucket["Name"] for bucket in real.client("s3").list_buckets()["Buckets"]}
    assert listed == {
        *(real.outputs[name] for name in ("UploadsBucket", "WorkBucket", "PredictionsBucket")),
        f"tomodrop-access-logs-{ACCOUNT}",
    }


def test_schedules_stand_as_the_parameters_say(real: Cloud) -> None:
    described = real.client("scheduler").list_schedules()["Schedules"]
    states = {entry["Name"]: entry["State"] for entry in described}
    assert states == {
        "tomodrop-dispatch": "ENABLED",
        "tomodrop-retrain": "DISABLED",
        "tomodrop-sweep": "ENABLED",
    }


def test_notices_have_a_topic_with_its_policy_and_no_subscriber(real: Cloud) -> None:
    sns, topic = real.client("sns"), real.outputs["NoticesTopic"]
    policy = sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"]
    assert "cloudwatch.amazonaws.com" in policy
    assert sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == []


def test_alarms_and_dashboard_stand_and_tell_the_topic(real: Cloud) -> None:
    cloudwatch, topic = real.client("cloudwatch"), real.outputs["NoticesTopic"]
    alarms = cloudwatch.describe_alarms()["MetricAlarms"]
    assert len(alarms) > 10
    assert all(alarm["AlarmActions"] == [topic] for alarm in alarms)
    assert "tomodrop-no-live-model" in {alarm["AlarmName"] for alarm in alarms}
    body = json.loads(cloudwatch.get_dashboard(DashboardName="tomodrop")["DashboardBody"])
    named = body["widgets"][0]["properties"]["alarms"]
    assert {arn.rpartition(":")[2] for arn in named} == {alarm["AlarmName"] for alarm in alarms}
