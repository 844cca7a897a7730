"""SageMaker's JSON 1.1 protocol over HTTP, and the composition of everything behind it.

`local.cloud` starts one server beside the embedded AWS; functions find it through
AWS_ENDPOINT_URL_SAGEMAKER, which boto3 reads by itself.
"""

import json
import logging
import threading
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from local.calls import Recorder, appender
from local.sagemaker.aws_library import service_model
from local.sagemaker.errors import RequestError, ValidationError
from local.sagemaker.job import Tools
from local.sagemaker.objects import ObjectStore
from local.sagemaker.operations import Operations
from local.sagemaker.outbox import Outbox
from local.sagemaker.programs import DEFAULT, Programs
from local.sagemaker.progress import JobProgress
from local.sagemaker.records import Json, RecordStore
from local.sagemaker.runner import Runner
from local.sagemaker.settings import Identity, Quotas, Timing
from local.sagemaker.validation import validate, without_nulls

logger = logging.getLogger(__name__)
HOST = "127.0.0.1"
CONTENT_TYPE = "application/x-amz-json-1.1"
TARGET_PREFIX = "SageMaker."
MAX_REQUEST_BYTES = 4 * 1024 * 1024
CLOSE_TIMEOUT_S = 10.0
CALLS_FILE = "calls.jsonl"
"""Which calls to S3 the jobs made, in the state folder."""
SHUTDOWN_POLL_S = 0.05


class SageMakerServer:
    """An embedded SageMaker: API, records, jobs and events.

    `aws_environment` is how it reaches S3 (AWS_ENDPOINT_URL, region, credentials of its own).
    `emit` takes one EventBridge envelope and returns once every target has it; what it did not take
    is offered again, also after a restart with the same `state_dir`.
    """

    def __init__(  # noqa: PLR0913 (the whole composition, by name)
        self,
        *,
        account: str,
        region: str,
        state_dir: Path,
        aws_environment: Mapping[str, str],
        emit: Callable[[dict[str, Any]], None],
        programs: Programs = DEFAULT,
        port: int = 0,
        quotas: Quotas | None = None,
        timing: Timing | None = None,
    ) -> None:
        tools = Tools(
            objects=ObjectStore(aws_environment),
            programs=programs,
            identity=Identity(account, region),
            timing=timing or Timing(),
        )
        # Absolute: programs run in another working directory than ours.
        state_dir = state_dir.resolve()
        tools.objects.record_calls(Recorder(appender(state_dir / CALLS_FILE), account))
        store = RecordStore(state_dir / "records")
        self._outbox = Outbox(store, emit, tools.timing)
        self._runner = Runner(store, self._outbox, tools, state_dir)
        operations = Operations(store, self._runner, tools, quotas or Quotas())
        self._http: BaseWSGIServer = make_server(
            HOST, port, Application(operations), threaded=True, request_handler=_QuietHandler
        )
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(SHUTDOWN_POLL_S,), name="sagemaker", daemon=True
        )

    @property
    def url(self) -> str:
        """For AWS_ENDPOINT_URL_SAGEMAKER."""
        return f"http://{HOST}:{self._http.server_port}"

    def start(self) -> None:
        """Run unfinished jobs again, send undelivered events, answer requests.

        Requests that come before wait: the port is open since we were made.
        """
        self._runner.resume()
        self._thread.start()

    def stop(self) -> None:
        """End the jobs' programs and the server; every record stays resumable."""
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
        self._http.server_close()
        self._runner.close()
        self._outbox.close(CLOSE_TIMEOUT_S)

    def progress(self) -> list[JobProgress]:
        """The running jobs, and those that ended within the last minute."""
        return self._runner.progress()


class Application:
    """The WSGI application: protocol in, protocol out."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        service_model()  # read it now, not while the first caller waits

    def __call__(self, environ: Any, start_response: Any) -> Any:
        return self._respond(Request(environ))(environ, start_response)

    def _respond(self, request: Request) -> Response:
        try:
            answer = self._answer(request)
        except RequestError as refusal:
            return _response(400, {"__type": refusal.code, "message": str(refusal)})
        except Exception:  # the edge of the server: the caller gets no trace, the log does
            logger.exception("request failed: %s", request.headers.get("X-Amz-Target"))
            return _response(500, {"__type": "InternalFailure", "message": "See the server's log."})
        return _response(200, answer)

    def _answer(self, request: Request) -> Json:
        operation = request.headers.get("X-Amz-Target", "").removeprefix(TARGET_PREFIX)
        self._operations.require(operation)
        body = without_nulls(_body(request))
        validate(operation, body)
        return self._operations.call(operation, body)


class _QuietHandler(WSGIRequestHandler):
    """No line per request on standard error."""

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002, ARG002 (its name)
        logger.debug(message, *args)


def _body(request: Request) -> Json:
    request.max_content_length = MAX_REQUEST_BYTES
    try:
        body = json.loads(request.get_data() or b"{}")
    except RequestEntityTooLarge as error:
        raise ValidationError(f"The request is larger than {MAX_REQUEST_BYTES} bytes.") from error
    except ValueError as error:
        raise ValidationError(f"The request is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise ValidationError("The request must be a JSON object.")
    return body


def _response(status: int, content: Json) -> Response:
    response = Response(json.dumps(content), status=status, content_type=CONTENT_TYPE)
    response.headers["x-amzn-RequestId"] = str(uuid.uuid4())
    return response
