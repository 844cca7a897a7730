"""Large objects are sent from their file: moto would read all of one for each range of it.

moto still decides what a GET is answered (conditions, versions, ranges, headers), by way of a HEAD.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import parse_qs

from local.gateway import Application, Environ, StartResponse, ask
from local.object_model import ObjectRecorder

LARGE_BYTES = 1024 * 1024
CHUNK_BYTES = 256 * 1024
# What a query may hold for a HEAD to be answered like its GET.
PLAIN_QUERY = frozenset({"versionId", "x-id"})


class Downloads:
    """Answers GET requests."""

    def __init__(self, recorder: ObjectRecorder) -> None:
        self._recorder = recorder

    def answer(
        self,
        application: Application,
        environ: Environ,
        start_response: StartResponse,
        address: tuple[str, str],
    ) -> Iterable[bytes]:
        """Answer a GET for (bucket, key)."""
        query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        version = query.get("versionId", [None])[0]
        body = self._recorder.body_of(*address, version) if set(query) <= PLAIN_QUERY else None
        if body is None or body.size < LARGE_BYTES:
            return application(environ, start_response)
        head = ask(application, {**environ, "REQUEST_METHOD": "HEAD"}, b"")
        headers = {name.lower(): value for name, value in head.headers}
        if not head.ok or headers.get("etag") != body.etag:
            # Refused, or replaced since we looked: moto has the words for it.
            return application(environ, start_response)
        first = headers.get("content-range", "bytes 0-").removeprefix("bytes ").partition("-")[0]
        content = _read(body.path, int(first), int(headers["content-length"]))
        start_response(head.status, head.headers)
        return content


def _read(path: Path, first: int, length: int) -> Iterator[bytes]:
    # Opened now, not at the first chunk: the version may be deleted meanwhile.
    file = path.open("rb")
    file.seek(first)
    return _chunks(file, length)


def _chunks(file: BinaryIO, length: int) -> Iterator[bytes]:
    with file:
        while length > 0:
            chunk = file.read(min(CHUNK_BYTES, length))
            length -= len(chunk)
            yield chunk
