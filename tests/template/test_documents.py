"""What docs/ tells people to type exists: parameters, outputs, and metrics by their names."""

import re

import pytest

from tests.template.deployed import ROOT, deploy, source

DOCUMENTS = ("deploy.md", "operations.md")


def read(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_outputs_that_are_asked_for_are_there(name: str) -> None:
    asked = set(re.findall(r"\$\(output (\w+)\)", read(name)))
    assert len(asked) > 3
    assert asked - deploy().outputs.keys() == set()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_parameters_that_are_named_are_there(name: str) -> None:
    overridden = re.findall(r"--parameter-overrides ((?:\w+=\S+ ?)+)", read(name))
    named = {pair.partition("=")[0] for pairs in overridden for pair in pairs.split()} - {"Name"}
    named |= set(re.findall(r"`([A-Z]\w+)=[^`]*`", read(name)))
    assert named
    assert named - source()["Parameters"].keys() == set()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_log_groups_and_schedules_of_the_stack_are_there(name: str) -> None:
    groups = {one["LogGroupName"] for one in deploy().of_type("AWS::Logs::LogGroup").values()}
    for step in re.findall(r"/aws/lambda/\$STACK-(\w+)", read(name)):
        assert f"/aws/lambda/tomodrop-{step}" in groups
    schedules = {one["Name"] for one in deploy().of_type("AWS::Scheduler::Schedule").values()}
    for step in re.findall(r"get-schedule --name \"\$STACK-(\w+)\"", read(name)):
        assert f"tomodrop-{step}" in schedules


def test_the_sum_of_an_idle_stack_adds_up() -> None:
    section = read("deploy.md").partition("## What an idle stack costs")[2].partition("## ")[0]
    rows = [row.split("|")[1:-1] for row in section.splitlines() if row.startswith("| ")]
    priced = [
        float(cells[-1])
        for cells in rows
        if re.fullmatch(r"[\d.]+", cells[-1].strip()) and "if given" not in cells[0]
    ]
    [together] = re.findall(r"\*\*([\d.]+)\*\*", section)
    assert sum(priced) == pytest.approx(float(together), abs=0.005)


def test_teardown_empties_every_bucket() -> None:
    [listed] = re.findall(r"for name in ([a-z\- ]+); do\n  bucket=", read("deploy.md"))
    buckets = {one["BucketName"] for one in deploy().of_type("AWS::S3::Bucket").values()}
    assert {f"tomodrop-{name}-123456789012" for name in listed.split()} == buckets


def test_alarms_are_counted_rightly() -> None:
    """In the sum of what an idle stack costs: one for each metric that an alarm looks at."""
    alarms = deploy().of_type("AWS::CloudWatch::Alarm").values()
    single = sum("Metrics" not in alarm for alarm in alarms)
    assert f"| alarms* | {single} x 0.10, and two over six functions: 12 x 0.10 |" in read(
        "deploy.md"
    )
