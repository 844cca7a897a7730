"""HTTP as the embedded services speak it: kept connections, whole bodies, a clean end."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import urllib3

from local.keep_alive import KeepAliveServer

Ask = Callable[..., Any]
SEEN: list[tuple[str, str, bytes]] = []
CLOSED: list[str] = []


class Parts:
    """An answer in parts that notes when it is let go of."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._parts)

    def close(self) -> None:
        CLOSED.append("closed")


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    path = environ["PATH_INFO"]
    # Only `/read` looks at what was sent.
    body = environ["wsgi.input"].read() if path == "/read" else b""
    SEEN.append((environ["REQUEST_METHOD"], path, body))
    if path == "/slow":
        time.sleep(0.3)
    if path == "/none":
        start_response("204 No Content", [])
        return []
    length = [("Content-Length", "6")] if path == "/sized" else []
    start_response("200 OK", [("X-Read", str(len(body))), ("Connection", "close"), *length])
    return Parts(b"one", b"two")


@pytest.fixture
def server() -> Iterator[KeepAliveServer]:
    SEEN.clear()
    CLOSED.clear()
    server = KeepAliveServer("127.0.0.1", 0, application)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.close_connections()
    server.server_close()


@pytest.fixture
def pool(server: KeepAliveServer) -> Iterator[urllib3.HTTPConnectionPool]:
    with urllib3.HTTPConnectionPool("127.0.0.1", server.port, maxsize=1, retries=False) as pool:
        yield pool


def talk(server: KeepAliveServer, text: bytes) -> bytes:
    """What comes back for these bytes until the server closes or falls silent."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=0.5) as connection:
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        heard = b""
        while piece := connection.recv(65536):
            heard += piece
        return heard


def test_one_connection_takes_many_requests(pool: urllib3.HTTPConnectionPool) -> None:
    for path in ("/read", "/sized", "/unread", "/none", "/read"):
        # What is not read by the application must not be taken for the next request.
        pool.request("PUT", path, body=b"GET /smuggled HTTP/1.1\r\n\r\n" * 1000)
    assert pool.num_connections == 1
    assert [path for _, path, _ in SEEN] == ["/read", "/sized", "/unread", "/none", "/read"]


def test_the_answer_is_whole_with_a_length_or_without(
    pool: urllib3.HTTPConnectionPool, eventually: Callable[[Callable[[], bool]], bool]
) -> None:
    for path in ("/sized", "/unsized"):
        answer = pool.request("GET", path)
        assert (answer.data, answer.headers["Content-Length"]) == (b"onetwo", "6")
    # The client has its answer before the server lets go of it.
    assert eventually(lambda: CLOSED == ["closed", "closed"])


def test_a_head_has_no_body(pool: urllib3.HTTPConnectionPool) -> None:
    assert pool.request("HEAD", "/sized").data == b""
    assert pool.request("GET", "/sized").data == b"onetwo"


def test_a_body_in_chunks_is_read(pool: urllib3.HTTPConnectionPool) -> None:
    answer = pool.request("PUT", "/read", body=iter([b"ab", b"c"]), chunked=True)
    assert answer.headers["X-Read"] == "3"
    assert SEEN == [("PUT", "/read", b"abc")]


def test_who_asks_before_sending_is_told_to_send(server: KeepAliveServer) -> None:
    head = b"PUT /read HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    heard = talk(server, head + b"abc")
    assert heard.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "text",
    [
        b"PUT /read HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc",
        b"PUT /read HTTP/1.1\r\nHost: h\r\nContent-Length: many\r\n\r\nabc",
        b"PUT /read HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"PUT /read HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\nab",
    ],
    ids=["cut off", "no number", "chunk cut off", "no chunk"],
)
def test_a_broken_body_is_no_request(server: KeepAliveServer, text: bytes) -> None:
    assert talk(server, text) == b""
    assert SEEN == []


def test_what_is_being_answered_at_the_end_is_answered(
    server: KeepAliveServer, pool: urllib3.HTTPConnectionPool
) -> None:
    idle = socket.create_connection(("127.0.0.1", server.port), timeout=5)
    threading.Timer(0.1, server.close_connections).start()
    assert pool.request("GET", "/slow").data == b"onetwo"
    assert idle.recv(1) == b""
    idle.close()
