"""Everything that calls functions, started and stopped as one."""

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local import moto_seams
from local.bus import EventBus
from local.clock import Clock
from local.deploy import Deployment
from local.errors import LocalCloudError
from local.functions import Function
from local.invocations import AsyncInvoker
from local.queues import QueuePoller
from local.schedules import Scheduler
from local.stack import ClientFactory
from local.workers import WorkerPool

# How long running functions may take to finish when the cloud stops.
STOP_GRACE_S = 3.0
HOUSEKEEPING_S = 15.0
SMALLEST_POOL = 2


@dataclass(frozen=True)
class Surroundings:
    """What functions run in and go by.

    `environment_of` gives the whole environment of a function's workers; their logs go to
    `<log_folder>/<logical id>.log`. `schedule_speed` divides the interval of rate schedules.
    """

    environment_of: Callable[[Function], Mapping[str, str]]
    log_folder: Path
    clock: Clock
    schedule_speed: float


class Delivery:
    """Pools, pollers, bus and scheduler of one deployment."""

    def __init__(
        self,
        deployment: Deployment,
        client: ClientFactory,
        executor: ThreadPoolExecutor,
        surroundings: Surroundings,
    ) -> None:
        self.pools = {
            function.logical_id: WorkerPool(
                function,
                surroundings.environment_of(function),
                surroundings.log_folder / f"{function.logical_id}.log",
                _capacity(function),
            )
            for function in deployment.functions
        }
        self.invoker = AsyncInvoker(list(self.pools.values()))
        self.bus = EventBus(client("events"), self.invoker, executor)
        self.scheduler = Scheduler(
            client("scheduler"),
            self.invoker,
            executor,
            surroundings.clock,
            surroundings.schedule_speed,
        )
        by_arn = {pool.function.arn: pool for pool in self.pools.values()}
        self._pollers = [
            QueuePoller(mapping, by_arn[mapping.function_arn], client("sqs"), executor)
            for mapping in deployment.mappings
        ]
        self._stopping = threading.Event()
        self._housekeeping = threading.Thread(target=self._keep_house, name="housekeeping")
        self.bus.check_targets()
        self.scheduler.check()

    def start(self) -> None:
        """Deliver from now on."""
        self._housekeeping.start()
        for poller in self._pollers:
            poller.start()
        self.scheduler.start()

    def stop(self) -> None:
        """Deliver no more; end every worker. What was not delivered stays where it was kept."""
        self._stopping.set()
        self.scheduler.stop()
        for poller in self._pollers:
            poller.stop()
        self.invoker.stop()
        stops = [
            threading.Thread(target=pool.stop, args=(STOP_GRACE_S,)) for pool in self.pools.values()
        ]
        for stop in stops:
            stop.start()
        for stop in stops:
            stop.join()
        if self._housekeeping.is_alive():
            self._housekeeping.join()

    def pool(self, logical_id: str) -> WorkerPool:
        """The workers of a function; raises LocalCloudError if the stack has none of that name."""
        if logical_id not in self.pools:
            raise LocalCloudError(
                f"{logical_id} is no function of this stack; it has {', '.join(self.pools)}."
            )
        return self.pools[logical_id]

    def fire(self, logical_id: str) -> Any:
        """Call a function as its schedule would now; see Scheduler.fire."""
        return self.scheduler.fire(self.pool(logical_id).function.arn)

    def running(self) -> dict[str, int]:
        """Invocations under way by function's logical id, those that wait for a retry included."""
        return {
            logical_id: pool.running + self.invoker.waiting(pool.function)
            for logical_id, pool in self.pools.items()
        }

    def _keep_house(self) -> None:
        while not self._stopping.wait(HOUSEKEEPING_S):
            moto_seams.forget_instances()
            for pool in self.pools.values():
                pool.end_idle()
                pool.turn_log()


def _capacity(function: Function) -> int:
    """How many workers a function may have here: its reserved concurrency, or by processors."""
    processors = max(SMALLEST_POOL, os.cpu_count() or 1)
    return processors if function.concurrency is None else min(function.concurrency, processors)
