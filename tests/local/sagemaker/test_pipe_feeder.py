"""FIFOs, read as a container reads them."""

import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from local.sagemaker.errors import ClientJobError
from local.sagemaker.pipe_feeder import PipeFeeder
from tests.local.sagemaker.support import until


def epoch(number: int) -> Generator[bytes]:
    yield f"epoch {number} ".encode()
    yield b"x" * 3_000_000
    yield b" end"


def broken(number: int) -> Generator[bytes]:
    yield f"epoch {number} ".encode()
    raise ClientJobError("no such object")


@pytest.fixture
def feeder(tmp_path: Path) -> Iterator[PipeFeeder]:
    feeder = PipeFeeder(tmp_path, "train", epoch)
    feeder.start()
    yield feeder
    feeder.close()


def read_epoch(folder: Path, number: int) -> bytes:
    path = folder / f"train_{number}"
    until(path.exists, bool, timeout_s=5)
    return path.read_bytes()


def test_epoch_after_epoch_is_one_whole_pass(tmp_path: Path, feeder: PipeFeeder) -> None:
    for number in range(3):
        content = read_epoch(tmp_path, number)
        assert content.startswith(f"epoch {number} ".encode())
        assert content.endswith(b"x end")
    assert feeder.fault is None


def test_the_next_fifo_is_there_when_an_epoch_ends(tmp_path: Path, feeder: PipeFeeder) -> None:
    for number in range(3):
        (tmp_path / f"train_{number}").read_bytes()
        assert (tmp_path / f"train_{number + 1}").is_fifo()


def test_a_reader_that_closes_early_only_ends_its_epoch(tmp_path: Path, feeder: PipeFeeder) -> None:
    with (tmp_path / "train_0").open("rb", buffering=0) as fifo:
        assert fifo.read(5) == b"epoch"

    assert read_epoch(tmp_path, 1).startswith(b"epoch 1 ")
    assert feeder.is_alive()


@pytest.mark.parametrize("opened", [False, True])
def test_a_reader_that_does_not_read_holds_up_nothing(tmp_path: Path, *, opened: bool) -> None:
    feeder = PipeFeeder(tmp_path, "train", epoch)
    feeder.start()
    fifo = (tmp_path / "train_0").open("rb", buffering=0) if opened else None
    started_at = time.monotonic()

    feeder.close()

    assert time.monotonic() - started_at < 2
    if fifo:
        fifo.close()


def test_after_a_fault_the_reader_sees_no_end_of_file(tmp_path: Path) -> None:
    feeder = PipeFeeder(tmp_path, "train", broken)
    feeder.start()
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "train_0").read_bytes()))
    reader.start()

    until(lambda: feeder.fault, bool, timeout_s=5)
    reader.join(0.2)
    assert reader.is_alive()
    assert str(feeder.fault) == "ClientError: no such object"

    # The program is killed in between; here the reader is let go instead.
    feeder.close()
    reader.join(5)
    assert read == [b"epoch 0 "]
