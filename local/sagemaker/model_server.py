"""The HTTP contract of a serving container, seen from SageMaker's side."""

import json
import socket
from dataclasses import dataclass

import urllib3

from local.sagemaker.errors import SageMakerError
from local.sagemaker.records import Json

HOST = "127.0.0.1"
PARAMETERS_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Answer:
    """What came back for one request. `retry_after_s`: how long it asks to be left alone."""

    status: int
    body: bytes
    retry_after_s: float | None = None


class NoAnswerError(SageMakerError):
    """No (whole) answer came; `timed_out` says whether we stopped waiting."""

    def __init__(self, *, timed_out: bool) -> None:
        super().__init__("timed out" if timed_out else "connection failed")
        self.timed_out = timed_out


def free_port() -> int:
    """A port that nothing listens on now. The container is told to bind to it."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class ModelServer:
    """One serving container; its connections are kept and reused. Thread-safe."""

    def __init__(self, port: int, connections: int) -> None:
        self._pool = urllib3.HTTPConnectionPool(HOST, port, maxsize=connections, retries=False)

    def ping(self, timeout_s: float) -> bool:
        """Whether it says that it is ready."""
        try:
            return self._request("GET", "/ping", timeout_s).status == 200
        except NoAnswerError:
            return False

    def execution_parameters(self) -> Json:
        """What it would like to be sent; empty when it has no wishes (the request is optional)."""
        try:
            answer = self._request("GET", "/execution-parameters", PARAMETERS_TIMEOUT_S)
            wishes = json.loads(answer.body) if answer.status == 200 else {}
        except (NoAnswerError, ValueError):
            return {}
        return wishes if isinstance(wishes, dict) else {}

    def invoke(self, body: bytes, headers: dict[str, str], timeout_s: float) -> Answer:
        """Send one payload. Raises NoAnswerError."""
        return self._request("POST", "/invocations", timeout_s, body, headers)

    def close(self) -> None:
        """Let go of the connections."""
        self._pool.close()

    def _request(
        self,
        method: str,
        path: str,
        timeout_s: float,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        try:
            answer = self._pool.request(
                method, path, body=body, headers=headers, timeout=timeout_s, redirect=False
            )
        except urllib3.exceptions.TimeoutError as error:
            raise NoAnswerError(timed_out=True) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise NoAnswerError(timed_out=False) from error
        return Answer(answer.status, answer.data, _seconds(answer.headers.get("Retry-After")))


def _seconds(header: str | None) -> float | None:
    """Retry-After as a number (RFC 9110, 10.2.3); None where it is absent or a date."""
    return float(header) if header and header.strip().isdecimal() else None
