"""The stack in moto's CloudFormation, and its resources with every intrinsic resolved."""

import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError
from moto.backends import get_backend
from moto.cloudformation.parsing import clean_json

from local.errors import TemplateError
from local.moto_seams import ACCOUNT
from local.template import CODE_BUCKET, CODE_KEY

ClientFactory = Callable[[str], Any]


@dataclass(frozen=True)
class Resource:
    """One resource of the template.

    `physical_id` is None for what moto's CloudFormation does not know. `properties` holds no
    intrinsic functions any more.
    """

    logical_id: str
    type: str
    physical_id: str | None
    properties: dict[str, Any]


@dataclass(frozen=True)
class Stack:
    """What was created, and the outputs by name."""

    name: str
    resources: tuple[Resource, ...]
    outputs: dict[str, str]

    def of_type(self, resource_type: str) -> list[Resource]:
        """The resources of one type, in the template's order."""
        return [resource for resource in self.resources if resource.type == resource_type]

    def dead_letter_queues(self) -> set[str]:
        """ARNs of the queues that some resource names for what it cannot deliver."""
        return {
            arn for resource in self.resources for arn in _dead_letter_arns(resource.properties)
        }


def create_stack(
    client: ClientFactory, name: str, template: dict[str, Any], parameters: Mapping[str, str]
) -> None:
    """Create the stack through the CloudFormation API.

    Raises TemplateError with moto's reason when it refuses.
    """
    _offer_function_code(client("s3"))
    try:
        client("cloudformation").create_stack(
            StackName=name,
            TemplateBody=json.dumps(template),
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()
            ],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
        )
    except ClientError as error:
        raise TemplateError(f"The stack cannot be created: {error}") from error
    _remove_function_code(client("s3"))


def describe_stack(
    client: ClientFactory, name: str, template: dict[str, Any], region: str
) -> Stack:
    """The created stack, with every resource that the whole template declares."""
    cloudformation = client("cloudformation")
    [described] = cloudformation.describe_stacks(StackName=name)["Stacks"]
    outputs = {entry["OutputKey"]: entry["OutputValue"] for entry in described.get("Outputs", [])}
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
    physical = {
        summary["LogicalResourceId"]: summary["PhysicalResourceId"]
        for page in pages
        for summary in page["StackResourceSummaries"]
    }
    # moto resolves intrinsics with the live resources of its stack; the API does not give them out.
    known: Any = get_backend("cloudformation")[ACCOUNT][region].get_stack(name).resource_map
    resources = [
        Resource(
            logical_id,
            declared["Type"],
            physical.get(logical_id),
            clean_json(declared.get("Properties", {}), known),
        )
        for logical_id, declared in template["Resources"].items()
    ]
    return Stack(name, tuple(resources), outputs)


def _offer_function_code(s3: Any) -> None:
    """Moto wants to see a function's code archive; it never runs it."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as code:
        code.writestr("README", "Functions run from their source folder.\n")
    s3.create_bucket(Bucket=CODE_BUCKET)
    s3.put_object(Bucket=CODE_BUCKET, Key=CODE_KEY, Body=archive.getvalue())


def _remove_function_code(s3: Any) -> None:
    s3.delete_object(Bucket=CODE_BUCKET, Key=CODE_KEY)
    s3.delete_bucket(Bucket=CODE_BUCKET)


def _dead_letter_arns(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for entry in node:
            yield from _dead_letter_arns(entry)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "deadLetterTargetArn":
                yield value
            elif key in ("DeadLetterConfig", "OnFailure"):
                yield from value.values()
            else:
                yield from _dead_letter_arns(value)
