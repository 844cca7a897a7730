"""Is this request one that SageMaker would take? Decided by botocore's own service model.

botocore's clients check required members, types and minimum sizes before they send. The service
also checks patterns, enumerations and maximum sizes, and words its answer as here.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape
from botocore.validate import ParamValidator

from local.sagemaker.aws_library import service_model
from local.sagemaker.errors import ValidationError

MAX_SHOWN_VALUE = 256
# The service model's patterns are Java's; these are the classes of it that `re` does not know.
JAVA_CLASSES = {r"\p{L}": r"\w", r"\p{N}": r"\d", r"\p{Z}": r"\s", r"\p{Alnum}": "a-zA-Z0-9"}


def validate(operation: str, request: dict[str, Any]) -> None:
    """Raise ValidationError, naming every constraint that the request breaks."""
    shape = service_model().operation_model(operation).input_shape
    assert shape is not None, "every operation that is offered takes input"
    faults = list(constraint_faults(shape, request))
    if faults:
        plural = "error" if len(faults) == 1 else "errors"
        listed = "; ".join(faults)
        raise ValidationError(f"{len(faults)} validation {plural} detected: {listed}")
    report = ParamValidator().validate(request, shape)
    if report.has_errors():
        raise ValidationError(report.generate_report())


def without_nulls(value: Any) -> Any:
    """The request with null members left out, as the service reads it."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def constraint_faults(shape: Shape, value: Any, path: str = "") -> Iterator[str]:
    """The service's sentence for every constraint broken; wrong types are left to botocore."""
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        yield from _structure_faults(shape, value, path)
    elif isinstance(shape, ListShape) and isinstance(value, list):
        yield from _faults_of(_size_constraints(shape, len(value)), value, path)
        for number, item in enumerate(value, start=1):
            yield from constraint_faults(shape.member, item, f"{path}.{number}.member")
    elif isinstance(shape, MapShape) and isinstance(value, dict):
        yield from _map_faults(shape, value, path)
    else:
        yield from _faults_of(_scalar_constraints(shape, value), value, path)


def _structure_faults(shape: StructureShape, value: dict[str, Any], path: str) -> Iterator[str]:
    for name in shape.metadata.get("required", []):
        if name not in value:
            yield _fault(None, _join(path, name), "Member must not be null")
    for name, item in value.items():
        if name in shape.members:
            yield from constraint_faults(shape.members[name], item, _join(path, name))


def _map_faults(shape: MapShape, value: dict[str, Any], path: str) -> Iterator[str]:
    yield from _faults_of(_size_constraints(shape, len(value)), value, path)
    for part, shown, items in (
        ("keys", shape.key, value.keys()),
        ("value", shape.value, value.values()),
    ):
        if any(_scalar_constraints(shown, item) for item in items):
            rules = ", ".join(_all_rules(shown))
            yield _fault(value, path, f"Map {part} must satisfy constraint: [{rules}]")


def _faults_of(broken: list[str], value: Any, path: str) -> Iterator[str]:
    for rule in broken:
        yield _fault(value, path, rule)


def _scalar_constraints(shape: Shape, value: Any) -> list[str]:
    """The rules that one string or number breaks; none for a value of another type."""
    if isinstance(shape, StringShape) and isinstance(value, str):
        broken = _size_constraints(shape, len(value))
        if shape.enum and value not in shape.enum:
            broken.append(_enum_rule(shape))
        pattern = shape.metadata.get("pattern")
        if pattern and not _compiled(pattern).fullmatch(value):
            broken.append(_pattern_rule(pattern))
        return broken
    if shape.type_name in ("integer", "long", "float", "double") and isinstance(value, int | float):
        return _limits(shape, value, "value")
    return []


def _size_constraints(shape: Shape, length: int) -> list[str]:
    return _limits(shape, length, "length")


def _limits(shape: Shape, size: float, noun: str) -> list[str]:
    broken = []
    if size > shape.metadata.get("max", size):
        broken.append(_limit_rule(noun, "less", shape.metadata["max"]))
    if size < shape.metadata.get("min", size):
        broken.append(_limit_rule(noun, "greater", shape.metadata["min"]))
    return broken


def _all_rules(shape: Shape) -> Iterator[str]:
    """Every rule of a map's key or value: the service lists them all when one is broken."""
    noun = "length" if shape.type_name == "string" else "value"
    for name, direction in (("max", "less"), ("min", "greater")):
        if name in shape.metadata:
            yield _limit_rule(noun, direction, shape.metadata[name])
    if "pattern" in shape.metadata:
        yield _pattern_rule(shape.metadata["pattern"])
    if isinstance(shape, StringShape) and shape.enum:
        yield _enum_rule(shape)


def _limit_rule(noun: str, direction: str, limit: float) -> str:
    return f"Member must have {noun} {direction} than or equal to {limit}"


def _pattern_rule(pattern: str) -> str:
    return f"Member must satisfy regular expression pattern: {pattern}"


def _enum_rule(shape: StringShape) -> str:
    return f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"


def _fault(value: Any, path: str, rule: str) -> str:
    shown = "null" if value is None else f"'{str(value)[:MAX_SHOWN_VALUE]}'"
    return f"Value {shown} at '{path}' failed to satisfy constraint: {rule}"


def _join(path: str, name: str) -> str:
    member = name[:1].lower() + name[1:]
    return f"{path}.{member}" if path else member


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    for java, python in JAVA_CLASSES.items():
        pattern = pattern.replace(java, python)
    return re.compile(pattern)
