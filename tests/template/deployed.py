"""The template as it would be deployed: expanded, and with its intrinsic functions worked out.

Names and ARNs are composed as AWS would: of a resource without a name of its own the logical id
stands in. Only the functions that template.yaml uses are known; another one fails loudly.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from local.template import expand_template, read_template

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "template.yaml"
STACK = "tomodrop"
ACCOUNT = "123456789012"

URL_SUFFIXES = {"cn": "amazonaws.com.cn", "us-iso": "c2s.ic.gov"}
PARTITIONS = {"cn": "aws-cn", "us-gov": "aws-us-gov", "us-iso": "aws-iso"}

# What Ref of a resource gives, where it is not its name.
ARN_FORMS = {
    "AWS::S3::Bucket": "arn:{partition}:s3:::{name}",
    "AWS::SQS::Queue": "arn:{partition}:sqs:{region}:{account}:{name}",
    "AWS::DynamoDB::Table": "arn:{partition}:dynamodb:{region}:{account}:table/{name}",
    "AWS::IAM::Role": "arn:{partition}:iam::{account}:role/{name}",
    "AWS::IAM::ManagedPolicy": "arn:{partition}:iam::{account}:policy/{name}",
    "AWS::Lambda::Function": "arn:{partition}:lambda:{region}:{account}:function:{name}",
    "AWS::Events::Rule": "arn:{partition}:events:{region}:{account}:rule/{name}",
    "AWS::SNS::Topic": "arn:{partition}:sns:{region}:{account}:{name}",
}
# Of these Ref gives the ARN.
REF_IS_ARN = ("AWS::IAM::ManagedPolicy", "AWS::SNS::Topic")
NAME_PROPERTIES = (
    "AlarmName",
    "BucketName",
    "FunctionName",
    "LogGroupName",
    "Name",
    "QueueName",
    "RoleName",
    "TableName",
    "TopicName",
)


@cache
def source() -> dict[str, Any]:
    """template.yaml as it is written. One object for all tests: look, do not touch."""
    return read_template(TEMPLATE)


@dataclass(frozen=True)
class Deployed:
    """One deployment. `resources`: type and properties by logical id, without intrinsics."""

    resources: dict[str, dict[str, Any]]
    outputs: dict[str, str]

    def properties(self, logical_id: str) -> dict[str, Any]:
        """Properties of one resource."""
        found: dict[str, Any] = self.resources[logical_id]["Properties"]
        return found

    def of_type(self, resource_type: str) -> dict[str, dict[str, Any]]:
        """Properties of every resource of a type, by logical id."""
        return {
            logical_id: resource["Properties"]
            for logical_id, resource in self.resources.items()
            if resource["Type"] == resource_type
        }

    def environment(self, function: str = "IntakeFunction") -> dict[str, str]:
        """Environment of a function, as Lambda gives it: text only."""
        variables = self.properties(function)["Environment"]["Variables"]
        return {name: str(value) for name, value in variables.items()}


@cache
def deploy(region: str = "us-east-1", **parameters: str) -> Deployed:
    """Expand the template with these parameters and work its intrinsics out (once for all)."""
    expanded = expand_template(TEMPLATE, parameters, stack=STACK, region=region)
    resolver = _Resolver(expanded.body, expanded.parameters, region)
    return Deployed(
        resources={
            logical_id: {
                "Type": resource["Type"],
                "Properties": resolver.resolve(resource.get("Properties", {})),
            }
            for logical_id, resource in expanded.body["Resources"].items()
        },
        outputs={
            name: resolver.resolve(output["Value"])
            for name, output in expanded.body["Outputs"].items()
        },
    )


class _Resolver:
    def __init__(self, body: dict[str, Any], parameters: Mapping[str, str], region: str) -> None:
        kind = next((prefix for prefix in PARTITIONS if region.startswith(f"{prefix}-")), "")
        self._body = body
        self._known = {
            **parameters,
            "AWS::StackName": STACK,
            "AWS::AccountId": ACCOUNT,
            "AWS::Region": region,
            "AWS::Partition": PARTITIONS.get(kind, "aws"),
            "AWS::URLSuffix": URL_SUFFIXES.get(kind, "amazonaws.com"),
        }

    def resolve(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self.resolve(entry) for entry in node]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            [(name, argument)] = node.items()
            if name == "Ref":
                return self._ref(argument)
            if name.startswith("Fn::"):
                return self._function(name, argument)
        return {key: self.resolve(value) for key, value in node.items()}

    def _function(self, name: str, argument: Any) -> Any:
        match name:
            case "Fn::GetAtt":
                return self._attribute(*argument)
            case "Fn::Sub":
                return self._sub(argument)
            case "Fn::FindInMap":
                mapping, first, second = (str(self.resolve(part)) for part in argument)
                return self._body["Mappings"][mapping][first][second]
            case "Fn::Join":
                glue, parts = argument
                return glue.join(str(self.resolve(part)) for part in parts)
            case "Fn::Split":
                glue, text = argument
                return self.resolve(text).split(glue)
        message = f"template.yaml uses {name}, which is not worked out here yet: add it above"
        raise LookupError(message)

    def _ref(self, name: str) -> str:
        if name in self._known:
            return self._known[name]
        if self._body["Resources"][name]["Type"] in REF_IS_ARN:
            return self._attribute(name, "Arn")
        return self._name(name)

    def _name(self, logical_id: str) -> str:
        properties = self._body["Resources"][logical_id].get("Properties", {})
        named = next((key for key in NAME_PROPERTIES if key in properties), None)
        return str(self.resolve(properties[named])) if named else logical_id

    def _attribute(self, logical_id: str, attribute: str) -> str:
        if attribute == "QueueName":
            return self._name(logical_id)
        if attribute == "QueueUrl":
            return f"https://sqs/{ACCOUNT}/{self._name(logical_id)}"
        assert attribute == "Arn", attribute
        return ARN_FORMS[self._body["Resources"][logical_id]["Type"]].format(
            partition=self._known["AWS::Partition"],
            region=self._known["AWS::Region"],
            account=ACCOUNT,
            name=self._name(logical_id),
        )

    def _sub(self, argument: Any) -> str:
        text, variables = argument if isinstance(argument, list) else (argument, {})

        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name in variables:
                return str(self.resolve(variables[name]))
            logical_id, dot, attribute = name.partition(".")
            return self._attribute(logical_id, attribute) if dot else self._ref(name)

        return re.sub(r"\$\{([^}]+)\}", value, text)
