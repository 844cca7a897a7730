"""The ``serve`` program: SageMaker's inference contract over HTTP.

``GET /ping``, ``GET /execution-parameters``, ``POST /invocations``. The port opens only after the
model has answered once. Decoding and the network run in threads of their own, so that health
checks are answered whatever else goes on. More requests than these threads soon get to are
answered with 503, which SageMaker sends again.
"""

import asyncio
import base64
import io
import json
import logging
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from training.algorithm.engines import Floats
from training.algorithm.failure import JobFailedError, describe_failure
from training.algorithm.images import UndecodableImageError, decode_image
from training.algorithm.inference import Answer, Predictor
from training.algorithm.log import LOGGER, set_up_logging
from training.algorithm.settings import ServeSettings, read_serve_settings

CONTENT_TYPES = ("application/x-image", "image/png", "image/jpeg")
JSON_LINES = "application/jsonlines"
JSON = "application/json"
VERBOSE = ("verbose=1", "verbose=true")
"""As SageMaker's other algorithms spell it."""
MAP = ("map=1", "map=true")
WAITING = 8
"""Requests per thread that may wait; each holds its body in memory."""
MOST_MB_UNDER_WAY = 100
"""CreateTransformJob: MaxConcurrentTransforms times MaxPayloadInMB must not exceed it."""
DRAIN_S = 100
"""SageMaker kills a container 120 s after SIGTERM."""


