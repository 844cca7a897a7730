"""Which of a job's processes this one is, as PyTorch's launcher tells it."""

from collections.abc import Mapping
from dataclasses import dataclass

RANK = "RANK"
WORLD_SIZE = "WORLD_SIZE"
LOCAL_RANK = "LOCAL_RANK"
LOCAL_WORLD_SIZE = "LOCAL_WORLD_SIZE"


@dataclass(frozen=True, slots=True)
class Place:
    """``rank`` of ``size`` processes; ``local_rank`` of the ``local_size`` on this host."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the process that evaluates, keeps and tells."""
        return self.rank == 0

    @property
    def leads_host(self) -> bool:
        """Whether this process reads the channels for all on its host."""
        return self.local_rank == 0

    @property
    def host(self) -> int:
        """Number of this host, from 0."""
        return self.rank // self.local_size

    @property
    def hosts(self) -> int:
        """How many hosts there are."""
        return self.size // self.local_size


def read_place(environment: Mapping[str, str]) -> Place | None:
    """Return the place that the launcher gave this process, or None if it did not start it."""
    if RANK not in environment:
        return None
    names = (RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE)
    return Place(*(int(environment[name]) for name in names))
