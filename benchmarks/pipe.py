"""The input side in numbers: whether the trainer waits for it, when it starts, what it holds.

    python -m benchmarks.pipe [--rounds 5] [--batches 24] [--sizes 1000 10000 50000]

* throughput: ResNet-18 at 128 px learns from a FIFO that another process feeds from files, and the
  same loop from decoded batches in memory, in turn; what counts is the ratio of each round.
* first batch: from the opening of the channel, for each size of the data set; beside it File mode,
  which first brings the whole data set to the disk (here a copy on the same disk, the least that a
  download can take).
* memory: the largest resident memory of a process that reads the largest set through the channel,
  shuffled, less what it had after the imports.

The table goes to standard output and to `benchmarks/results/pipe.md`.
"""

import argparse
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from training.algorithm.channels import ChannelInput, Way
from training.algorithm.cpu import count_cores
from training.algorithm.data import Batch, Channel, Feed
from training.algorithm.image_records import pack_image
from training.algorithm.images import Scaling
from training.algorithm.model import Classifier, build_resnet
from training.algorithm.paths import Layout
from training.algorithm.pipe import Patience
from training.algorithm.records import write_record
from training.datasets.phantoms import phantoms

REPOSITORY = Path(__file__).resolve().parents[1]
RESULT = REPOSITORY / "benchmarks" / "results" / "pipe.md"
SIDE = 128
BATCH = 32
MEBI = 1024 * 1024


@dataclass(frozen=True)
class Place:
    """The files of the benchmark: pictures, and folders for the jobs."""

    root: Path

    @property
    def pictures(self) -> Path:
        return self.root / "pictures"

    def feed(self) -> Feed:
        base = Path(tempfile.mkdtemp(dir=self.root))
        (base / "input" / "data").mkdir(parents=True)
        shape = (3, SIDE, SIDE)
        return Feed(Layout(base), Patience(600), shape, 2, BATCH, seed=1, decoders=count_cores())


def draw_pictures(place: Place) -> None:
    """Phantoms of both classes, RGB as the normaliser leaves them; in turn by name."""
    place.pictures.mkdir()
    for label, name in enumerate(("non_covid", "covid")):
        drawn = phantoms(name, patients=10, slices=20, seed=3, size=SIDE)
        for number, phantom in enumerate(drawn):
            pixels = np.repeat(phantom.pixels[:, :, None], 3, axis=2)
            Image.fromarray(pixels).save(place.pictures / f"{number:05d}-{label}.png")


@contextmanager
def fed(feed: Feed, place: Place, count: int) -> Iterator[Channel]:
    """A channel whose first FIFO is fed with `count` samples by a process of its own."""
    fifo = feed.layout.fifo("train", 0)
    os.mkfifo(fifo)
    command = [sys.executable, "-m", "benchmarks.feed", str(fifo), str(place.pictures), str(count)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE) as feeder:
        assert feeder.stdout is not None
        feeder.stdout.readline()  # its start is none of the channel's time
        yield Channel("train", feed)
        feeder.wait()


class Learner:
    """The loop of a training, as small as it gets."""

    def __init__(self) -> None:
        torch.set_num_threads(count_cores())
        torch.manual_seed(0)
        resnet = build_resnet(18, 3, 2)
        self.network = Classifier(resnet, 5, frozen_batch_norm=False)
        self.network.place_on(torch.device("cpu"))
        self.network.train()
        self.optimiser = torch.optim.SGD(self.network.parameters(), lr=0.01, momentum=0.9)

    def learn(self, batches: Iterable[Batch]) -> tuple[float, float]:
        """Return wall and CPU seconds (this process and its feeders) of a pass over `batches`."""
        wall, cpu = time.perf_counter(), _cpu_seconds()
        for batch in batches:
            logits = self.network(Scaling().to_input(batch.images))
            loss = functional.cross_entropy(logits, batch.labels)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            self.optimiser.step()
        return time.perf_counter() - wall, _cpu_seconds() - cpu


def _cpu_seconds() -> float:
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in parts)


def measure_throughput(place: Place, rounds: int, batches: int) -> list[str]:
    """Rows of the table: images per second from memory and from the pipe, and their ratio."""
    count = BATCH * batches
    learner = Learner()
    with fed(place.feed(), place, count) as channel, channel.batches() as ready:
        memory = list(ready)
    learner.learn(memory[:2])  # warm
    rows: list[tuple[float, float, float, float]] = []
    for _ in range(rounds):
        wall, cpu = learner.learn(memory)
        # The feeder's CPU is counted when it has ended, which is within `fed`.
        before = _cpu_seconds()
        with fed(place.feed(), place, count) as channel, channel.batches(shuffled=True) as ready:
            pipe_wall, _ = learner.learn(_after_first(ready))
        rows.append((wall, pipe_wall, cpu, _cpu_seconds() - before))
    shares = [memory_wall / pipe_wall for memory_wall, pipe_wall, _, _ in rows]
    memory_rate, pipe_rate = (
        statistics.median(count / row[column] for row in rows) for column in (0, 1)
    )
    cpu_share = statistics.median(memory_cpu / pipe_cpu for _, _, memory_cpu, pipe_cpu in rows)
    low, high = min(shares), max(shares)
    share = f"**{statistics.median(shares):.3f}** ({low:.3f}-{high:.3f})"
    return [
        "| ResNet-18, 128 px, batches of 32 | images/s |",
        "|---|---|",
        f"| from memory, decoded | {memory_rate:.1f} |",
        f"| Pipe mode, shuffled, from its first batch on | {pipe_rate:.1f} |",
        f"| **Pipe mode's share of memory's, median of {rounds} rounds** | {share} |",
        f"| CPU seconds of memory's loop / of Pipe mode's, feeder included | {cpu_share:.3f} |",
    ]


