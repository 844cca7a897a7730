"""Template parameters are refused as CloudFormation refuses them, all faults at once."""

from typing import Any

import pytest

from local.errors import ParameterErrors
from local.parameters import resolve_parameters

DECLARED: dict[str, dict[str, Any]] = {
    "Minutes": {"Type": "Number", "Default": 5, "MinValue": 0.05, "MaxValue": 60},
    "Rate": {"Type": "Number", "Default": 0.00001},
    "Depth": {"Type": "Number", "Default": 152, "AllowedValues": [18, 34, 152]},
    "State": {"Type": "String", "Default": "ENABLED", "AllowedValues": ["ENABLED", "DISABLED"]},
    "Spot": {"Type": "String", "Default": False, "AllowedValues": [True, False]},
    "Prefix": {
        "Type": "String",
        "Default": "abc",
        "AllowedPattern": "[a-z]+",
        "MinLength": 2,
        "MaxLength": 5,
        "ConstraintDescription": "small letters",
    },
    "Names": {"Type": "CommaDelimitedList", "Default": "a,b", "AllowedValues": ["a", "b", "c"]},
}


def faults(**given: str) -> tuple[str, ...]:
    with pytest.raises(ParameterErrors) as refused:
        resolve_parameters(DECLARED, given)
    return refused.value.faults


def test_defaults_are_text_as_cloudformation_writes_it() -> None:
    values = resolve_parameters(DECLARED, {})
    assert values["Minutes"] == "5"
    assert values["Rate"] == "0.00001"
    assert values["Spot"] == "false"


def test_a_given_value_keeps_its_spelling() -> None:
    values = resolve_parameters(DECLARED, {"Minutes": "0.10", "Depth": "18.0", "Names": "c,a"})
    assert values["Minutes"] == "0.10"
    assert values["Depth"] == "18.0"
    assert values["Names"] == "c,a"


@pytest.mark.parametrize("value", ["60", "0.05", "6e1"])
def test_bounds_themselves_are_allowed(value: str) -> None:
    assert resolve_parameters(DECLARED, {"Minutes": value})["Minutes"] == value


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"Minutes": "0.04"}, "Minutes=0.04: must be at least 0.05."),
        ({"Minutes": "61"}, "Minutes=61: must be at most 60."),
        ({"Minutes": "soon"}, "Minutes=soon: is not a number."),
        ({"Minutes": ""}, "Minutes=: is not a number."),
        ({"Depth": "50"}, "Depth=50: must be one of: 18, 34, 152."),
        ({"State": "enabled"}, "State=enabled: must be one of: ENABLED, DISABLED."),
        ({"Spot": "yes"}, "Spot=yes: must be one of: true, false."),
        ({"Prefix": "ABC"}, "Prefix=ABC: must match [a-z]+. (small letters)"),
        ({"Prefix": "a"}, "Prefix=a: must have at least 2 characters. (small letters)"),
        ({"Prefix": "abcdef"}, "Prefix=abcdef: must have at most 5 characters. (small letters)"),
        ({"Names": "a,d"}, "Names=a,d: must be one of: a, b, c."),
        ({"Minute": "5"}, "Minute is no parameter of this template. Did you mean Minutes?"),
        ({"Xyzzy": "5"}, "Xyzzy is no parameter of this template."),
    ],
)
def test_a_refusal_names_the_parameter_and_its_bound(given: dict[str, str], said: str) -> None:
    assert faults(**given) == (said,)


def test_not_a_number_is_within_no_bounds() -> None:
    assert len(faults(Minutes="nan")) == 2


def test_a_parameter_without_default_has_to_be_given() -> None:
    with pytest.raises(ParameterErrors, match="Bucket has no default"):
        resolve_parameters({"Bucket": {"Type": "String"}}, {})


def test_all_faults_are_told_at_once() -> None:
    said = faults(Minutes="0", Depth="7", Nonsense="1")
    assert [fault.split(" ")[0].split("=")[0] for fault in said] == ["Nonsense", "Minutes", "Depth"]
