"""template.yaml is expanded, named and accounted for before anything is created."""

import json
from pathlib import Path
from typing import Any

import pytest

from local.bucket_supplements import lifecycle_rule, notification_configuration
from local.errors import TemplateError
from local.supplements import check_coverage, known_to_moto
from local.template import expand_template, keep_number_spelling

SMALL = Path(__file__).parent / "data" / "template.yaml"


def expand(path: Path = SMALL, **given: str) -> Any:
    return expand_template(path, given, stack="tomodrop", region="us-east-1")


def written(folder: Path, **resources: Any) -> Path:
    """A template with these resources, as a file."""
    path = folder / "template.yaml"
    path.write_text(json.dumps({"Transform": "AWS::Serverless-2016-10-31", "Resources": resources}))
    return path


def test_functions_become_cloudformation_with_their_code_noted() -> None:
    expanded = expand()
    kinds = {name: entry["Type"] for name, entry in expanded.body["Resources"].items()}
    assert kinds["QueueFunction"] == "AWS::Lambda::Function"
    assert kinds["QueueFunctionMessages"] == "AWS::Lambda::EventSourceMapping"
    assert kinds["HourlyFunctionHourly"] == "AWS::Scheduler::Schedule"
    assert expanded.code_folders["QueueFunction"] == SMALL.parent / "functions"


def test_names_are_the_same_at_every_start_and_differ_between_stacks() -> None:
    first, again = expand(), expand()
    other = expand_template(SMALL, {}, stack="other", region="us-east-1")

    def name(expanded: Any) -> str:
        return str(expanded.body["Resources"]["Work"]["Properties"]["QueueName"])

    assert name(first) == name(again) != name(other)


def test_a_number_keeps_its_spelling_where_it_is_text() -> None:
    body = {
        "Parameters": {"Rate": {"Type": "Number"}, "Name": {"Type": "String"}},
        "Resources": {
            "F": {
                "Type": "AWS::Lambda::Function",
                "Properties": {
                    "Timeout": {"Ref": "Rate"},
                    "Environment": {"Variables": {"RATE": {"Ref": "Rate"}, "N": {"Ref": "Name"}}},
                    "Description": {"Fn::Sub": "at ${Rate} of ${Name}"},
                    "Tags": {"Fn::Sub": ["${a} ${Rate}", {"a": {"Ref": "Rate"}}]},
                    "Handler": {"Fn::FindInMap": ["Map", {"Ref": "Rate"}, 7]},
                },
            }
        },
    }
    properties = keep_number_spelling(body, {"Rate": "1.50", "Name": "x"})["Resources"]["F"][
        "Properties"
    ]
    assert properties["Timeout"] == {"Ref": "Rate"}
    assert properties["Environment"]["Variables"] == {"RATE": "1.50", "N": {"Ref": "Name"}}
    assert properties["Description"] == {"Fn::Sub": "at 1.50 of ${Name}"}
    assert properties["Tags"] == {"Fn::Sub": ["${a} 1.50", {"a": "1.50"}]}
    assert properties["Handler"] == {"Fn::FindInMap": ["Map", "1.50", "7"]}


def test_a_missing_template_is_said(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="Cannot read the template"):
        expand(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("content", ["a: [", "- a list", "Resources: text", ""])
def test_what_is_no_template_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "template.yaml"
    path.write_text(content)
    with pytest.raises(TemplateError):
        expand(path)


def test_what_aws_sam_refuses_is_refused_in_its_words(tmp_path: Path) -> None:
    path = written(
        tmp_path, F={"Type": "AWS::Serverless::Function", "Properties": {"CodeUri": "."}}
    )
    with pytest.raises(TemplateError, match="F"):
        expand(path)


def test_code_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    function = {"Type": "AWS::Serverless::Function", "Properties": {"CodeUri": "nowhere/"}}
    with pytest.raises(TemplateError, match="F: CodeUri 'nowhere/'"):
        expand(written(tmp_path, F=function))


def test_a_type_that_does_not_exist_here_is_refused_by_name(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        Pool={"Type": "AWS::Cognito::UserPool"},
        Queue={"Type": "AWS::SQS::Queue", "Properties": {"FifoQueue": True}},
    )
    with pytest.raises(TemplateError) as refused:
        check_coverage(expand(path).body)
    assert "Pool: AWS::Cognito::UserPool" in str(refused.value)
    assert "Queue: property FifoQueue of AWS::SQS::Queue" in str(refused.value)


def test_moto_gets_only_what_it_knows() -> None:
    body = expand().body
    check_coverage(body)
    left_out = set(body["Resources"]) - set(known_to_moto(body)["Resources"])
    assert left_out == {
        "DailyFunctionDaily",
        "HourlyFunctionHourly",
        "InboxPolicy",
        "UploadsPolicy",
    }


def test_lifecycle_rules_are_put_in_s3s_words() -> None:
    assert lifecycle_rule(
        {"Id": "old", "Status": "Enabled", "Prefix": "batches/", "ExpirationInDays": 14}
    ) == {
        "ID": "old",
        "Status": "Enabled",
        "Filter": {"Prefix": "batches/"},
        "Expiration": {"Days": 14},
    }


@pytest.mark.parametrize(
    "wanted",
    [
        {"LambdaConfigurations": [{"Event": "s3:ObjectCreated:*", "Function": "arn:x"}]},
        {"EventBridgeConfiguration": {"EventBridgeEnabled": True}},
        {"QueueConfigurations": [{"Event": "s3:ObjectRemoved:*", "Queue": "arn:x"}]},
    ],
)
def test_notifications_that_would_never_come_are_refused(wanted: dict[str, Any]) -> None:
    with pytest.raises(TemplateError, match="Uploads"):
        notification_configuration("Uploads", wanted)