def _after_first(ready: Iterator[Batch]) -> Iterator[Batch]:
    """The batches, once the first is there: start-up has a table of its own."""
    first = next(ready)

    def all_of_them() -> Iterator[Batch]:
        yield first
        yield from ready

    return all_of_them()


def measure_first_batch(place: Place, sizes: list[int], rounds: int) -> list[str]:
    """Rows of the table: seconds to the first batch, by size of the data set."""
    rows = [
        "| records | Pipe mode: first batch after, s | File mode: copy + first batch, s |",
        "|---|---|---|",
    ]
    for size in sizes:
        stored = place.root / f"{size}.rec"
        _pack(place, stored, size)
        pipe = statistics.median(_first_of_pipe(place, size) for _ in range(rounds))
        copied, first = zip(*(_first_of_file(place, stored) for _ in range(rounds)), strict=True)
        size_mb = stored.stat().st_size / 1e6
        rows.append(
            f"| {size:,} ({size_mb:.0f} MB) | {pipe:.2f} | "
            f"{statistics.median(copied):.2f} + {statistics.median(first):.2f} |"
        )
        stored.unlink()
    return rows


def _pack(place: Place, stored: Path, size: int) -> None:
    files = [(int(p.stem[-1]), p.read_bytes()) for p in sorted(place.pictures.iterdir())]
    with stored.open("wb") as file:
        for number in range(size):
            label, encoded = files[number % len(files)]
            file.write(write_record(pack_image([label], number, encoded)))


def _first_of_pipe(place: Place, size: int) -> float:
    with fed(place.feed(), place, size) as channel:
        return _first(channel)


def _first_of_file(place: Place, stored: Path) -> tuple[float, float]:
    feed = place.feed()
    folder = feed.layout.channel("train")
    folder.mkdir()
    os.sync()
    started = time.perf_counter()
    with stored.open("rb") as source, (folder / "train.rec").open("wb") as copy:
        # Written out, as a download is by the time its records are read.
        shutil.copyfileobj(source, copy, MEBI)
        copy.flush()
        os.fsync(copy.fileno())
    copied = time.perf_counter() - started
    first = _first(Channel("train", feed, ChannelInput(Way.FILE_RECORDS)))
    shutil.rmtree(feed.layout.base)
    return copied, first


def _first(channel: Channel) -> float:
    started = time.perf_counter()
    with channel.batches(shuffled=True) as ready:
        next(ready)
        return time.perf_counter() - started


def measure_memory(place: Place, size: int) -> list[str]:
    """Rows of the table: resident memory of a whole pass, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.pipe", "--read", str(place.root), str(size)]
    done = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    before, peak = map(float, done.stdout.split())
    return [
        f"| a pass over {size:,} records in Pipe mode, shuffled | MiB resident |",
        "|---|---|",
        f"| after the imports | {before:.0f} |",
        f"| at its peak | {peak:.0f} |",
        f"| **the input side** | **{peak - before:.0f}** |",
    ]


def read_whole_pass(place: Place, size: int) -> None:
    """Print resident memory after the imports, and at the peak of a pass."""
    before = _resident_mib("VmRSS")
    with fed(place.feed(), place, size) as channel, channel.batches(shuffled=True) as ready:
        seen = sum(len(batch.labels) for batch in ready)
    assert seen == size
    print(before, _resident_mib("VmHWM"))


def _resident_mib(field: str) -> float:
    """Return "VmRSS" (now) or "VmHWM" (at its peak); getrusage's peak is inherited, these not."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kibi = next(line.split()[1] for line in status.splitlines() if line.startswith(f"{field}:"))
    return int(kibi) / 1024


def _title() -> str:
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    return f"# The input side, `python -m benchmarks.pipe`: {count_cores()} cores, {versions}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipe")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=24, help="in each round of the throughput")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 50_000])
    parser.add_argument("--read", nargs=2, metavar=("ROOT", "COUNT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.read:
        read_whole_pass(Place(Path(given.read[0])), int(given.read[1]))
        return
    with tempfile.TemporaryDirectory(prefix="benchmark-pipe-") as root:
        place = Place(Path(root))
        draw_pictures(place)
        sections = [
            [_title()],
            measure_throughput(place, given.rounds, given.batches),
            measure_first_batch(place, given.sizes, given.rounds),
            measure_memory(place, max(given.sizes)),
        ]
    load = "Load average of the machine at the end: {:.1f} {:.1f} {:.1f}.".format(*os.getloadavg())
    text = "\n\n".join(["\n".join(section) for section in sections] + [load]) + "\n"
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
