"""moto's services over HTTP on a free port of this machine, served from threads of this process."""

import logging
import threading
from types import TracebackType
from typing import Self

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import BaseWSGIServer, make_server

from local.gateway import Gateway

HOST = "127.0.0.1"

logger = logging.getLogger(__name__)


class QuietRequestHandler(MotoRequestHandler):
    """A request each few milliseconds is no news; errors go to the log."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing of requests that were answered."""

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002, ARG002
        """Errors of the connection itself, such as a client that went away."""
        logger.debug(message, *args)


class MotoServer:
    """Serves a gateway until stopped. A context manager."""

    def __init__(self, gateway: Gateway) -> None:
        self._server: BaseWSGIServer = make_server(
            HOST, 0, gateway, threaded=True, request_handler=QuietRequestHandler
        )
        self._thread = threading.Thread(target=self._server.serve_forever, name="moto server")

    @property
    def url(self) -> str:
        """Where boto3 finds it."""
        return f"http://{HOST}:{self._server.server_port}"

    def start(self) -> None:
        """Serve from now on; the port is bound already."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more requests and free the port. Safe to call twice."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.stop()
