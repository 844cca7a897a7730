"""Conditions of a template, worked out as CloudFormation does."""

from typing import Any

import pytest

from local.conditions import settle_conditions
from local.errors import TemplateError

NOTHING = {"Ref": "AWS::NoValue"}
EMPTY = {"Fn::Equals": [{"Ref": "Key"}, ""]}
MANY = {"Fn::Not": [{"Fn::Equals": [{"Ref": "Count"}, 0]}]}
CONDITIONS: dict[str, Any] = {
    "HasKey": {"Fn::Not": [EMPTY]},
    "HasMany": MANY,
    "HasBoth": {"Fn::And": [{"Condition": "HasKey"}, {"Condition": "HasMany"}]},
    "HasOne": {"Fn::Or": [{"Condition": "HasKey"}, {"Condition": "HasMany"}]},
    "Here": {"Fn::Equals": [{"Ref": "AWS::Region"}, "us-east-1"]},
    "OnlyTruth": {"Fn::Equals": [True, "true"]},
}


def settle(properties: Any, key: str = "", count: str = "0", **entry: Any) -> Any:
    body = {
        "Conditions": CONDITIONS,
        "Resources": {"Thing": {"Type": "A::B", "Properties": properties, **entry}},
    }
    known = {"Key": key, "Count": count, "AWS::Region": "us-east-1"}
    settled = settle_conditions(body, known)
    assert "Conditions" not in settled
    return settled["Resources"].get("Thing", {}).get("Properties")


def choice(condition: str) -> dict[str, Any]:
    return {"Fn::If": [condition, "yes", "no"]}


@pytest.mark.parametrize(
    ("condition", "key", "count", "expected"),
    [
        ("HasKey", "k", "0", "yes"),
        ("HasKey", "", "0", "no"),
        ("HasMany", "", "3", "yes"),
        ("HasMany", "", "0", "no"),
        ("HasBoth", "k", "3", "yes"),
        ("HasBoth", "k", "0", "no"),
        ("HasOne", "k", "0", "yes"),
        ("HasOne", "", "0", "no"),
        ("Here", "", "0", "yes"),
        ("OnlyTruth", "", "0", "yes"),
    ],
)
def test_a_condition_is_met_or_not(condition: str, key: str, count: str, expected: str) -> None:
    assert settle({"Value": choice(condition)}, key, count) == {"Value": expected}


def test_what_has_no_value_is_not_there_wherever_it_stood() -> None:
    properties = {
        "Gone": {"Fn::If": ["HasKey", "k", NOTHING]},
        "List": [1, {"Fn::If": ["HasKey", 2, NOTHING]}, 3],
        "Deep": [{"Fn::If": ["HasMany", NOTHING, {"A": {"Fn::If": ["HasKey", 1, NOTHING]}}]}],
    }
    assert settle(properties) == {"List": [1, 3], "Deep": [{}]}
    assert settle(properties, key="k", count="1") == {"Gone": "k", "List": [1, 2, 3], "Deep": []}


def test_a_resource_whose_condition_is_not_met_is_not_there() -> None:
    assert settle({"A": 1}, Condition="HasKey") is None
    assert settle({"A": 1}, key="k", Condition="HasKey") == {"A": 1}


def test_a_policys_condition_is_none_of_the_templates() -> None:
    statement = {"Condition": {"Bool": {"aws:SecureTransport": False}}}
    assert settle({"Statement": [statement]}) == {"Statement": [statement]}


def test_an_output_goes_with_its_condition() -> None:
    body = {
        "Conditions": CONDITIONS,
        "Resources": {},
        "Outputs": {"Key": {"Condition": "HasKey", "Value": choice("HasMany")}},
    }
    known = {"Key": "", "Count": "1", "AWS::Region": "us-east-1"}
    assert settle_conditions(body, known)["Outputs"] == {}
    settled = settle_conditions(body, known | {"Key": "k"})
    assert settled["Outputs"] == {"Key": {"Value": "yes"}}


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ({"Fn::Contains": [["a"], "a"]}, "uses Fn::Contains"),
        ({"Fn::Equals": [{"Fn::Join": ["", ["a"]]}, "a"]}, "only Ref is known"),
        ({"Fn::Equals": [{"Ref": "Missing"}, "a"]}, "only Ref is known"),
        ({"Condition": "Missing"}, "no condition Missing"),
    ],
)
def test_a_condition_that_is_not_understood_is_refused(condition: Any, said: str) -> None:
    with pytest.raises(TemplateError, match=said):
        settle_conditions({"Conditions": {"A": condition}, "Resources": {}}, {})


@pytest.mark.parametrize(
    "entry",
    [{"Condition": "Missing"}, {"Properties": {"A": choice("Missing")}}],
)
def test_a_condition_that_is_not_declared_is_refused(entry: dict[str, Any]) -> None:
    body = {"Conditions": CONDITIONS, "Resources": {"Thing": {"Type": "A::B"} | entry}}
    with pytest.raises(TemplateError, match="no condition Missing"):
        settle_conditions(body, {"Key": "", "Count": "0", "AWS::Region": "x"})
