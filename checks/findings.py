"""What the tools found, in one form."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONTROL = re.compile(r"\[(CT\.[A-Z0-9.]+)\]")
RESOURCE = re.compile(r'"/Resources/(\w+)')


@dataclass(frozen=True, order=True)
class Finding:
    """One rule of one tool that something does not obey.

    `form`: of the template (`source`, `translation`, `default`, `protected`), or `code`.
    `subject`: logical id of a resource, or path of a file.
    """

    tool: str
    form: str
    rule: str
    subject: str


def of_checkov(report: str) -> Iterator[Finding]:
    """From `checkov --output json` of files named after the forms.

    Raises ValueError when a file could not be read, which would look like no finding.
    """
    answer: dict[str, Any] = json.loads(report)
    if answer["summary"]["parsing_errors"]:
        raise ValueError(f"checkov could not read a template: {answer['summary']}")
    for failed in answer["results"]["failed_checks"]:
        subject = failed["resource"].rpartition(".")[2]
        yield Finding("checkov", _form(failed["file_path"]), failed["check_id"], subject)


def of_guard(report: str) -> Iterator[Finding]:
    """From `cfn-guard validate --structured --output-format json`.

    A rule is named after its control of AWS Control Tower, as CT.S3.PR.2.
    """
    for file in json.loads(report):
        for entry in file["not_compliant"]:
            text = json.dumps(entry)
            [control] = set(CONTROL.findall(text)) or {entry["Rule"]["name"]}
            for subject in sorted(set(RESOURCE.findall(text))):
                yield Finding("cfn-guard", _form(file["name"]), control, subject)


def of_cfn_lint(report: str) -> Iterator[Finding]:
    """From `cfn-lint --format json`."""
    for entry in json.loads(report):
        path: list[Any] = entry["Location"]["Path"] or [""]
        subject = str(path[1] if path[0] == "Resources" and path[1:] else path[0])
        yield Finding("cfn-lint", _form(entry["Filename"]), entry["Rule"]["Id"], subject)


def of_bandit(report: str) -> Iterator[Finding]:
    """From `bandit --format json`.

    Raises ValueError when a file could not be read, which would look like no finding.
    """
    answer: dict[str, Any] = json.loads(report)
    if answer["errors"]:
        raise ValueError(f"bandit could not read a file: {answer['errors']}")
    for result in answer["results"]:
        yield Finding("bandit", "code", result["test_id"], result["filename"].removeprefix("./"))


def _form(file: str) -> str:
    name = Path(file).stem
    return "source" if name == "template" else name
