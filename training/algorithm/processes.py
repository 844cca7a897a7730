"""A process per GPU and host, started by PyTorch's launcher as ``resourceconfig.json`` says.

Each of them is this program again, with its place in the environment (see :mod:`place`).
"""

import json
import os
import sys
from dataclasses import dataclass

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from training.algorithm.failure import AlgorithmError, ChannelConfigError, CustomerError
from training.algorithm.log import LOGGER
from training.algorithm.paths import Layout

PORT = 29500
RENDEZVOUS_S = 900
STOP_S = 100
"""SageMaker kills a container 120 s after SIGTERM."""


@dataclass(frozen=True, slots=True)
class Processes:
    """``hosts`` by name, the first of which they meet at; this one is number ``host``."""

    hosts: tuple[str, ...] = ("localhost",)
    host: int = 0
    per_host: int = 1
    interface: str | None = None

    @property
    def total(self) -> int:
        """How many there are in all."""
        return len(self.hosts) * self.per_host


def plan_processes(layout: Layout, gpus: int) -> Processes:
    """Return the processes of the job: one for each GPU of each host, or one on a host without.

    :raises ChannelConfigError: when ``resourceconfig.json`` does not say who this host is.
    """
    per_host = max(1, gpus)
    try:
        config = json.loads(layout.resource_config.read_bytes())
        hosts = tuple(sorted(config["hosts"]))
        host = hosts.index(config["current_host"])
        return Processes(hosts, host, per_host, config.get("network_interface_name"))
    except FileNotFoundError:
        return Processes(per_host=per_host)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ChannelConfigError(
            f"{layout.resource_config} must name hosts and, among them, current_host, as SageMaker "
            f"writes it: {error!r}"
        ) from error


def launch(processes: Processes, layout: Layout) -> int:
    """Run the processes of this host to their end and return the exit code of the job here."""
    LOGGER.info(
        "Starting %d of %d processes on host %d of %d",
        *(processes.per_host, processes.total, processes.host + 1, len(processes.hosts)),
    )
    if processes.interface and len(processes.hosts) > 1:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", processes.interface)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", processes.interface)
    try:
        elastic_launch(_launch_config(processes), sys.executable)(
            "-m", "training.algorithm", "train"
        )
    except ChildFailedError:
        # The launcher knows the code of the process that ended first, which may only have heard of
        # another's failure.
        return _exit_code(layout) or AlgorithmError.exit_code
    except SignalException:
        # Told to stop: the processes have ended by themselves, and said so if they left nothing.
        return _exit_code(layout)
    return 0


def _exit_code(layout: Layout) -> int:
    try:
        reason = layout.failure.read_text(encoding="utf-8")
    except FileNotFoundError:
        return 0
    kind = CustomerError if reason.startswith(CustomerError.label) else AlgorithmError
    return kind.exit_code


def _launch_config(processes: Processes) -> LaunchConfig:
    return LaunchConfig(
        min_nodes=len(processes.hosts),
        max_nodes=len(processes.hosts),
        nproc_per_node=processes.per_host,
        run_id="train",
        rdzv_backend="static",
        rdzv_endpoint=f"{processes.hosts[0]}:{PORT}",
        rdzv_configs={"rank": processes.host, "timeout": RENDEZVOUS_S},
        max_restarts=0,
        monitor_interval=0.5,
        shutdown_timeout=STOP_S,
    )
