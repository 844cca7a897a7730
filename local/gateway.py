"""The HTTP front door: moto's application behind one guard per service that needs more.

A guard sees the request first and the answer last, so that it can serialise what moto would mix up,
have changes on disk before the client hears of them, and answer what moto cannot.
"""

import io
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]
# A guard gets moto's application of its service and answers in its place.
Guard = Callable[[Application, Environ, StartResponse], Iterable[bytes]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reply:
    """A whole HTTP answer. `status` as in "200 OK"."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether the request was done."""
        return self.status.startswith("2")

    def send(self, start_response: StartResponse) -> list[bytes]:
        """Answer a WSGI request with it."""
        start_response(self.status, self.headers)
        return [self.body]


def ask(application: Application, environ: Environ, body: bytes) -> Reply:
    """The application's answer to a request with this body."""
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], _error: Any = None) -> None:
        started[:] = [status, headers]

    parts = application(
        {**environ, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))},
        start_response,
    )
    content = b"".join(parts)
    if hasattr(parts, "close"):
        parts.close()
    return Reply(started[0], started[1], content)


def read_body(environ: Environ) -> bytes:
    """The request's body, whole: a slow client must not hold a lock while it sends."""
    if environ.get("wsgi.input_terminated"):
        return bytes(environ["wsgi.input"].read())
    length = int(environ.get("CONTENT_LENGTH") or 0)
    return bytes(environ["wsgi.input"].read(length)) if length else b""


def operation(environ: Environ) -> str:
    """The operation that a JSON-protocol request names, "" if it names none."""
    return str(environ.get("HTTP_X_AMZ_TARGET", "")).rpartition(".")[2]


def json_reply(status: HTTPStatus, content: Any, **headers: str) -> Reply:
    """An answer in JSON. Header names are given with underscores."""
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Reply(
        f"{status.value} {status.phrase}",
        [("Content-Type", "application/x-amz-json-1.0"), *named],
        json.dumps(content).encode(),
    )


def error_reply(status: HTTPStatus, code: str, message: str) -> Reply:
    """An error as the JSON protocols of AWS word it."""
    return json_reply(status, {"__type": code, "message": message}, x_amzn_errortype=code)


class Dispatcher(DomainDispatcherApplication):
    """moto's, which looks through the folders of its own package to find a request's service."""

    @lru_cache(maxsize=1024)  # noqa: B019  (there is one, as long as the process lives)
    def get_backend_for_host(self, host: str | None) -> Any:
        """The name of the service that a host stands for."""
        return super().get_backend_for_host(host)


class Gateway:
    """The WSGI application that the server runs; guards by moto's names of the services."""

    def __init__(self, guards: Mapping[str, Guard]) -> None:
        self._moto = Dispatcher(create_backend_app)
        self._guards = dict(guards)
        # A guard under a name that moto does not use would guard nothing.
        assert set(guards) <= {service for service, _ in self._moto.backend_url_patterns}

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request; an unforeseen error is logged, and a 500 that clients retry."""
        try:
            application: Any = self._moto.get_application(environ)
            guard = self._guards.get(application.service)
            if guard is None:
                return list(application(environ, start_response))
            return guard(application, environ, start_response)
        except Exception:
            logger.exception("%s %s", environ.get("REQUEST_METHOD"), environ.get("PATH_INFO"))
            failure = error_reply(
                HTTPStatus.INTERNAL_SERVER_ERROR, "InternalFailure", "See the local stack's log."
            )
            return failure.send(start_response)
