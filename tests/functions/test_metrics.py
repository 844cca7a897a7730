"""Alarms and the dashboard watch only what the real handlers say."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import collect
import dispatch
import intake
import promote
import retrain
import sweep
from tests.functions.builders import (
    JOB,
    MODEL,
    REPOSITORY,
    go_live,
    lines_of,
    png,
    put_answers,
    s3_event,
    source,
    upload,
)
from tests.functions.conftest import Context
from tests.functions.evaluations import JOB as TRAINING
from tests.functions.evaluations import train
from tests.functions.interference import answering, refusing
from tests.functions.test_drift import noted
from tests.template.deployed import deploy
from tests.template.deployed import source as template
from tomodrop import keys, objects
from tomodrop.batches import Batches, Part
from tomodrop.clients import App
from tomodrop.drift import psi
from tomodrop.live_model import write_live_model
from tomodrop.slices import write_lines
from tomodrop.summaries import JobStatistics, Summary
from tomodrop.windows import window_of

SCHEDULED = {"scheduled_time": "2026-11-24T15:39:00Z"}
Emf = dict[str, Any]
# Namespace, name and dimensions; and the values that were said.
Metric = tuple[str, str, frozenset[tuple[str, str]]]
Said = dict[Metric, list[float]]


def said(output: str) -> Said:
    """The metrics in what a handler printed (CloudWatch's embedded metric format)."""
    found: Said = {}
    for line in output.splitlines():
        entry: Emf = json.loads(line) if line.startswith("{") else {}
        for directive in entry.get("_aws", {}).get("CloudWatchMetrics", []):
            dimensions = frozenset((name, entry[name]) for name in directive["Dimensions"][0])
            for metric in directive["Metrics"]:
                name = (directive["Namespace"], metric["Name"], dimensions)
                values = entry[metric["Name"]]
                found.setdefault(name, []).extend(values if isinstance(values, list) else [values])
    return found


def take_in(stack: App) -> None:
    records = [upload(stack, "incoming/a.png", png()), upload(stack, "incoming/b.png", b"no")]
    intake.handler(s3_event(*records), Context())


def submit(stack: App) -> None:
    go_live(stack)
    batch = window_of(datetime.now(UTC) - timedelta(hours=1), stack.settings.window_seconds)
    assert Batches(stack.table).open_window(batch)
    key, work = f"{keys.batch_index(batch)}part.jsonl", stack.settings.work_bucket
    objects.write(stack.s3, work, key, write_lines(lines_of(source())), "text/plain")
    dispatch.handler(SCHEDULED, Context())


def collect_half(stack: App) -> None:
    """A job whose first upload has an answer and whose second has none, at the last attempt."""
    lines = [*lines_of(source("incoming/a")), *lines_of(source("incoming/b"))]
    slices, work = keys.part_slices(JOB.batch, JOB.part, 1), stack.settings.work_bucket
    objects.write(stack.s3, work, slices, write_lines(lines), "text/plain")
    batches, part = Batches(stack.table), Part(JOB.batch, JOB.part, "READY", 1, slices)
    batches.add_part(part)
    batches.submit(part, str(JOB), MODEL.model_dump(mode="json"))
    face = f"{keys.batch_slices(JOB.batch)}{lines[0].slice_id}.png"
    objects.write(stack.s3, work, face, png(), "image/png")
    put_answers(stack, JOB, lines[:1], b'{"prediction": [0.25, 0.75]}')
    event = json.loads((REPOSITORY / "events/transform-failed.json").read_text())
    event["detail"]["TransformJobName"] = str(JOB)
    collect.handler(event, Context())


def fail_training(stack: App) -> None:
    train(stack, "Failed", TRAINING)
    event = json.loads((REPOSITORY / "events/training-failed.json").read_text())
    event["detail"]["TrainingJobName"] = TRAINING
    promote.handler(event, Context())


def sweep_a_drift(stack: App) -> None:
    """Enough predictions of today's, all of one grey; the training's are of two."""
    learnt, came_in = Summary(), Summary()
    for number in range(400):
        learnt.count_upload(("covid", "non_covid")[number % 2])
        learnt.count_numbers(100 + number % 2, 50 + number % 2, 0.5 + number % 2 / 10)
        came_in.count_upload("covid", 0.9)
        came_in.count_numbers(100, 50, 0.5)
    record = noted(learnt)
    key, work = f"training/{MODEL.training_job}/job.json", stack.settings.work_bucket
    objects.write(stack.s3, work, key, json.dumps(record).encode(), "application/json")
    write_live_model(stack, MODEL)
    counted = JobStatistics(job=str(JOB), model=MODEL.training_job, summary=came_in)
    key = f"reports/{datetime.now(UTC):%Y%m%dT%H%M%SZ}/{JOB}/statistics.json"
    body, bucket = counted.model_dump_json().encode(), stack.settings.predictions_bucket
    objects.write(stack.s3, bucket, key, body, "application/json")
    sweep.handler(SCHEDULED, Context())


STEPS: dict[str, Callable[[App], object]] = {
    "intake": take_in,
    "dispatch without a model": lambda _: dispatch.handler(SCHEDULED, Context()),
    "dispatch": submit,
    "collect": collect_half,
    "retrain": lambda _: retrain.handler(SCHEDULED, Context()),
    "promote": fail_training,
    "sweep": sweep_a_drift,
}


@pytest.fixture
def run(stack: App, capsys: pytest.CaptureFixture[str]) -> Callable[[str], Said]:
    """Run one step's handler; returns the metrics that it said."""

    def step(name: str) -> Said:
        capsys.readouterr()
        STEPS[name](stack)
        return said(capsys.readouterr().out)

    return step


def value(metrics: Said, name: str) -> float:
    [values] = [values for (_, found, _), values in metrics.items() if found == name]
    return sum(values)


# ---- what each says


def test_dispatch_says_that_there_is_no_model(run: Callable[[str], Said]) -> None:
    metrics = run("dispatch without a model")
    assert value(metrics, "LiveModel_missing") == 1
    assert "LiveModel_age_days" not in {name for _, name, _ in metrics}


def test_dispatch_says_how_old_the_model_is_and_what_the_jobs_will_cost(
    run: Callable[[str], Said],
) -> None:
    metrics = run("dispatch")
    age_days = (datetime.now(UTC) - MODEL.trained_at) / timedelta(days=1)
    assert value(metrics, "LiveModel_missing") == 0
    assert value(metrics, "LiveModel_age_days") == pytest.approx(max(0, age_days), abs=0.02)
    assert value(metrics, "TransformJobs_made") == 1
    # One slice on a g4dn.xlarge: the start-up, at its hourly price.
    assert value(metrics, "Jobs_usd") == pytest.approx(0.0675, abs=1e-4)


def test_collect_says_that_a_job_failed(run: Callable[[str], Said]) -> None:
    metrics = run("collect")
    assert value(metrics, "TransformJobs_failed") == 1
    assert value(metrics, "Results_predicted") == 1
    assert value(metrics, "Results_retried") == 1


def test_a_completed_job_and_one_that_nothing_waits_for_are_no_failures(
    stack: App, capsys: pytest.CaptureFixture[str]
) -> None:
    event = json.loads((REPOSITORY / "events/transform-failed.json").read_text())
    collect.handler(event, Context())
    assert value(said(capsys.readouterr().out), "TransformJobs_failed") == 0


def test_promote_says_that_a_training_failed(run: Callable[[str], Said]) -> None:
    assert value(run("promote"), "Models_failed") == 1


def test_promote_says_what_a_training_cost(stack: App, capsys: pytest.CaptureFixture[str]) -> None:
    train(stack, "Failed", TRAINING)
    described: dict[str, Any] = dict(
        stack.sagemaker.describe_training_job(TrainingJobName=TRAINING)
    )
    event = json.loads((REPOSITORY / "events/training-failed.json").read_text())
    event["detail"]["TrainingJobName"] = TRAINING
    with answering(
        stack.sagemaker, "DescribeTrainingJob", described | {"BillableTimeInSeconds": 7200}
    ):
        promote.handler(event, Context())
    assert value(said(capsys.readouterr().out), "Jobs_usd") == pytest.approx(2 * 0.7364)


def test_sweep_says_how_far_what_comes_in_has_drifted(run: Callable[[str], Said]) -> None:
    metrics = run("sweep")
    assert value(metrics, "Drift_psi") > 0.25
    assert value(metrics, "Drift_classes_psi") > 0.25
    assert value(metrics, "UploadsOverdue") == 0


def test_sweep_says_what_it_could_not_see_to(
    stack: App, run: Callable[[str], Said], capsys: pytest.CaptureFixture[str]
) -> None:
    assert value(run("sweep"), "Sweep_faults") == 0
    submit(stack)
    capsys.readouterr()
    with refusing(stack.sagemaker, "DescribeTransformJob", "AccessDeniedException"):
        sweep.handler(SCHEDULED, Context())
    assert value(said(capsys.readouterr().out), "Sweep_faults") == 1


# ---- what is watched


@pytest.fixture(scope="module")
def watched() -> list[Metric]:
    """Our own metrics in the alarms and on the dashboard."""
    found = [metric for alarm in alarms().values() for metric in metrics_of_alarm(alarm)]
    found += [metric for widget in widgets() for metric in metrics_of_widget(widget)]
    return [metric for metric in found if metric[0] == "Tomodrop"]


def alarms() -> dict[str, dict[str, Any]]:
    return deploy().of_type("AWS::CloudWatch::Alarm")


def widgets() -> list[dict[str, Any]]:
    body: dict[str, Any] = json.loads(deploy().properties("Dashboard")["DashboardBody"])
    return list(body["widgets"])


def metrics_of_alarm(alarm: dict[str, Any]) -> Iterator[Metric]:
    queries = [query["MetricStat"] for query in alarm.get("Metrics", []) if "MetricStat" in query]
    for metric in [query["Metric"] for query in queries] or [alarm]:
        dimensions = frozenset((one["Name"], one["Value"]) for one in metric["Dimensions"])
        yield metric["Namespace"], metric["MetricName"], dimensions


def metrics_of_widget(widget: dict[str, Any]) -> Iterator[Metric]:
    for namespace, name, *rest in widget["properties"].get("metrics", []):
        yield namespace, name, frozenset(zip(rest[::2], rest[1::2], strict=True))


def test_every_metric_that_is_watched_is_said_by_a_handler(
    run: Callable[[str], Said], watched: list[Metric]
) -> None:
    steps = [step for step in STEPS if step != "dispatch without a model"]
    emitted = {metric for step in steps for metric in run(step)}
    assert len(watched) > 10
    assert [metric for metric in watched if metric not in emitted] == []


def test_the_services_metrics_are_of_this_stacks_queues_and_functions() -> None:
    found = [metric for alarm in alarms().values() for metric in metrics_of_alarm(alarm)]
    found += [metric for widget in widgets() for metric in metrics_of_widget(widget)]
    stack = deploy()
    names = {
        "AWS/SQS": {queue["QueueName"] for queue in stack.of_type("AWS::SQS::Queue").values()},
        "AWS/Lambda": {f["FunctionName"] for f in stack.of_type("AWS::Lambda::Function").values()},
    }
    for namespace, _, dimensions in found:
        if namespace != "Tomodrop":
            [(_, name)] = dimensions
            assert name in names[namespace], name


def test_every_alarm_tells_people_and_the_dashboard_shows_it() -> None:
    topic = deploy().outputs["NoticesTopic"]
    [shown] = [widget["properties"]["alarms"] for widget in widgets() if widget["type"] == "alarm"]
    assert all(alarm["AlarmActions"] == [topic] for alarm in alarms().values())
    assert [arn.rpartition(":")[2] for arn in shown] == [a["AlarmName"] for a in alarms().values()]


def test_functions_watched_for_errors_are_all_of_them() -> None:
    functions = {f["FunctionName"] for f in deploy().of_type("AWS::Lambda::Function").values()}
    for alarm in ("FunctionErrorsAlarm", "FunctionThrottlesAlarm"):
        found = {name for _, _, pairs in metrics_of_alarm(alarms()[alarm]) for _, name in pairs}
        assert found == functions


def test_a_single_fault_of_the_sweep_raises_an_alarm() -> None:
    alarm = alarms()["SweepFaultsAlarm"]
    assert alarm["MetricName"] == "Sweep_faults"
    assert alarm["Statistic"] == "Sum"
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("GreaterThanThreshold", 0)


def test_thresholds_follow_their_parameters() -> None:
    stack = deploy(AlarmDailyUsd="3", AlarmModelAgeDays="7", AlarmClassDriftPsi="2")
    assert stack.properties("CostAlarm")["Threshold"] == "3"
    assert stack.properties("OldModelAlarm")["Threshold"] == "7"
    assert stack.properties("ClassDriftAlarm")["Threshold"] == "2"


# ---- what people read


def test_every_alarm_has_a_section_that_says_what_to_type() -> None:
    text = (REPOSITORY / "docs/operations.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### ([a-z-]+)\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL))
    names = {a["AlarmName"].removeprefix("tomodrop-"): a for a in alarms().values()}
    assert set(sections) == set(names)
    for name, alarm in names.items():
        assert f"docs/operations.md#{name}." in alarm["AlarmDescription"]
        assert "```bash" in sections[name], name


def test_each_parameter_of_an_alarm_is_explained() -> None:
    text = (REPOSITORY / "docs/operations.md").read_text(encoding="utf-8")
    assert [
        name for name in template()["Parameters"] if name.startswith("Alarm") and name not in text
    ] == []


def test_what_is_said_of_the_threshold_of_class_drift_is_so() -> None:
    text = (REPOSITORY / "docs/operations.md").read_text(encoding="utf-8")
    [shares] = re.findall(
        r"^\| one is predicted for … of the uploads \|(.*)\|$", text, re.MULTILINE
    )
    [indexes] = re.findall(r"^\| `Drift_classes_psi` \|(.*)\|$", text, re.MULTILINE)
    table = {
        int(share.rstrip(" %")): float(index)
        for share, index in zip(shares.split("|"), indexes.split("|"), strict=True)
    }
    for share, index in table.items():
        many = [share * 10_000, (100 - share) * 10_000]
        assert psi([500_000, 500_000], many) == pytest.approx(index, abs=0.006)
    parameter = template()["Parameters"]["AlarmClassDriftPsi"]
    assert "fewer than 8 %" in parameter["Description"]
    assert table[8] > parameter["Default"] > table[10]
