"""`tomodrop audit` on a folder whose stack rests; one that runs is audited in tests/e2e."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from local.audit import BUCKETS, _at_rest
from local.cli import main
from local.invoke import write_environment
from local.state import StateStore
from tomodrop import keys

ENVIRONMENT = {name: f"tomodrop-{name.lower().replace('_', '-')}" for name in BUCKETS} | {
    "OVERDUE_MINUTES": "120",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "b",
    "AWS_SESSION_TOKEN": "c",
    "AWS_LAMBDA_FUNCTION_NAME": "tomodrop-sweep",
}
UPLOADS, _, PREDICTIONS = (ENVIRONMENT[name] for name in BUCKETS)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder that some run left."""
    folder = tmp_path / "state"
    folder.mkdir()
    write_environment(folder, ["SweepFunction"], lambda _: ENVIRONMENT)
    return folder


@contextmanager
def storage(state: Path) -> Iterator[Any]:
    with _at_rest(state, ENVIRONMENT) as s3:
        yield s3


def put(s3: Any, path: str, *, answered: bool = True) -> None:
    version = s3.put_object(Bucket=UPLOADS, Key=f"incoming/{path}", Body=b"x")["VersionId"]
    source = {"key": f"incoming/{path}", "version_id": version, "etag": "e"}
    result = {"status": "rejected", "source": source}
    if answered:
        key = keys.rejection_key(f"incoming/{path}")
        s3.put_object(Bucket=PREDICTIONS, Key=key, Body=json.dumps(result).encode())


def run_audit(state: Path, *more: str) -> int:
    return main(["audit", "--state", str(state), *more])


def digest_of(said: str) -> str:
    return next(line.split()[1] for line in said.splitlines() if line.startswith("Digest"))


def test_a_folder_in_which_nothing_is_missing(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with storage(state) as s3:
        put(s3, "a.png")
        put(s3, "患者/b.png")
    assert run_audit(state) == 0
    first = capsys.readouterr().out
    assert "2 answered" in first
    assert "Every upload has its one JSON." in first
    assert run_audit(state) == 0
    assert digest_of(capsys.readouterr().out) == digest_of(first)
    # The receipts are kept, and come to OUT with the next run.
    with storage(state) as s3:
        listed = s3.list_objects_v2(Bucket=PREDICTIONS, Prefix="reports/audit/")["Contents"]
    assert {Path(item["Key"]).suffix for item in listed} == {".json", ".jsonl"}


def test_what_is_missing_is_named(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with storage(state) as s3:
        put(s3, "a.png")
        put(s3, "b\x1b[31m.png", answered=False)
    assert run_audit(state) == 1
    said = capsys.readouterr().out
    assert "1 answered, 1 missing" in said
    assert "missing: incoming/b�[31m.png" in said
    assert "Something is missing or wrong." in said


def test_the_receipt_comes_to_out_and_the_json_there_are_compared(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with storage(state) as s3:
        for path in ("a.png", "b.png", "../c.png"):
            put(s3, path)
        for name in ("a", "b"):
            key = f"rejected/{name}.png.json"
            body = s3.get_object(Bucket=PREDICTIONS, Key=key)["Body"].read()
            (out / key).parent.mkdir(parents=True, exist_ok=True)
            (out / key).write_bytes(body)
    assert run_audit(state, "--out", str(out)) == 0
    [receipt] = (out / "reports/audit").glob("*.jsonl")
    [summary] = (out / "reports/audit").glob("*.json")
    digest = hashlib.sha256(receipt.read_bytes()).hexdigest()
    assert json.loads(summary.read_text())["digest"] == f"sha256:{digest}"
    assert digest in capsys.readouterr().out

    (out / "rejected/a.png.json").write_text("{}")
    (out / "rejected/b.png.json").unlink()
    assert run_audit(state, "--out", str(out)) == 1
    said = capsys.readouterr().out
    for name in ("a", "b"):
        assert f"not what the receipt says: rejected/{name}.png.json" in said


def test_a_folder_that_no_run_left_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_audit(tmp_path / "absent") == 2
    assert "Start a stack first" in capsys.readouterr().err
    assert not (tmp_path / "absent").exists()


def test_a_folder_in_use_whose_stack_does_not_answer_is_refused(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = StateStore(state)
    try:
        assert run_audit(state) == 2
    finally:
        store.close()
    assert "No stack answers" in capsys.readouterr().err


def test_a_folder_of_a_newer_version_is_refused(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        newer.setattr("local.state.SCHEMA_VERSION", 99)
        StateStore(state).close()
    assert run_audit(state) == 2
    assert "newer version" in capsys.readouterr().err
