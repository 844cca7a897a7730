"""boto3 for the cloud's own calls, deaf to the user's AWS settings.

A profile, a config file or a proxy that the user has for real AWS must neither break nor redirect
what goes to this machine.
"""

import functools
import os
import threading
from typing import Any

import boto3
import botocore.session
from botocore.config import Config

OPERATOR = {
    "aws_access_key_id": "AKIALOCALOPERATOR000",
    "aws_secret_access_key": "local-operator",
}
# (name in the config file, environment variables, default, conversion): none of the first two.
NO_USER_SETTINGS = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}


@functools.cache
def isolated_session(region: str) -> boto3.Session:
    """The operator's session, with nothing from the environment or the home folder.

    One per process: it keeps the service models that it has read.
    """
    session = botocore.session.Session(session_vars=NO_USER_SETTINGS)
    return boto3.Session(**OPERATOR, region_name=region, botocore_session=session)


class Clients:
    """The operator's boto3 clients, each made once. Callable, so that it serves as a factory."""

    def __init__(self, region: str, endpoint_url: str) -> None:
        self._session: Any = isolated_session(region)
        self._endpoint_urls: dict[str, str] = {}
        self._default_url = endpoint_url
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    def use_endpoint(self, service: str, url: str) -> None:
        """Let clients of one service, made from now on, go elsewhere."""
        self._endpoint_urls[service] = url

    def __call__(self, service: str) -> Any:
        """The client of a service."""
        with self._lock:  # making clients is the one thing in boto3 that threads must not share
            if service not in self._clients:
                self._clients[service] = self._session.client(
                    service,
                    endpoint_url=self._endpoint_urls.get(service, self._default_url),
                    config=Config(
                        proxies={},
                        max_pool_connections=50,
                        retries={"mode": "standard", "max_attempts": 4},
                        s3={"addressing_style": "path"},
                    ),
                )
            return self._clients[service]

    def close(self) -> None:
        """Close the connections of all of them."""
        with self._lock:
            for client in self._clients.values():
                client.close()
