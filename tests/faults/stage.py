"""What all schedules of a process share: moto, clients, the handlers' modules, a warm sandbox."""

import contextlib
import importlib
import io
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import IO, Any

import pytest
from moto import mock_aws
from moto.moto_api._internal import mock_random
from moto.s3.models import FakeKey, s3_backends
from moto.sqs.models import sqs_backends
from moto.ssm.models import ssm_backends

from tests.faults.clock import Clock
from tests.faults.network import Send, installed
from tests.functions.builders import ACCOUNT, ENVIRONMENT
from tests.functions.conftest import create_resources
from tomodrop import clients, decoding, measuring, resampling
from tomodrop.clients import App
from tomodrop.settings import Settings

FUNCTIONS = ("intake", "dispatch", "collect", "retrain", "promote", "sweep")
# Small numbers make short schedules: a job of two slices, two attempts, a sweep after an hour. Half
# of the groups are held out, and a model that is right of three in four passes the floor.
SETTINGS = ENVIRONMENT | {
    "IMAGE_SHAPE": "3,32,32",
    "MAX_SLICES_PER_JOB": "2",
    "MAX_ATTEMPTS": "2",
    "OVERDUE_MINUTES": "60",
    "MAX_JOB_MINUTES": "120",
    "TRAINING_MAX_HOURS": "2",
    "VALIDATION_SHARE": "0.5",
    "MINIMUM_VALIDATION_ACCURACY": "0.7",
}
_RESAMPLES = 200
_PROCESS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_SESSION_TOKEN": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "POWERTOOLS_SERVICE_NAME": "tomodrop",
    "POWERTOOLS_METRICS_NAMESPACE": "Tomodrop",
    "POWERTOOLS_METRICS_DISABLED": "true",
    "POWERTOOLS_LOG_LEVEL": "CRITICAL",
}


@dataclass
class Stage:
    """A process's moto, clock and clients. `answer` is who answers the clients' requests now."""

    app: App
    clock: Clock
    modules: dict[str, ModuleType]
    to_moto: Send
    answer: Send
    slept: Callable[[float], None]
    _mock: Any

    def reset(self, seed: int) -> None:
        """An empty cloud with the stack's resources; what moto makes up follows from the seed."""
        self._mock.reset()
        mock_random.seed(seed)
        self.clock.reset()
        self.answer = self.to_moto
        create_resources(self.app)

    def read(self, bucket: str, key: str) -> bytes | None:
        """An object's bytes, past all faults."""
        found = s3_backends[ACCOUNT]["aws"].buckets[bucket].keys.get(key)
        return found.value if isinstance(found, FakeKey) else None

    def versions(self, bucket: str, key: str) -> list[bytes]:
        """The bytes of all versions of an object that there ever were, in the order of the puts."""
        found = s3_backends[ACCOUNT]["aws"].buckets[bucket].keys.getlist(key, [])
        return [version.value for version in found if isinstance(version, FakeKey)]

    def parameter(self, name: str) -> str:
        """A parameter's value, past all faults."""
        return str(ssm_backends[ACCOUNT]["us-east-1"].get_parameters([name])[name].value)

    def write(self, bucket: str, key: str, body: bytes) -> None:
        """Put an object, past all faults."""
        s3_backends[ACCOUNT]["aws"].put_object(bucket, key, body)

    def keys(self, bucket: str) -> list[str]:
        """The keys of a bucket's current objects."""
        found = s3_backends[ACCOUNT]["aws"].buckets[bucket].keys
        return sorted(key for key in found if isinstance(found.get(key), FakeKey))

    def take_sent(self) -> list[str]:
        """Bodies of the messages that functions put on the intake queue."""
        queue = sqs_backends[ACCOUNT]["us-east-1"].queues["tomodrop-intake"]
        bodies = [message.body for message in queue._messages]
        queue._messages = []
        return bodies


@contextmanager
def stage(settings: dict[str, str] | None = None) -> Iterator[Stage]:
    """Set up once per process; the handlers get an App of ours in place of their own."""
    environment = SETTINGS | (settings or {})
    with ExitStack() as entered:
        patch = entered.enter_context(pytest.MonkeyPatch.context())
        for name, value in (_PROCESS | environment).items():
            patch.setenv(name, value)
        mock = entered.enter_context(mock_aws())
        app = clients.connect(Settings.from_environment(environment))
        sandbox = decoding.sandbox_of(app.settings)
        entered.callback(sandbox.close)
        # By this thread: the warm processes end with the thread that started them.
        for name in ("a.png", "a.dcm"):
            sandbox.start(name)
        modules = {name: importlib.import_module(name) for name in FUNCTIONS}
        for module in modules.values():
            patch.setattr(module, "app", lambda: app)
        patch.setattr(modules["intake"], "sandbox", lambda: sandbox)
        _without_threads(patch)
        _without_locks(patch)
        _in_one_request(patch, app)
        for module in (resampling, measuring):
            patch.setattr(module, "RESAMPLES", _RESAMPLES)
        clock = entered.enter_context(Clock())
        made: list[Stage] = []
        send = entered.enter_context(
            # Whoever answers changes from schedule to schedule.
            installed(lambda call: made[0].answer(call), lambda s: made[0].slept(s))  # noqa: PLW0108
        )
        made.append(Stage(app, clock, modules, send, send, lambda _: None, mock))
        yield made[0]


class _AtOnce(Executor):
    """Does what it is given while it is given it: threads would race, and a seed not replay."""

    def __init__(self, *_: Any) -> None:
        """Takes what a ThreadPoolExecutor takes."""

    def submit(self, task: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            future.set_result(task(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 (as a pool does)
            future.set_exception(error)
        return future


def _without_threads(patch: pytest.MonkeyPatch) -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith("tomodrop.") and hasattr(module, "ThreadPoolExecutor"):
            patch.setattr(module, "ThreadPoolExecutor", _AtOnce)


def _in_one_request(patch: pytest.MonkeyPatch, app: App) -> None:
    """boto3's transfers have threads of their own, which outlive a process that dies in one."""

    def upload(source: IO[bytes], bucket: str, key: str, **options: Any) -> None:
        app.s3.put_object(Bucket=bucket, Key=key, Body=source.read(), **options["ExtraArgs"])

    def download(bucket: str, key: str, target: IO[bytes]) -> None:
        target.write(app.s3.get_object(Bucket=bucket, Key=key)["Body"].read())

    patch.setattr(app.s3, "upload_fileobj", upload)
    patch.setattr(app.s3, "download_fileobj", download)


def _without_locks(patch: pytest.MonkeyPatch) -> None:
    """Python 3.11 locks a cached property for all objects; invocations are processes apart."""
    for name, module in list(sys.modules.items()):
        if name.startswith("tomodrop."):
            classes = [found for found in vars(module).values() if isinstance(found, type)]
            for found in (value for one in classes for value in vars(one).values()):
                if isinstance(found, cached_property):
                    patch.setattr(found, "lock", contextlib.nullcontext(), raising=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the functions' log lines and warnings, which are many."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
