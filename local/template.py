"""template.yaml → the CloudFormation template that gets deployed here.

The expansion is AWS's own (aws-sam-translator). Around it, four things that CloudFormation or
`sam deploy` would do: local code folders become S3 addresses, conditions are worked out, resources
without a name get one, and Number parameters keep their spelling wherever they end up in text.
"""

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from samtranslator.model.exceptions import (  # type: ignore[import-untyped]
    InvalidDocumentException,
)
from samtranslator.parser.parser import Parser  # type: ignore[import-untyped]
from samtranslator.translator.translator import Translator  # type: ignore[import-untyped]
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

from local.aws_session import isolated_session
from local.conditions import settle_conditions
from local.errors import TemplateError
from local.parameters import resolve_parameters

CODE_BUCKET = "local-function-code"
CODE_KEY = "function.zip"

# Types whose name decides where state lives or how a user addresses them, with the property that
# holds it. A name must be the same at every start, or a state folder would not fit its stack.
NAMED_TYPES: Mapping[str, str] = {
    "AWS::DynamoDB::Table": "TableName",
    "AWS::Events::Rule": "Name",
    "AWS::IAM::Role": "RoleName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::SSM::Parameter": "Name",
    "AWS::Scheduler::Schedule": "Name",
    "AWS::Scheduler::ScheduleGroup": "Name",
}

# Functions whose arguments are text, so that a number in them is its spelling, beside Fn::Sub.
TEXT_FUNCTIONS = ("Fn::Equals", "Fn::FindInMap", "Fn::Join")


@dataclass(frozen=True)
class ExpandedTemplate:
    """`body`: plain CloudFormation. `code_folders`: logical id of a function → its code folder."""

    body: dict[str, Any]
    parameters: dict[str, str]
    code_folders: dict[str, Path]


def expand_template(
    path: Path, given: Mapping[str, str], *, stack: str, region: str
) -> ExpandedTemplate:
    """Read, check and expand a SAM template.

    Raises ParameterErrors for refused parameters, TemplateError for a template that cannot be read
    or that AWS's own translator refuses.
    """
    source = read_template(path)
    parameters = resolve_parameters(source.get("Parameters", {}), given)
    code_folders = move_code_to_s3(source, path.parent)
    known = {**parameters, "AWS::Region": region, "AWS::StackName": stack}
    body = settle_conditions(translate(source, parameters, region), known)
    give_names(body["Resources"], stack)
    return ExpandedTemplate(keep_number_spelling(body, parameters), parameters, code_folders)


def read_template(path: Path) -> dict[str, Any]:
    """The template with CloudFormation's short tags (!Ref, !Sub, ...) written out."""
    try:
        document = yaml_parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TemplateError(f"Cannot read the template {path}: {error.strerror}.") from error
    except yaml.YAMLError as error:
        raise TemplateError(f"{path} is not YAML: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("Resources"), dict):
        raise TemplateError(f"{path} has no Resources: it is not a CloudFormation template.")
    return document


def move_code_to_s3(template: dict[str, Any], folder: Path) -> dict[str, Path]:
    """Replace each local CodeUri by an S3 address, as `sam package` does. Returns the folders.

    Raises TemplateError for a function whose code is not a folder that exists.
    """
    shared = template.get("Globals", {}).get("Function", {}).pop("CodeUri", None)
    code_folders: dict[str, Path] = {}
    for logical_id, resource in template["Resources"].items():
        if resource.get("Type") != "AWS::Serverless::Function":
            continue
        properties = resource.setdefault("Properties", {})
        code = properties.get("CodeUri", shared)
        if not isinstance(code, str) or not (folder / code).is_dir():
            raise TemplateError(
                f"{logical_id}: CodeUri {code!r} is not a folder beside the template; functions "
                "run from their source folder here."
            )
        code_folders[logical_id] = (folder / code).resolve()
        properties["CodeUri"] = f"s3://{CODE_BUCKET}/{CODE_KEY}"
    return code_folders


def translate(template: dict[str, Any], parameters: dict[str, str], region: str) -> dict[str, Any]:
    """The SAM template as CloudFormation gets it, by AWS's own translator.

    Raises TemplateError for a template that the translator refuses.
    """
    translator = Translator({}, Parser(), boto_session=isolated_session(region))
    try:
        translated = translator.translate(copy.deepcopy(template), dict(parameters))
    except InvalidDocumentException as error:
        causes = "\n  ".join(cause.message for cause in error.causes) or error.message
        raise TemplateError(f"The template is refused by AWS SAM:\n  {causes}") from error
    finally:
        translator.metrics.publish()  # to nobody: unpublished, they complain when they are deleted
    assert isinstance(translated, dict)
    return translated


def give_names(resources: dict[str, Any], stack: str) -> None:
    """Name what has none, as CloudFormation does, but the same at every start."""
    for logical_id, resource in resources.items():
        name_property = NAMED_TYPES.get(resource["Type"])
        if name_property is None:
            continue
        digest = hashlib.sha256(f"{stack}/{logical_id}".encode()).hexdigest()[:12]
        name = f"{stack}-{logical_id[:36]}-{digest.upper()}"
        if resource["Type"] == "AWS::S3::Bucket":
            name = name.lower()  # bucket names have no capitals
        resource.setdefault("Properties", {}).setdefault(name_property, name)


def keep_number_spelling(body: dict[str, Any], parameters: Mapping[str, str]) -> dict[str, Any]:
    """Write Number parameters out where they are text.

    CloudFormation passes parameters on as text; moto turns them into int or float first, so 0.00001
    would reach a function as "1e-05", and 60 is no key of a mapping.
    """
    declared = body.get("Parameters", {})
    numbers = {
        name: parameters[name] for name in declared if declared[name].get("Type") == "Number"
    }
    rewritten = {
        section: _rewrite(content, numbers, as_text=False) for section, content in body.items()
    }
    for resource in rewritten["Resources"].values():
        if resource["Type"] == "AWS::Lambda::Function":
            environment = resource["Properties"].get("Environment")
            if environment:
                resource["Properties"]["Environment"] = _rewrite(environment, numbers, as_text=True)
    return rewritten


def _rewrite(node: Any, numbers: Mapping[str, str], *, as_text: bool) -> Any:
    if isinstance(node, list):
        return [_rewrite(entry, numbers, as_text=as_text) for entry in node]
    if not isinstance(node, dict):
        return str(node) if as_text and type(node) in (int, float) else node
    if as_text and node.get("Ref") in numbers:
        return numbers[node["Ref"]]
    if "Fn::Sub" in node:
        return {"Fn::Sub": _rewrite_sub(node["Fn::Sub"], numbers)}
    return {
        key: _rewrite(value, numbers, as_text=as_text or key in TEXT_FUNCTIONS)
        for key, value in node.items()
    }


def _rewrite_sub(argument: Any, numbers: Mapping[str, str]) -> Any:
    if isinstance(argument, list):
        text, variables = argument
        return [_substitute(text, numbers), _rewrite(variables, numbers, as_text=True)]
    return _substitute(argument, numbers)


def _substitute(text: str, numbers: Mapping[str, str]) -> str:
    for name, value in numbers.items():
        text = text.replace("${" + name + "}", value)
    return text
