"""Intake's sandbox in a worker of ours: it works there, and ends with it."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from local.functions import Function, Platform, worker_environment
from local.workers import Worker

FUNCTIONS = Path(__file__).parents[2] / "functions"
# Imports what intake imports, and decodes without a cloud.
HANDLER = """
import base64
from functools import cache
from tomodrop.errors import UploadRejected
from tomodrop.sandbox.parent import Sandbox

sandbox = cache(lambda: Sandbox((3, 64, 64)))

def handler(event, context):
    try:
        slices = len(sandbox().normalise(base64.b64decode(event["body"])))
    except UploadRejected as fault:
        slices = fault.code
    return {"slices": slices, "zygote": [*sandbox().processes.values()][0]}
"""
# 32 x 32 black pixels.
PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAAAAABWESUoAAAAEklEQVR4nGNgGAWjYBSMAu"
    "wAAAQgAAGGsz1EAAAAAElFTkSuQmCC"
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "probe.py").write_text(HANDLER)
    (folder / "tomodrop").symlink_to(FUNCTIONS / "tomodrop")
    function = Function(
        logical_id="Probe",
        name="probe",
        arn="arn:aws:lambda:us-east-1:123456789012:function:probe",
        role_arn="arn:aws:iam::123456789012:role/probe",
        handler="probe.handler",
        runtime="python3.13",
        timeout_s=60,
        memory_mb=512,
        variables={"POWERTOOLS_SERVICE_NAME": "probe"},
        code_folder=folder,
    )
    platform = Platform("us-east-1", "http://127.0.0.1:1", "http://127.0.0.1:1", tmp_path)
    credentials = {"AccessKeyId": "a", "SecretAccessKey": "b", "SessionToken": "c"}
    return Worker(
        function, worker_environment(function, platform, credentials), tmp_path / "probe.log"
    )


def comes_true(condition: Callable[[], bool], within_s: float = 10) -> bool:
    deadline = time.monotonic() + within_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_it_serves_there_and_leaves_nothing_behind(worker: Worker) -> None:
    try:
        first = worker.invoke({"body": PICTURE}, "1")
        second = worker.invoke({"body": "AAAA"}, "2")
    finally:
        worker.close()
    assert (first.error, first.result["slices"]) == (None, 1)
    assert (second.error, second.result["slices"]) == (None, "unsupported_format")
    assert first.result["zygote"] == second.result["zygote"]
    zygote = Path(f"/proc/{first.result['zygote']}")
    assert comes_true(lambda: not zygote.exists())
