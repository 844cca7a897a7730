"""One pass over train for all processes of a job, each of which learns from its part.

Every host has all data, and a FIFO may be read by one process only. So the first process of each
host reads, takes every nth image as its host's share, and hands out each batch of it in parts.
All hosts mix alike: together, their batches are the one that a single process would learn from.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from training.algorithm.data import Batch, Channel
from training.algorithm.distributed import Team


@contextmanager
def shared_batches(channel: Channel, team: Team, *, varied: bool) -> Iterator[Iterator[Batch]]:
    """Open the channel's next pass, mixed; each process gets its parts, some may be empty.

    All processes get as many parts, and all hear at the same step of an end, a stop or a failure.
    """
    place = team.place
    if not place.leads_host:
        channel.passes += 1
        yield _parts(None, team)
        return
    share = (place.host, place.hosts)
    with channel.batches(shuffled=True, varied=varied, share=share) as batches:
        yield _parts(batches, team) if place.size > 1 else batches


def catch_up(channel: Channel, team: Team, passes: int) -> None:
    """Bring the channel to where the first process's is, which made ``passes`` passes."""
    while team.place.leads_host and channel.passes < passes:
        # The next FIFO comes only after this one was opened and closed.
        with channel.batches() as batches:
            next(batches, None)
    channel.passes = passes


def _parts(batches: Iterator[Batch] | None, team: Team) -> Iterator[Batch]:
    last: Batch | None = None
    while True:
        batch: Batch | None = None
        error: Exception | None = None
        try:
            batch = next(batches, None) if batches else None
        except Exception as caught:  # noqa: BLE001  # raised again once the others know
            error = caught
        samples = float(len(batch.labels)) if batch else 0.0
        total, errors = team.total([samples, float(error is not None)])
        if errors:
            team.raise_together(error)
        if total == 0:
            return
        # Another host may have one batch more.
        last = batch or (Batch(last.images[:0], last.labels[:0]) if last else None)
        yield team.hand_out(_split(last, team.place.local_size) if last else None)


def _split(batch: Batch, parts: int) -> list[Batch]:
    # Copies: what is sent would otherwise be the whole batch each time.
    images = [part.clone() for part in batch.images.tensor_split(parts)]
    labels = [part.clone() for part in batch.labels.tensor_split(parts)]
    return [Batch(*pair) for pair in zip(images, labels, strict=True)]