class RefusedError(Exception):
    """A request that is answered with an error; the message goes to the client."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def offer(workers: int, max_payload_bytes: int) -> dict[str, int | str]:
    """Return the execution parameters that keep so many threads busy, within SageMaker's limit."""
    payload_mb = max(1, max_payload_bytes // (1024 * 1024))
    # Twice as many requests as threads: none waits for the next one.
    concurrent = max(1, min(2 * workers, MOST_MB_UNDER_WAY // payload_mb))
    return {
        "MaxConcurrentTransforms": concurrent,
        "BatchStrategy": "SINGLE_RECORD",
        "MaxPayloadInMB": payload_mb,
    }


class Server:
    """The three routes over one model."""

    def __init__(self, predictor: Predictor, max_payload_bytes: int) -> None:
        self._predictor = predictor
        self._max_payload_bytes = max_payload_bytes
        self._workers = predictor.engine.workers
        self._pool = ThreadPoolExecutor(self._workers, "answer")
        self._under_way = 0

    def app(self) -> Starlette:
        """Return the ASGI application."""
        routes = [
            Route("/ping", self.ping, methods=["GET"]),
            Route("/execution-parameters", self.execution_parameters, methods=["GET"]),
            Route("/invocations", self.invocations, methods=["POST"]),
        ]
        return Starlette(routes=routes, exception_handlers={RefusedError: _answer_refusal})

    async def ping(self, _request: Request) -> Response:
        """Health: the server is only there once the model has answered."""
        return Response(status_code=200)

    async def execution_parameters(self, _request: Request) -> Response:
        """What batch transform should use when the job does not say."""
        return JSONResponse(offer(self._workers, self._max_payload_bytes))

    async def invocations(self, request: Request) -> Response:
        """One encoded image in, one probability per class out; with verbose=1 more of it."""
        _check_content_type(request.headers.get("content-type", ""))
        form = choose_form(request.headers.get("accept", ""))
        limit = WAITING * self._workers
        if self._under_way >= limit:
            raise RefusedError(503, f"{limit} requests are under way already: send it again later")
        self._under_way += 1
        try:
            body = await _read_body(request, self._max_payload_bytes)
            loop = asyncio.get_running_loop()
            answer = await loop.run_in_executor(self._pool, self._answer, body, form)
        finally:
            self._under_way -= 1
        return Response(answer, media_type=form.media_type)

    def _answer(self, body: bytes, form: "Form") -> bytes:
        """Decode, run the network and encode: all that takes time, in one thread."""
        try:
            pixels = decode_image(body, self._predictor.description.image_shape)
        except UndecodableImageError as error:
            raise RefusedError(400, str(error)) from error
        if form.verbose:
            return _encode(self._tell_all(self._predictor.explain(pixels), form))
        probabilities = self._predictor.predict(pixels)
        # As the built-in does.
        return _encode(probabilities if form.media_type == JSON else {"prediction": probabilities})

    def _tell_all(self, answer: Answer, form: "Form") -> dict[str, object]:
        """Answer with all there is to say; what the model does not have is left out."""
        description = self._predictor.description
        content: dict[str, object] = {
            "prediction": answer.probabilities,
            "calibrated": answer.calibrated,
            "classes": description.classes,
            "model": description.training_job,
            "typicality": answer.typicality,
        }
        if form.map:
            content |= _tell_map(answer.maps[answer.best], description.classes[answer.best])
        return {name: value for name, value in content.items() if value is not None}


def _encode(content: object) -> bytes:
    return json.dumps(content).encode()


def _tell_map(class_map: Floats, name: str) -> dict[str, object]:
    """Return the map of the class that is answered as a grey PNG, and what its greys mean.

    A grey g stands for low + (high - low) · g / 255; the mean over the map and the class's bias
    add up to its score.
    """
    low, high = float(class_map.min()), float(class_map.max())
    greys = (class_map - low) / max(high - low, 1e-12) * 255
    encoded = io.BytesIO()
    Image.fromarray(np.rint(greys).astype(np.uint8)).save(encoded, "PNG")
    png = base64.b64encode(encoded.getvalue()).decode()
    return {"map": png, "map_class": name, "map_range": [low, high]}


@dataclass(frozen=True, slots=True)
class Form:
    """How an answer is written: its media type, and whether it tells more than the built-in's.

    ``map``: whether that has the class-activation map as well.
    """

    media_type: str
    verbose: bool = False
    map: bool = False


def choose_form(header: str) -> Form:
    """Return the form of the answer; JSON Lines unless plain JSON is asked for.

    :raises RefusedError: when the client takes neither.
    """
    for part in [part for part in header.split(",") if part.strip()] or ["*/*"]:
        media_type, *parameters = (word.strip().lower() for word in part.split(";"))
        said = {word.replace(" ", "") for word in parameters}
        verbose = not said.isdisjoint(VERBOSE)
        wishes = verbose, verbose and not said.isdisjoint(MAP)
        if media_type in ("*/*", "application/*", JSON_LINES):
            return Form(JSON_LINES, *wishes)
        if media_type == JSON:
            return Form(JSON, *wishes)
    raise RefusedError(406, f"Accept {header!r}: {JSON_LINES} and {JSON} are offered")


def _check_content_type(header: str) -> None:
    if header.split(";", maxsplit=1)[0].strip().lower() not in CONTENT_TYPES:
        raise RefusedError(
            415, f"Content-Type {header!r} is not taken; use one of {', '.join(CONTENT_TYPES)}"
        )


async def _read_body(request: Request, limit_bytes: int) -> bytes:
    """Read the body, keeping no more than the limit of it.

    A body over the limit is still read to its end: a client that is cut off while sending
    sees a broken connection instead of the answer.
    """
    body = bytearray()
    size_bytes = 0
    async for chunk in request.stream():
        size_bytes += len(chunk)
        if size_bytes <= limit_bytes:
            body += chunk
    if size_bytes > limit_bytes:
        raise RefusedError(413, f"the body has {size_bytes} bytes; at most {limit_bytes} are taken")
    return bytes(body)


async def _answer_refusal(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return JSONResponse({"error": str(error)}, status_code=error.status)


def main() -> int:
    """Load the model, make it answer once, and serve until SIGTERM; return the exit code."""
    set_up_logging()
    try:
        settings = read_serve_settings(os.environ)
        predictor = Predictor.load(settings.layout.model)
        predictor.check()
    except JobFailedError as error:
        _reason, log_line, exit_code = describe_failure(error)
        LOGGER.error(log_line)
        return exit_code
    _run_server(predictor, settings)
    return 0


def _run_server(predictor: Predictor, settings: ServeSettings) -> None:
    app = Server(predictor, settings.max_payload_bytes).app()
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host="0.0.0.0",  # noqa: S104  # SageMaker reaches the container from outside
            port=settings.port,
            log_config=None,
            log_level=logging.WARNING,
            access_log=False,
            timeout_graceful_shutdown=DRAIN_S,
            timeout_keep_alive=75,
        )
    )
    # uvicorn raises the signal again once it has drained; by default that would kill us.
    signal.signal(signal.SIGTERM, server.handle_exit)
    LOGGER.info(
        "Serving %s on port %d with %s",
        *(predictor.description.training_job, settings.port, predictor.engine.name),
    )
    server.run()
    if not server.started:
        sys.exit(1)
