"""What IAM would answer: policies of a role, evaluated for one call."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from local.calls import Call
from tests.template.deployed import Deployed

Statement = dict[str, Any]


@dataclass(frozen=True, order=True)
class Grant:
    """The smallest thing a policy says: one action on one pattern of resources."""

    sid: str
    action: str
    resource: str


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

    @property
    def grants(self) -> frozenset[Grant]:
        """Everything that is allowed, piece by piece."""
        return frozenset(
            Grant(statement["Sid"], action, resource)
            for statement in self.statements
            for action in as_list(statement["Action"])
            for resource in as_list(statement["Resource"])
        )

    @property
    def sids(self) -> frozenset[str]:
        """Every statement by its Sid."""
        return frozenset(statement["Sid"] for statement in self.statements)

    def grants_of(self, call: Call) -> frozenset[Grant]:
        """The pieces that allow a call; none: it is denied."""
        return frozenset(
            Grant(statement["Sid"], action, resource)
            for statement in self.statements
            if _holds(statement.get("Condition", {}), call.context)
            for action in as_list(statement["Action"])
            if _covers(action, call.action)
            for resource in as_list(statement["Resource"])
            if _covers(resource, call.resource)
        )

    def allows(self, action: str, resource: str, **context: str) -> bool:
        """Whether a call is allowed. `context`: condition keys, with "_" for ":"."""
        keys = {name.replace("_", ":", 1): value for name, value in context.items()}
        return bool(self.grants_of(Call(action, resource, keys)))


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


def _holds(conditions: dict[str, dict[str, Any]], context: Mapping[str, str]) -> bool:
    return all(
        _met(operator, wanted, context.get(key))
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
