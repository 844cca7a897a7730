"""The cloud on one machine, as one object: `with Cloud(...) as cloud:`.

It starts in this order, and stops in the reverse: state folder, moto behind its gateway, the stack,
the stored state, SageMaker, then whatever calls functions. moto keeps its services' state in module
globals, so there is at most one running cloud per process.
"""

import contextlib
import logging
import shutil
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from local import moto_seams
from local.aws_session import Clients
from local.clock import Clock, RealClock
from local.delivery import Delivery, Surroundings
from local.deploy import deploy
from local.errors import CloudStoppedError, LocalCloudError
from local.functions import Function, Platform, worker_environment
from local.gateway import Gateway, Guard
from local.guards import ChangeGuard, ObjectGuard, ParameterGuard, QueueGuard, TableGuard
from local.invoke_guard import InvokeGuard
from local.moto_server import MotoServer
from local.object_model import ObjectRecorder
from local.queue_model import RecordedQueue
from local.restore import restore_state
from local.s3_events import Sequencer
from local.sagemaker import JobProgress, Programs, SageMakerServer
from local.sagemaker.programs import DEFAULT
from local.state import StateStore
from local.table_model import TableRecorder

ACCOUNT = moto_seams.ACCOUNT
REGION = "us-east-1"
DELIVERY_THREADS = 64

_one_per_process = threading.Lock()


@dataclass(frozen=True)
class Activity:
    """What the cloud is at. Counts are of messages; jobs are SageMaker's.

    `queue_waiting`, `queue_in_flight`: in the queues that functions read. `dead_letters`: in the
    queues for what could not be delivered. `invocations_running`: function's logical id → number.
    """

    queue_waiting: int
    queue_in_flight: int
    dead_letters: int
    invocations_running: dict[str, int]
    jobs: list[JobProgress]


