"""A cloud stops without a trace, and starts again where it was."""

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from local.cloud import Cloud
from local.errors import LocalCloudError, ParameterErrors, StateError
from local.state import StateStore

Eventually = Callable[[Callable[[], Any]], Any]
SMALL_TEMPLATE = Path(__file__).parent / "data" / "template.yaml"


def small_cloud(state: Path, **parameters: str) -> Cloud:
    return Cloud(template=SMALL_TEMPLATE, parameters=parameters, state_dir=state)


def is_open(url: str) -> bool:
    address = urlsplit(url)
    with socket.socket() as probe:
        return probe.connect_ex((address.hostname or "", address.port or 0)) == 0


def children() -> set[str]:
    """Our processes below this one: their command lines."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "ppid=,args="], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    mine = [line.split(maxsplit=1) for line in listed]
    return {args for parent, args in mine if parent == str(os.getpid()) and "ps -A" not in args}


def test_a_refused_parameter_leaves_nothing_running(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with pytest.raises(ParameterErrors, match="BatchSize=0: must be at least 1"):
        small_cloud(tmp_path, BatchSize="0").start()
    assert set(threading.enumerate()) == before
    StateStore(tmp_path).close()  # another run could have the folder


def test_stopping_leaves_no_process_thread_or_port(tmp_path: Path, eventually: Eventually) -> None:
    threads, processes = set(threading.enumerate()), children()
    with small_cloud(tmp_path) as cloud:
        urls = (cloud.endpoint_url, cloud.sagemaker_url)
        cloud.client("sqs").send_message(
            QueueUrl=cloud.outputs["WorkUrl"], MessageBody='{"do": "hang"}'
        )
        log = cloud.log_folder / "QueueFunction.log"
        eventually(lambda: log.exists() and "START RequestId" in log.read_text())
        assert all(map(is_open, urls))
        started = time.monotonic()
    assert time.monotonic() - started < 15
    assert set(threading.enumerate()) == threads
    assert children() == processes
    assert not any(map(is_open, urls))
    # What was under way is done by the next run.
    with small_cloud(tmp_path) as again:
        log = again.log_folder / "QueueFunction.log"
        eventually(lambda: log.read_text().count("START RequestId") == 2)


def test_a_state_of_other_buckets_is_refused(tmp_path: Path) -> None:
    with small_cloud(tmp_path) as cloud:
        cloud.client("s3").put_object(
            Bucket=cloud.outputs["Uploads"], Key="a", Body=b"b", Tagging="kind=scan"
        )
    with pytest.raises(StateError, match="bucket small-uploads"):
        small_cloud(tmp_path, Prefix="other").start()
    with small_cloud(tmp_path) as again:
        address = {"Bucket": again.outputs["Uploads"], "Key": "a"}
        assert again.client("s3").get_object(**address)["Body"].read() == b"b"
        tags = again.client("s3").get_object_tagging(**address)["TagSet"]
        assert tags == [{"Key": "kind", "Value": "scan"}]


def test_there_is_one_cloud_per_process_deaf_to_the_users_aws_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "a-profile-that-does-not-exist")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with small_cloud(tmp_path) as cloud:
        assert cloud.client("s3").list_buckets()["Buckets"]
        assert cloud.client("sagemaker").list_models()["Models"] == []
        with pytest.raises(LocalCloudError, match="runs in this process already"):
            small_cloud(tmp_path / "two").start()
