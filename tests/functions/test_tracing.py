"""A batch's id goes through the traces and logs of the steps; on one machine nothing is traced."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.functions import Function, Platform, worker_environment
from tests.functions.builders import ENVIRONMENT, JOB, REPOSITORY

pytestmark = pytest.mark.slow  # two processes that import all that the functions do

TRACE = "Root=1-6924a000-000000000000000000000001;Parent=0000000000000001;Sampled=1"
# Some library installs a package `tests` too, which Python would take before our folder.
START = """
import sys, types
sys.modules["tests"] = types.ModuleType("tests")
sys.modules["tests"].__path__ = ["tests"]
from tests.functions.traced import main
main()
"""
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@pytest.fixture(scope="module")
def daemon() -> Iterator[socket.socket]:
    """A daemon that takes traces, as Lambda has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        listening.settimeout(0)
        yield listening


def run_steps(daemon: socket.socket, **variables: str) -> tuple[list[dict[str, Any]], str]:
    """The traces that the daemon got, and what was logged."""
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        **ENVIRONMENT,
        **CREDENTIALS,
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "functions")]),
        "LAMBDA_TASK_ROOT": "/var/task",
        "AWS_XRAY_DAEMON_ADDRESS": f"127.0.0.1:{daemon.getsockname()[1]}",
        "_X_AMZN_TRACE_ID": TRACE,
        **variables,
    }
    command = [sys.executable, "-c", START]
    done = subprocess.run(
        command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert f"collected {JOB}" in done.stdout, done.stderr
    traces: list[dict[str, Any]] = []
    while True:
        try:
            _, _, document = daemon.recv(65_536).partition(b"\n")
        except BlockingIOError:
            return traces, done.stdout
        traces.append(json.loads(document))


def annotated(traces: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """(name of the subsegment, batch) wherever a batch is named."""
    waiting, found = list(traces), set()
    while waiting:
        trace = waiting.pop()
        waiting += trace.get("subsegments", [])
        if "batch" in trace.get("annotations", {}):
            found.add((trace["name"].rpartition(".")[2], trace["annotations"]["batch"]))
    return found


@pytest.fixture(scope="module")
def traced(daemon: socket.socket) -> tuple[list[dict[str, Any]], str]:
    return run_steps(daemon)


@pytest.fixture
def logged(traced: tuple[list[dict[str, Any]], str]) -> list[dict[str, Any]]:
    lines = (line for line in traced[1].splitlines() if line.startswith("{"))
    return [entry for line in lines if "message" in (entry := json.loads(line))]


def test_each_step_names_the_batch_in_its_trace(
    traced: tuple[list[dict[str, Any]], str], logged: list[dict[str, Any]]
) -> None:
    batch = {entry["message"]: entry.get("batch") for entry in logged}
    assert annotated(traced[0]) >= {
        ("## handler", batch["taken in"]),
        ("plan_window", batch["submitted"]),
        ("submit_part", batch["submitted"]),
        ("collect", JOB.batch),
    }


def test_each_step_names_the_batch_in_its_log(logged: list[dict[str, Any]]) -> None:
    batch = {entry["message"]: entry.get("batch") for entry in logged}
    assert batch["collected"] == JOB.batch
    assert batch["taken in"] != batch["submitted"] != JOB.batch
    assert all(batch[message] for message in ("taken in", "submitted", "collected"))


def test_no_trace_holds_a_key_of_an_upload(traced: tuple[list[dict[str, Any]], str]) -> None:
    annotations = [json.dumps(one.get("annotations", {})) for one in traced[0]]
    metadata = [json.dumps(one.get("metadata", {})) for one in traced[0]]
    assert "incoming/" not in "".join(annotations + metadata)


def test_on_one_machine_nothing_is_traced(daemon: socket.socket, tmp_path: Path) -> None:
    """With what a worker's environment says there; the same program, the same daemon."""
    function = Function(
        logical_id="F",
        name="f",
        arn="arn:aws:lambda:us-east-1:123456789012:function:f",
        role_arn="arn:aws:iam::123456789012:role/f",
        handler="dispatch.handler",
        runtime="python3.13",
        timeout_s=60,
        memory_mb=512,
        variables={},
        code_folder=REPOSITORY / "functions",
        concurrency=None,
        failure_queue=None,
    )
    platform = Platform("us-east-1", "http://127.0.0.1:9", "http://127.0.0.1:9", tmp_path)
    keys = ("AccessKeyId", "SecretAccessKey", "SessionToken")
    given = worker_environment(function, platform, dict.fromkeys(keys, "x"))
    told = {name: value for name, value in given.items() if "TRACE" in name or "XRAY" in name}
    assert told
    traces, _ = run_steps(daemon, **told)
    assert traces == []
