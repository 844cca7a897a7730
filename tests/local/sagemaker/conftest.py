"""A real S3 (moto's server), the embedded SageMaker before it, and boto3 clients of both."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from tests.local.sagemaker.support import SESSION, Bucket, Platform


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def s3(moto: str) -> Iterator[Any]:
    client = SESSION.client("s3", endpoint_url=moto)
    yield client
    client.close()


@pytest.fixture
def bucket(s3: Any) -> Bucket:
    return Bucket(s3)


@pytest.fixture
def start_platform(moto: str, tmp_path: Path) -> Iterator[Callable[..., Platform]]:
    started: list[Platform] = []

    def start(**options: Any) -> Platform:
        started.append(Platform(moto, tmp_path / "state", **options))
        return started[-1]

    yield start
    for platform in started:
        platform.stop()


@pytest.fixture
def platform(start_platform: Callable[..., Platform]) -> Platform:
    return start_platform()
