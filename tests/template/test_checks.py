"""`make check`: every finding of a tool is explained, and every explanation is needed."""

import json
from pathlib import Path
from typing import Any

import pytest

from checks.findings import Finding, of_bandit, of_cfn_lint, of_checkov, of_guard
from checks.skips import Skip, idle, read_skips, unexplained
from checks.tools import ToolError, checkov
from checks.variants import deployed, translated, write_unexcused, write_variants
from tests.template.deployed import ROOT, TEMPLATE

SKIP = Skip("checkov", "CKV_1", ("default", "source"), ("A*", "B"), "It is so, and well so.")
ALL = [
    Finding("checkov", form, "CKV_1", subject)
    for form in ("default", "source")
    for subject in ("A1", "A2", "B")
]


# ---- explanations


def test_what_is_explained_and_needed_is_fine() -> None:
    assert unexplained(ALL, [SKIP]) == []
    assert idle(ALL, [SKIP]) == []


@pytest.mark.parametrize(
    "other",
    [
        Finding("checkov", "protected", "CKV_1", "A1"),
        Finding("checkov", "default", "CKV_2", "A1"),
        Finding("checkov", "default", "CKV_1", "C"),
        Finding("cfn-guard", "default", "CKV_1", "A1"),
    ],
    ids=["form", "rule", "subject", "tool"],
)
def test_anything_else_is_not(other: Finding) -> None:
    assert unexplained([*ALL, other], [SKIP]) == [other]


@pytest.mark.parametrize("gone", ["B", "A"])
def test_an_explanation_of_nothing_is_told(gone: str) -> None:
    left = [finding for finding in ALL if not finding.subject.startswith(gone)]
    assert [place for _, place in idle(left, [SKIP])] == [
        (form, pattern)
        for form in ("default", "source")
        for pattern in ("A*", "B")
        if pattern.startswith(gone)
    ]


def test_an_explanation_for_a_form_without_findings_is_told() -> None:
    left = [finding for finding in ALL if finding.form == "default"]
    assert {form for _, (form, _) in idle(left, [SKIP])} == {"source"}


def test_ours_can_be_read_and_give_reasons() -> None:
    skips = read_skips(ROOT / "checks/skips.yaml")
    assert {skip.tool for skip in skips} == {"bandit", "cfn-guard", "cfn-lint", "checkov"}
    rules = [(skip.tool, skip.rule, place) for skip in skips for place in skip.places]
    assert len(rules) == len(set(rules))


ENTRY = {"tool": "t", "rule": "r", "forms": ["f"], "subjects": ["s"], "reason": "Because it is so."}


@pytest.mark.parametrize(
    "change",
    [{"reason": "So."}, {"reason": ""}, {"forms": []}, {"subjects": []}, {"more": 1}],
    ids=str,
)
def test_an_entry_without_a_reason_or_a_place_is_refused(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    (tmp_path / "skips.yaml").write_text(json.dumps([ENTRY | change]))
    with pytest.raises(ValueError, match="a skip"):
        read_skips(tmp_path / "skips.yaml")


def test_an_entry_that_lacks_something_is_refused(tmp_path: Path) -> None:
    for name in ENTRY:
        left = {key: value for key, value in ENTRY.items() if key != name}
        (tmp_path / "skips.yaml").write_text(json.dumps([left]))
        with pytest.raises(ValueError, match="and this one has not"):
            read_skips(tmp_path / "skips.yaml")


# ---- reports


def test_checkovs_report() -> None:
    failed = {"check_id": "CKV_1", "resource": "AWS::S3::Bucket.B", "file_path": "/template.yaml"}
    report = {"summary": {"parsing_errors": 0}, "results": {"failed_checks": [failed]}}
    assert list(of_checkov(json.dumps(report))) == [Finding("checkov", "source", "CKV_1", "B")]


def test_guards_report() -> None:
    check = {
        "messages": {"custom_message": "\n [CT.S3.PR.2]: Require logging"},
        "value": {"path": "/Resources/B/Properties/X"},
        "other": {"path": "/Resources/A"},
    }
    rule = {"Rule": {"name": "s3_check", "checks": [check]}}
    report = [{"name": "x/default.json", "status": "FAIL", "not_compliant": [rule]}]
    assert list(of_guard(json.dumps(report))) == [
        Finding("cfn-guard", "default", "CT.S3.PR.2", "A"),
        Finding("cfn-guard", "default", "CT.S3.PR.2", "B"),
    ]


def test_cfn_lints_report() -> None:
    entries = [
        {"Filename": "x/translation.json", "Rule": {"Id": "W1"}, "Location": {"Path": path}}
        for path in (["Resources", "A", "Properties"], ["Parameters", "P"], ["Resources"], None)
    ]
    assert [finding.subject for finding in of_cfn_lint(json.dumps(entries))] == [
        "A",
        "Parameters",
        "Resources",
        "",
    ]


def test_bandits_report() -> None:
    result = {"test_id": "B101", "filename": "./local/a.py"}
    report = {"errors": [], "results": [result]}
    assert list(of_bandit(json.dumps(report))) == [Finding("bandit", "code", "B101", "local/a.py")]


def test_a_file_that_was_not_read_is_no_file_without_findings() -> None:
    broken = {"summary": {"parsing_errors": 1}, "results": {"failed_checks": []}}
    with pytest.raises(ValueError, match="could not read a template"):
        list(of_checkov(json.dumps(broken)))
    with pytest.raises(ValueError, match="could not read a file"):
        list(of_bandit(json.dumps({"errors": [{"filename": "a.py"}], "results": []})))


def test_a_tool_that_fails_is_no_tool_without_findings(tmp_path: Path) -> None:
    program = tmp_path / "bin/checkov"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho cannot do that >&2\nexit 2\n")
    program.chmod(0o755)
    with pytest.raises(ToolError, match="status 2: cannot do that"):
        checkov(tmp_path, [TEMPLATE])


# ---- forms of the template


def test_the_forms_are_written_and_only_the_source_has_serverless_resources(
    tmp_path: Path,
) -> None:
    paths = write_variants(TEMPLATE, tmp_path)
    assert list(paths) == ["source", "translation", "default", "protected"]
    assert paths["source"].read_bytes() == TEMPLATE.read_bytes()
    for name in ("translation", "default", "protected"):
        assert "AWS::Serverless::" not in paths[name].read_text()


def test_a_translation_keeps_its_functions_and_a_deployment_has_none_of_them() -> None:
    assert "Fn::If" in json.dumps(translated(TEMPLATE, {})["Resources"])
    deployment = json.dumps(deployed(TEMPLATE, {})["Resources"])
    for name in ("Fn::If", "AWS::NoValue", '{"Ref": "LogRetentionDays"}'):
        assert name not in deployment


def test_a_list_of_subnets_is_one() -> None:
    given = {"SubnetIds": "subnet-0a1b2c3d,subnet-0a1b2c3e", "SecurityGroupIds": "sg-0a1b2c3d"}
    function = deployed(TEMPLATE, given)["Resources"]["SweepFunction"]["Properties"]
    assert function["VpcConfig"]["SubnetIds"] == ["subnet-0a1b2c3d", "subnet-0a1b2c3e"]


def test_what_the_template_passes_over_is_looked_at_once_more(tmp_path: Path) -> None:
    for path in write_unexcused(TEMPLATE, tmp_path / "unexcused"):
        assert "cfn-lint" not in json.loads(path.read_text())["Metadata"]
