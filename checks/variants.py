"""The template in the four forms that the tools look at."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.conditions import settle_conditions
from local.parameters import resolve_parameters
from local.template import move_code_to_s3, read_template, translate

REGION = "us-east-1"
# A deployment that uses every protection there is a parameter for.
PROTECTED: Mapping[str, str] = {
    "KmsKeyArn": f"arn:aws:kms:{REGION}:123456789012:key/11111111-2222-3333-4444-555555555555",
    "SubnetIds": "subnet-0a1b2c3d,subnet-0a1b2c3e",
    "SecurityGroupIds": "sg-0a1b2c3d",
    "ReservedConcurrency": "5",
    "LogRetentionDays": "365",
}


def write_variants(template: Path, folder: Path) -> dict[str, Path]:
    """The template's forms by name, each as a file in `folder`.

    `source`: as it is written. `translation`: as SAM hands it to CloudFormation. `default` and
    `protected`: that, as it is deployed without any parameter and with those of PROTECTED.

    Raises TemplateError for a template that is refused.
    """
    documents = {
        "translation": translated(template, {}),
        "default": deployed(template, {}),
        "protected": deployed(template, PROTECTED),
    }
    paths = {"source": folder / "template.yaml"}
    paths["source"].write_bytes(template.read_bytes())
    for name, document in documents.items():
        paths[name] = folder / f"{name}.json"
        paths[name].write_text(json.dumps(document, indent=1), encoding="utf-8")
    return paths


def write_unexcused(template: Path, folder: Path) -> list[Path]:
    """`source` and `translation` for cfn-lint, without what the template tells it to pass over.

    A reason in the template has to be needed as well, and only so it can be seen.
    """
    folder.mkdir()
    documents = {"template": read_template(template), "translation": translated(template, {})}
    paths = []
    for name, document in documents.items():
        document["Metadata"].pop("cfn-lint", None)
        paths.append(folder / f"{name}.json")
        paths[-1].write_text(json.dumps(document), encoding="utf-8")
    return paths


def translated(template: Path, given: Mapping[str, str]) -> dict[str, Any]:
    """Plain CloudFormation, its intrinsic functions untouched."""
    source = read_template(template)
    move_code_to_s3(source, template.parent)
    return translate(source, resolve_parameters(source["Parameters"], given), REGION)


def deployed(template: Path, given: Mapping[str, str]) -> dict[str, Any]:
    """That with its conditions worked out and its parameters' values in their places."""
    document = translated(template, given)
    values = resolve_parameters(document["Parameters"], given)
    known = {**values, "AWS::Region": REGION}
    settled = settle_conditions(document, known)
    settled["Resources"] = _filled_in(settled["Resources"], values)
    return settled


def _filled_in(node: Any, values: Mapping[str, str]) -> Any:
    if isinstance(node, list):
        return [_filled_in(entry, values) for entry in node]
    if not isinstance(node, dict):
        return node
    if node.keys() == {"Ref"} and node["Ref"] in values:
        text = values[node["Ref"]]
        return int(text) if text.isdecimal() else text
    filled = {key: _filled_in(value, values) for key, value in node.items()}
    if filled.keys() == {"Fn::Split"}:
        glue, text = filled["Fn::Split"]
        return text.split(glue) if isinstance(text, str) else filled
    return filled
