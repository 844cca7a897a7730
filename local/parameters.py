"""Template parameters: checked as CloudFormation checks them, all faults at once.

Pure: declarations and given values in, the text of every parameter out. CloudFormation treats a
parameter as text everywhere, so a Number keeps the spelling it was given ("0.10" stays "0.10").
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from local.errors import ParameterErrors

Declaration = Mapping[str, Any]


def resolve_parameters(
    declared: Mapping[str, Declaration], given: Mapping[str, str]
) -> dict[str, str]:
    """The text of every declared parameter: the given one, else its default.

    Raises ParameterErrors naming every parameter that is unknown, missing or out of bounds.
    """
    faults = [_unknown(name, declared) for name in given if name not in declared]
    values: dict[str, str] = {}
    for name, declaration in declared.items():
        value = given.get(name, declaration.get("Default"))
        if value is None:
            faults.append(f"{name} has no default: give it a value.")
            continue
        values[name] = as_text(value)
        faults += [
            f"{name}={values[name]}: {fault}" for fault in faults_of(values[name], declaration)
        ]
    if faults:
        raise ParameterErrors(faults)
    return values


def as_text(value: Any) -> str:
    """How CloudFormation writes a YAML scalar: true, and 0.00001 without an exponent."""
    if isinstance(value, float):
        return f"{Decimal(str(value)):f}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def faults_of(value: str, declaration: Declaration) -> list[str]:
    """What CloudFormation would refuse about one value, each as the end of a sentence."""
    kind = declaration.get("Type", "String")
    if kind == "CommaDelimitedList":
        return list(_allowed(value.split(","), declaration))
    if kind == "Number":
        return list(_number_faults(value, declaration))
    faults = list(_allowed([value], declaration))
    faults += _text_faults(value, declaration)
    return faults


def _unknown(name: str, declared: Mapping[str, Declaration]) -> str:
    near = difflib.get_close_matches(name, declared, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"{name} is no parameter of this template.{hint}"


def _number_faults(value: str, declaration: Declaration) -> Iterator[str]:
    try:
        number = float(value)
    except ValueError:
        yield "is not a number." + _constraint(declaration)
        return
    allowed = [float(entry) for entry in declaration.get("AllowedValues", [])]
    if allowed and number not in allowed:
        yield _not_allowed(declaration)
    lowest, highest = declaration.get("MinValue"), declaration.get("MaxValue")
    if not (lowest is None or number >= float(lowest)):
        yield f"must be at least {lowest}." + _constraint(declaration)
    if not (highest is None or number <= float(highest)):
        yield f"must be at most {highest}." + _constraint(declaration)


def _text_faults(value: str, declaration: Declaration) -> Iterator[str]:
    shortest, longest = declaration.get("MinLength"), declaration.get("MaxLength")
    if shortest is not None and len(value) < int(shortest):
        yield f"must have at least {shortest} characters." + _constraint(declaration)
    if longest is not None and len(value) > int(longest):
        yield f"must have at most {longest} characters." + _constraint(declaration)
    pattern = declaration.get("AllowedPattern")
    if pattern is not None and re.fullmatch(pattern, value) is None:
        yield f"must match {pattern}." + _constraint(declaration)


def _allowed(values: list[str], declaration: Declaration) -> Iterator[str]:
    allowed = [as_text(entry) for entry in declaration.get("AllowedValues", [])]
    if allowed and not set(values) <= set(allowed):
        yield _not_allowed(declaration)


def _not_allowed(declaration: Declaration) -> str:
    choices = ", ".join(as_text(entry) for entry in declaration["AllowedValues"])
    return f"must be one of: {choices}." + _constraint(declaration)


def _constraint(declaration: Declaration) -> str:
    description = declaration.get("ConstraintDescription")
    return f" ({description})" if description else ""
