# ruff: noqa: T201, BLE001  (what is printed is the function's log; any error is the handler's own)
"""One Lambda worker: imports a handler, then answers invocations until its process is ended.

Run by its path, with the function's environment only; it puts nothing of `local` on the path, so
that a function sees its own code and installed packages alone. Its arguments are two descriptors,
requests come in on the first and answers go out on the second, one JSON document per line; a file
that the function's AWS calls are recorded in; and the account. Standard output and error are the
function's log.
"""

import importlib
import importlib.util
import json
import os
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Any, TextIO


class Context:
    """What Lambda's Python runtime hands to a handler beside the event."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.aws_request_id: str = request["request_id"]
        self.invoked_function_arn: str = request["function_arn"]
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.client_context = None
        self.identity = None
        self.tenant_id = None
        self._deadline_s: float = request["deadline_s"]

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the invocation is ended."""
        return max(0, int((self._deadline_s - time.time()) * 1000))


def import_handler(name: str) -> Any:
    """The handler that `_HANDLER` names: path/module.function below the task root.

    Raises LookupError, with Lambda's error type and message, for one that cannot be had.
    """
    module_name, _, function_name = name.rpartition(".")
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        message = f"Unable to import module '{module_name}': {error}"
        raise LookupError("Runtime.ImportModuleError", message) from error
    except SyntaxError as error:
        raise LookupError(
            "Runtime.UserCodeSyntaxError", f"Syntax error in module '{module_name}': {error}"
        ) from error
    if not hasattr(module, function_name):
        message = f"Handler '{function_name}' missing on module '{module_name}'"
        raise LookupError("Runtime.HandlerNotFound", message)
    return getattr(module, function_name)


def describe_error(error: BaseException) -> dict[str, Any]:
    """An exception as Lambda reports it to the caller."""
    if isinstance(error, LookupError) and len(error.args) == 2:
        kind, message = error.args
        if str(kind).startswith("Runtime."):
            return {"errorType": kind, "errorMessage": message, "stackTrace": []}
    return {
        "errorType": type(error).__name__,
        "errorMessage": str(error),
        "stackTrace": traceback.format_tb(error.__traceback__)[1:],
    }


def answer_to(handler: Any, request: dict[str, Any]) -> str:
    """Run one invocation. Returns the answer as JSON: {"result": …} or {"error": …}."""
    context = Context(request)
    started = time.monotonic()
    print(f"START RequestId: {context.aws_request_id} Version: $LATEST", flush=True)
    os.environ["_X_AMZN_TRACE_ID"] = request["trace_header"]
    try:
        answer = json.dumps({"result": handler(request["event"], context)})
    except Exception as error:  # the handler's own: reported, and the worker stays
        traceback.print_exc()
        answer = json.dumps({"error": describe_error(error)})
    sys.stdout.flush()
    # Linux counts in KiB, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak_mb = peak // (1024 * 1024) if sys.platform == "darwin" else peak // 1024
    print(
        f"END RequestId: {context.aws_request_id}\n"
        f"REPORT RequestId: {context.aws_request_id} "
        f"Duration: {(time.monotonic() - started) * 1000:.2f} ms "
        f"Memory Size: {context.memory_limit_in_mb} MB Max Memory Used: {peak_mb} MB",
        flush=True,
    )
    return answer


def record_calls(path: Path, account: str) -> None:
    """Have the function's AWS calls recorded, by a module that lies beside this one."""
    beside = Path(__file__).with_name("calls.py")
    specification = importlib.util.spec_from_file_location("_local_calls", beside)
    assert specification is not None
    assert specification.loader is not None
    calls = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = calls  # dataclasses look their module up
    specification.loader.exec_module(calls)
    calls.record_every_session(path, account)


def say(answers: TextIO, line: str) -> None:
    """Send one line to the parent."""
    answers.write(line + "\n")
    answers.flush()


def main(request_fd: int, answer_fd: int, calls: Path, account: str) -> int:
    """Serve until the requests end."""
    for descriptor in (request_fd, answer_fd):
        os.set_inheritable(descriptor, False)  # noqa: FBT003  (programs that a handler starts)
    requests = os.fdopen(request_fd, encoding="utf-8")
    answers = os.fdopen(answer_fd, "w", encoding="utf-8")
    task_root = os.environ["LAMBDA_TASK_ROOT"]
    sys.path.insert(0, task_root)
    os.chdir(task_root)
    record_calls(calls, account)
    try:
        handler = import_handler(os.environ["_HANDLER"])
    except Exception as error:  # any error of the module's own code: reported as Lambda does
        traceback.print_exc()
        say(answers, json.dumps({"error": describe_error(error)}))
        return 1
    say(answers, json.dumps({"ready": True}))
    for line in requests:
        say(answers, answer_to(handler, json.loads(line)))
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]))
