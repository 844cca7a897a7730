"""The processes of a job that learns on several GPUs or hosts, and what they tell each other.

Gradients go through DistributedDataParallel. Everything else, such as how many images a step has
and who must stop, goes through gloo on the CPU. What is not learning (probe, evaluation, keeping)
is done by the first process, and the others are told what came of it.
"""

import datetime as dt
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from training.algorithm.failure import PeerFailedError, StoppedError
from training.algorithm.place import Place

T = TypeVar("T")

PATIENCE = dt.timedelta(days=1)
"""The others wait for as long as the first process evaluates; who dies is seen at once."""
ALONE = Place()


@dataclass(frozen=True, slots=True)
class Team:
    """All processes, as seen from ``place``; the groups are None where there is one process."""

    place: Place = ALONE
    everyone: Any = None
    of_host: Any = None

    def total(self, values: Sequence[float]) -> list[float]:
        """Return the sums of ``values`` over all processes; all must call it."""
        if self.place.size == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(sums, group=self.everyone)
        return sums.tolist()

    def lead(self, work: Callable[[], T]) -> T:
        """Have the first process do ``work`` and return its result in all of them.

        :raises StoppedError: in the others, when it was told to stop.
        :raises PeerFailedError: in the others, when it failed; it raises its own error.
        """
        if self.place.size == 1:
            return work()
        told: list[Any] = [None, False]
        error: Exception | None = None
        if self.place.is_main:
            try:
                told[0] = work()
            except Exception as caught:  # noqa: BLE001  # raised again once the others know
                error, told[1] = caught, True
        dist.broadcast_object_list(told, src=0, group=self.everyone)
        if told[1]:
            self.raise_together(error)
        result: T = told[0]
        return result

    def raise_together(self, error: Exception | None) -> NoReturn:
        """Raise ``error``, or in a process that has none what the others' mean for it.

        :raises StoppedError: when the others were told to stop.
        :raises PeerFailedError: with the reason of one that failed.
        """
        stopped = isinstance(error, StoppedError)
        reasons: list[Any] = [None] * self.place.size
        mine = (stopped, str(error) or type(error).__name__) if error else None
        dist.all_gather_object(reasons, mine, group=self.everyone)
        if error:
            raise error
        failed = [reason for reason in reasons if reason and not reason[0]]
        if failed:
            raise PeerFailedError(f"another process of this job failed: {failed[0][1]}")
        raise StoppedError("another process of this job was told to stop")

    def hand_out(self, parts: Sequence[T] | None) -> T:
        """Return this process's part of what the leader of its host gives, one for each."""
        if self.place.local_size == 1:
            assert parts is not None
            return parts[0]
        mine: list[Any] = [None]
        leader = self.place.rank - self.place.local_rank
        given = list(parts) if parts is not None else None
        dist.scatter_object_list(mine, given, src=leader, group=self.of_host)
        part: T = mine[0]
        return part

    def parallel(self, network: nn.Module) -> nn.Module:
        """Return ``network`` such that all processes have the first one's weights and gradients.

        The gradient is the mean over the processes.
        """
        if self.place.size == 1:
            return network
        return DistributedDataParallel(network)


@contextmanager
def assemble(place: Place) -> Iterator[Team]:
    """Meet the other processes, at the address that the launcher left in the environment."""
    if place.size == 1:
        yield Team(place)
        return
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(place.local_rank)
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=PATIENCE)
    # A kernel of one channel or one pixel has the same layout under two sets of strides.
    warnings.filterwarnings("ignore", "Grad strides do not match")
    try:
        everyone = dist.new_group(backend="gloo", timeout=PATIENCE)
        hosts = [
            dist.new_group(
                list(range(host * place.local_size, (host + 1) * place.local_size)),
                backend="gloo",
                timeout=PATIENCE,
            )
            for host in range(place.hosts)
        ]
        yield Team(place, everyone, hosts[place.host])
    finally:
        dist.destroy_process_group()
