"""WSGI over HTTP/1.1 with connections that are kept.

werkzeug's own handler closes each connection and waits 10 ms before that, since it cannot know
whether a request's body was read. Ours reads it first: a call to S3 then costs neither the wait nor
a new connection and thread.
"""

import io
import logging
import socket
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import ThreadedWSGIServer

WITHOUT_BODY = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})

logger = logging.getLogger(__name__)


class KeepAliveServer(ThreadedWSGIServer):
    """A thread per connection; `close_connections` ends those that wait for a next request."""

    def __init__(self, host: str, port: int, application: Any) -> None:
        super().__init__(host, port, application, KeepAliveHandler)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()

    def note(self, connection: socket.socket, *, is_open: bool) -> None:
        """Keep count of the connections."""
        with self._lock:
            (self._open.add if is_open else self._open.discard)(connection)

    def close_connections(self) -> None:
        """Take no further request on any; one that is being answered still gets its answer."""
        with self._lock:
            for connection in self._open:
                # Not connected any more: its thread is about to find out.
                try:
                    connection.shutdown(socket.SHUT_RD)
                except OSError:
                    continue


class KeepAliveHandler(MotoRequestHandler):
    """Answers the requests of one connection, one after another."""

    server: KeepAliveServer
    protocol_version = "HTTP/1.1"
    # Head and body are two packets: the second must not wait until the first is acknowledged.
    disable_nagle_algorithm = True

    def setup(self) -> None:
        """The connection is there."""
        super().setup()
        self.server.note(self.connection, is_open=True)

    def finish(self) -> None:
        """The connection ends."""
        self.server.note(self.connection, is_open=False)
        super().finish()

    def run_wsgi(self) -> None:
        """Answer one request. A body that does not come whole is no request: nothing is done."""
        environ = self.make_environ()
        body = self._read_body(environ)
        if body is None:
            self.close_connection = True
            return
        environ.pop("wsgi.input_terminated", None)
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        parts = self.server.app(environ, self._start_response)
        try:
            self._send(parts)
        except OSError:
            self.close_connection = True  # the client went away
        finally:
            if close := getattr(parts, "close", None):
                close()

    def _read_body(self, environ: dict[str, Any]) -> bytes | None:
        """The whole body; None if it breaks off, or if its length is no number."""
        try:
            if environ.get("wsgi.input_terminated"):
                return bytes(environ["wsgi.input"].read())
            length = int(environ.get("CONTENT_LENGTH") or 0)
            body = self.rfile.read(length) if length else b""
        except (OSError, ValueError):
            return None
        return body if len(body) == length else None

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], _error: Any = None, /
    ) -> Callable[[bytes], object]:
        self._status, self._headers = status, headers
        return self._refuse_write

    @staticmethod
    def _refuse_write(_: bytes) -> None:
        raise NotImplementedError("moto's applications return what they answer")

    def _send(self, parts: Iterable[bytes]) -> None:
        code, _, reason = self._status.partition(" ")
        names = {name.lower() for name, _ in self._headers}
        has_body = self.command != "HEAD" and int(code) not in WITHOUT_BODY
        if has_body and "content-length" not in names:
            parts = [b"".join(parts)]
            self._headers = [*self._headers, ("Content-Length", str(len(parts[0])))]
        self.send_response(int(code), reason)
        for name, value in self._headers:
            if name.lower() != "connection":
                self.send_header(name, value)
        self.end_headers()
        if has_body:
            for part in parts:
                self.wfile.write(part)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing of requests that were answered: one each few milliseconds is no news."""

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002, ARG002
        """Errors of the connection itself, such as a client that went away."""
        logger.debug(message, *args)