class Cloud:
    """A template deployed and running on this machine, from `start` to `stop`.

    `state_dir` keeps everything and is made if absent; with the content of an earlier run, the
    cloud goes on where that ended, however it ended. `schedule_speed` divides the interval of rate
    schedules. `programs` stand for container images. `start` raises ParameterErrors, TemplateError
    and StateError.
    """

    def __init__(
        self,
        *,
        template: Path,
        parameters: Mapping[str, str],
        state_dir: Path,
        clock: Clock | None = None,
        schedule_speed: float = 1.0,
        programs: Programs = DEFAULT,
    ) -> None:
        self._template = template
        self._parameters = dict(parameters)
        self._state_dir = state_dir.resolve()
        self._clock = clock or RealClock()
        self._schedule_speed = schedule_speed
        self._programs = programs
        self._undo = contextlib.ExitStack()
        self._started = False

    # lifetime

    def start(self) -> None:
        """Deploy, restore and run. On an error nothing is left running."""
        with contextlib.ExitStack() as undo:
            _be_the_only_one(undo)
            self.log_folder = self._state_dir / "logs"
            store = StateStore(self._state_dir)
            undo.callback(store.close)
            undo.enter_context(_log_to(self.log_folder / "local.log"))
            self._executor = undo.enter_context(_executor())
            self._start_moto(store, undo)
            self._deployment = deploy(self.client, self._template, self._parameters, REGION)
            restore_state(store, self._objects, self._tables, REGION)
            self._start_functions(undo)
            self._undo = undo.pop_all()
            self._started = True

    def stop(self) -> None:
        """End everything; processes, threads and ports are gone on return. Safe to call twice."""
        self._started = False
        self._undo.close()

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

    def _start_moto(self, store: StateStore, undo: contextlib.ExitStack) -> None:
        moto_seams.reset_backends()
        undo.callback(moto_seams.reset_backends)
        undo.callback(moto_seams.uninstall)
        moto_seams.install(Sequencer(after=store.newest_change()))
        RecordedQueue.journal = None  # what deployment sends is sent at each start
        self._objects = ObjectRecorder(store, REGION)
        self._tables = TableRecorder(store, REGION)
        queues, self._invoke_guard = QueueGuard(REGION), InvokeGuard(self._executor)
        guards: dict[str, Guard] = {
            "dynamodb": TableGuard(self._tables),
            "awslambda": self._invoke_guard,
            "s3": ObjectGuard(self._objects),
            "scheduler": ChangeGuard(self._schedules_changed),
            "sqs": queues,
            "ssm": ParameterGuard(self._tables),
        }
        server = MotoServer(Gateway(guards))
        self.endpoint_url = server.url
        undo.enter_context(server)
        undo.callback(queues.close)
        self.client = Clients(REGION, server.url)
        undo.callback(self.client.close)

    def _start_functions(self, undo: contextlib.ExitStack) -> None:
        sagemaker = SageMakerServer(
            account=ACCOUNT,
            region=REGION,
            state_dir=self._state_dir / "sagemaker",
            aws_environment=self._sagemaker_environment(),
            emit=self.emit,
            programs=self._programs,
        )
        self.sagemaker_url = sagemaker.url
        self.client.use_endpoint("sagemaker", sagemaker.url)
        self._sagemaker = sagemaker
        scratch = self._state_dir / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        self._platform = Platform(REGION, self.endpoint_url, sagemaker.url, scratch)
        self._delivery = Delivery(
            self._deployment,
            self.client,
            self._executor,
            Surroundings(self._environment_of, self.log_folder, self._clock, self._schedule_speed),
        )
        self._invoke_guard.serve(self._delivery.pools.values(), self._delivery.invoker)
        undo.callback(sagemaker.stop)
        sagemaker.start()
        undo.callback(self._delivery.stop)
        self._delivery.start()

    # what a user of it asks

    @property
    def outputs(self) -> dict[str, str]:
        """The stack's outputs by name."""
        return dict(self._deployment.stack.outputs)

    @property
    def functions(self) -> list[str]:
        """Logical ids of the stack's functions."""
        return [function.logical_id for function in self._deployment.functions]

    def environment(self, function_logical_id: str) -> dict[str, str]:
        """The whole environment of a function's workers, credentials included."""
        return dict(self._delivery.pool(function_logical_id).environment)

    def fire(self, function_logical_id: str) -> Any:
        """Deliver a function's schedule now, with the event that the schedule would send.

        Returns the function's result. Raises FunctionFailedError after its last attempt, and
        LocalCloudError for a function that the stack does not have or no schedule calls.
        """
        return self._delivery.fire(function_logical_id)

    def emit(self, event: dict[str, Any]) -> None:
        """Deliver an event of a service to the targets of the rules that match it.

        Returns when every target has it, or its dead-letter queue does. Raises CloudStoppedError if
        it is still to be delivered.
        """
        try:
            self._delivery.bus.put(event)
        except (RuntimeError, CancelledError) as error:  # the executor takes or does nothing more
            raise CloudStoppedError("The cloud is stopping.") from error

    def activity(self) -> Activity:
        """What is going on now."""
        read = {mapping.queue_arn for mapping in self._deployment.mappings}
        dead = self._deployment.stack.dead_letter_queues()
        waiting = in_flight = dead_letters = 0
        for arn, ready, received in self._queue_counts():
            waiting += ready if arn in read else 0
            in_flight += received if arn in read else 0
            dead_letters += ready + received if arn in dead else 0
        return Activity(
            queue_waiting=waiting,
            queue_in_flight=in_flight,
            dead_letters=dead_letters,
            invocations_running=self._delivery.running(),
            jobs=self.jobs(),
        )

    def jobs(self) -> list[JobProgress]:
        """SageMaker's jobs now, without the questions to every queue that `activity` asks."""
        return self._sagemaker.progress()

    # the inside

    def _queue_counts(self) -> Iterator[tuple[str, int, int]]:
        """(ARN, messages to be received, messages received and not deleted) of each queue."""
        for queue in self._deployment.stack.of_type("AWS::SQS::Queue"):
            found = self.client("sqs").get_queue_attributes(
                QueueUrl=queue.physical_id, AttributeNames=["All"]
            )["Attributes"]
            ready, delayed, received = (
                int(found[f"ApproximateNumberOfMessages{name}"])
                for name in ("", "Delayed", "NotVisible")
            )
            yield found["QueueArn"], ready + delayed, received

    def _environment_of(self, function: Function) -> dict[str, str]:
        return worker_environment(function, self._platform, self._credentials(function.role_arn))

    def _credentials(self, role_arn: str) -> Mapping[str, str]:
        session = role_arn.rpartition("/")[2][:64]
        answer = self.client("sts").assume_role(RoleArn=role_arn, RoleSessionName=session)
        credentials: Mapping[str, str] = answer["Credentials"]
        return credentials

    def _sagemaker_environment(self) -> dict[str, str]:
        credentials = self._credentials(f"arn:aws:iam::{ACCOUNT}:role/local-sagemaker")
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
            "AWS_SESSION_TOKEN": credentials["SessionToken"],
        }

    def _schedules_changed(self) -> None:
        if self._started:
            self._delivery.scheduler.look_again()


def _be_the_only_one(undo: contextlib.ExitStack) -> None:
    if not _one_per_process.acquire(blocking=False):
        raise LocalCloudError("A cloud runs in this process already; stop it first.")
    undo.callback(_one_per_process.release)


@contextlib.contextmanager
def _executor() -> Iterator[ThreadPoolExecutor]:
    executor = ThreadPoolExecutor(DELIVERY_THREADS, thread_name_prefix="delivery")
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Warnings of ours and of moto go to a file: the terminal belongs to whoever started us."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in ("local", "moto", "werkzeug")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    logging.getLogger("moto").setLevel(logging.ERROR)  # it warns of what `supplements` makes up for
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
            logger.propagate = True
        handler.close()
