"""What IAM would answer: policies of a role, evaluated for one call."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from tests.template.deployed import Deployed

Statement = dict[str, Any]


@dataclass(frozen=True)
class Role:
    """A role's statements. There are no Deny statements in them: what is not allowed is denied."""

    statements: tuple[Statement, ...]

    @property
    def actions(self) -> frozenset[str]:
        """Every action that is allowed on some resource."""
        return frozenset(
            action for statement in self.statements for action in as_list(statement["Action"])
        )

    def allows(self, action: str, resource: str, **context: str) -> bool:
        """Whether a call is allowed. `context`: condition keys, with "_" for ":"."""
        return any(
            _covers(statement["Action"], action)
            and _covers(statement["Resource"], resource)
            and _holds(statement.get("Condition", {}), context)
            for statement in self.statements
        )


def role(stack: Deployed, logical_id: str) -> Role:
    """A role of the stack with the policies attached to it."""
    properties = stack.properties(logical_id)
    assert not properties.get("Policies"), "permissions stand in managed policies of the stack"
    policies = [stack.properties(arn.rsplit("/", 1)[1]) for arn in properties["ManagedPolicyArns"]]
    statements = [
        statement for policy in policies for statement in policy["PolicyDocument"]["Statement"]
    ]
    assert all(statement["Effect"] == "Allow" for statement in statements)
    return Role(tuple(statements))


def as_list(value: Any) -> list[Any]:
    """IAM takes one or a list nearly everywhere."""
    return value if isinstance(value, list) else [value]


def _covers(patterns: Any, value: str) -> bool:
    # Only * and ? are wild in IAM, and neither template nor tests have square brackets.
    return any(fnmatchcase(value, pattern) for pattern in as_list(patterns))


def _holds(conditions: dict[str, dict[str, Any]], context: dict[str, str]) -> bool:
    return all(
        _met(operator, wanted, context.get(key.replace(":", "_")))
        for operator, keys in conditions.items()
        for key, wanted in keys.items()
    )


def _met(operator: str, wanted: Any, value: str | None) -> bool:
    if operator == "Null":
        return wanted is (value is None)
    if operator == "Bool":
        wanted = str(wanted).lower()
    else:
        assert operator in {"StringEquals", "StringLike"}, operator
    return value is not None and _covers(wanted, value)
