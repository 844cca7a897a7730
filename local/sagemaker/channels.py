"""Input channels of a training job: what they hold, and how it reaches the container."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path

from local.sagemaker.errors import ClientJobError
from local.sagemaker.manifests import (
    Entry,
    Part,
    entries_of_prefix,
    in_epoch_order,
    parse_augmented_manifest,
    parse_manifest,
)
from local.sagemaker.objects import Address, ObjectStore
from local.sagemaker.records import Json
from training.algorithm.records import write_record

ITEMS_AHEAD = 16


@dataclass(frozen=True)
class Channel:
    """One entry of InputDataConfig."""

    name: str
    streams: bool
    data_type: str
    source: Address
    attributes: tuple[str, ...]
    record_io: bool
    seed: int | None


def channels_of(description: Json) -> list[Channel]:
    """The channels a training job was created with."""
    default_mode = description["AlgorithmSpecification"]["TrainingInputMode"]
    return [_channel(entry, default_mode) for entry in description.get("InputDataConfig", [])]


def _channel(entry: Json, default_mode: str) -> Channel:
    source = entry["DataSource"]["S3DataSource"]
    return Channel(
        name=entry["ChannelName"],
        streams=entry.get("InputMode", default_mode) == "Pipe",
        data_type=source["S3DataType"],
        source=Address.parse(source["S3Uri"]),
        attributes=tuple(source.get("AttributeNames", ())),
        record_io=entry.get("RecordWrapperType", "None") == "RecordIO",
        seed=entry.get("ShuffleConfig", {}).get("Seed"),
    )


def list_entries(data_type: str, source: Address, objects: ObjectStore) -> list[Entry]:
    """The objects of an S3Prefix or ManifestFile. Raises ClientJobError."""
    if data_type == "ManifestFile":
        return parse_manifest(read_text(source, objects))
    return entries_of_prefix(source, objects.list(source))


def read_text(address: Address, objects: ObjectStore) -> str:
    """A manifest's text. Raises ClientJobError."""
    try:
        return objects.read(address).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ClientJobError(f"Manifest {address} is not UTF-8 text") from error


def load_items(channel: Channel, objects: ObjectStore) -> list[tuple[Part, ...]]:
    """What one epoch of a Pipe channel streams, in the manifest's order."""
    if channel.data_type == "AugmentedManifestFile":
        text = read_text(channel.source, objects)
        return parse_augmented_manifest(text, channel.attributes)
    entries = list_entries(channel.data_type, channel.source, objects)
    return [(entry.address,) for entry in entries]


def stream_epoch(
    channel: Channel,
    items: Sequence[tuple[Part, ...]],
    epoch: int,
    objects: ObjectStore,
    pool: Executor,
) -> Generator[bytes]:
    """The bytes of one epoch, as they go through the FIFO."""
    ordered = in_epoch_order(items, channel.seed, epoch)
    if channel.record_io:
        for parts in fetched_ahead(ordered, objects.read, pool):
            for payload in parts:
                yield write_record(payload)
    elif channel.data_type == "AugmentedManifestFile":
        for parts in fetched_ahead(ordered, objects.read, pool):
            yield from parts
    else:
        # Whole data sets in a few large objects: never one of them in memory.
        for (part,) in ordered:
            assert isinstance(part, Address)
            yield from objects.chunks(part)


def fetched_ahead(
    items: Sequence[tuple[Part, ...]],
    fetch: Callable[[Address], bytes],
    pool: Executor,
    ahead: int = ITEMS_AHEAD,
) -> Generator[tuple[bytes, ...]]:
    """The items with addresses replaced by their content, at most `ahead` of them fetched early."""
    waiting: deque[list[Future[bytes] | bytes]] = deque()
    try:
        for item in items:
            waiting.append(
                [pool.submit(fetch, part) if isinstance(part, Address) else part for part in item]
            )
            if len(waiting) > ahead:
                yield _resolved(waiting.popleft())
        while waiting:
            yield _resolved(waiting.popleft())
    finally:
        for parts in waiting:
            for part in parts:
                if isinstance(part, Future):
                    part.cancel()


def _resolved(parts: list[Future[bytes] | bytes]) -> tuple[bytes, ...]:
    return tuple(part.result() if isinstance(part, Future) else part for part in parts)


def download_channel(
    channel: Channel, folder: Path, objects: ObjectStore, check: Callable[[], None]
) -> None:
    """File mode: every object of the channel as a file. `check` may raise between two of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for entry in list_entries(channel.data_type, channel.source, objects):
        check()
        objects.download(entry.address, folder / entry.relative)
