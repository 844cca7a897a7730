"""The conditions of a template, worked out: what is left is what gets deployed.

CloudFormation does the same, before it looks at any resource (AWS CloudFormation User Guide,
"Condition functions"). moto does it as well, but leaves a null where a list had AWS::NoValue.
"""

from collections.abc import Mapping
from typing import Any

from local.errors import TemplateError


class _Nothing:
    """Stands for AWS::NoValue while a template is walked through."""


_NOTHING = _Nothing()


def settle_conditions(body: dict[str, Any], known: Mapping[str, str]) -> dict[str, Any]:
    """The template without Conditions: each Fn::If is one of its branches, the rest is gone.

    `known`: parameters and pseudo parameters by name. Raises TemplateError for a condition that
    asks for anything else.
    """
    declared = body.get("Conditions", {})
    met = {name: _is_met(declared[name], declared, known) for name in declared}
    # Parameters, rules and metadata have no Fn::If.
    return {
        section: _settle_section(content, met) if section in ("Resources", "Outputs") else content
        for section, content in body.items()
        if section != "Conditions"
    }


def _settle_section(entries: Mapping[str, Any], met: Mapping[str, bool]) -> dict[str, Any]:
    return {
        name: _settle({key: value for key, value in entry.items() if key != "Condition"}, met)
        for name, entry in entries.items()
        if "Condition" not in entry or _look_up(entry["Condition"], met)
    }


def _is_met(wanted: Any, declared: Mapping[str, Any], known: Mapping[str, str]) -> bool:
    [(function, argument)] = wanted.items()
    match function:
        case "Condition":
            return _is_met(_look_up(argument, declared), declared, known)
        case "Fn::Equals":
            left, right = (_text(side, known) for side in argument)
            return left == right
        case "Fn::Not":
            return not _is_met(argument[0], declared, known)
        case "Fn::And":
            return all(_is_met(entry, declared, known) for entry in argument)
        case "Fn::Or":
            return any(_is_met(entry, declared, known) for entry in argument)
    raise TemplateError(f"A condition of the template uses {function}, which is not known here.")


def _text(side: Any, known: Mapping[str, str]) -> str:
    """What Fn::Equals compares: text, whatever was written."""
    if isinstance(side, dict):
        if side.keys() == {"Ref"} and side["Ref"] in known:
            return known[side["Ref"]]
        raise TemplateError(f"A condition of the template compares {side}: only Ref is known here.")
    return str(side).lower() if isinstance(side, bool) else str(side)


def _look_up(name: str, among: Mapping[str, Any]) -> Any:
    if name not in among:
        raise TemplateError(f"The template has no condition {name}.")
    return among[name]


def _settle(node: Any, met: Mapping[str, bool]) -> Any:
    if isinstance(node, list):
        entries = [_settle(entry, met) for entry in node]
        return [entry for entry in entries if entry is not _NOTHING]
    if not isinstance(node, dict):
        return node
    if node == {"Ref": "AWS::NoValue"}:
        return _NOTHING
    if node.keys() == {"Fn::If"}:
        name, yes, no = node["Fn::If"]
        return _settle(yes if _look_up(name, met) else no, met)
    members = {key: _settle(value, met) for key, value in node.items()}
    return {key: value for key, value in members.items() if value is not _NOTHING}
