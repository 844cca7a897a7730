"""moto's services over HTTP on a free port of this machine, served from threads of this process."""

import threading
from types import TracebackType
from typing import Self

from local.gateway import Gateway
from local.keep_alive import KeepAliveServer

HOST = "127.0.0.1"


class MotoServer:
    """Serves a gateway until stopped. A context manager."""

    def __init__(self, gateway: Gateway) -> None:
        self._server = KeepAliveServer(HOST, 0, gateway)
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
        self._server.close_connections()
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
