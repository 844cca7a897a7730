import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from training.algorithm.failure import (
    NotRecordIOError,
    PipeAbsentError,
    PipeLateError,
    StoppedError,
    TruncatedRecordError,
)
from training.algorithm.pipe import Patience, read_pipe
from training.algorithm.records import write_record

PATIENT = Patience(20)
BRIEF = Patience(0.3)
RECORDS = [b"image one", b"0", b"image two" * 50_000, b"1"]
ADVICE = "Look at RecordWrapperType"


def records_of(payloads: list[bytes]) -> bytes:
    return b"".join(map(write_record, payloads))


def open_pipe(path: Path, patience: Patience = PATIENT) -> Generator[bytes, None, None]:
    return read_pipe(path, patience, ADVICE)


def read(path: Path, patience: Patience = PATIENT) -> list[bytes]:
    return list(open_pipe(path, patience))


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "train_0"
    os.mkfifo(path)
    return path


def write_soon(path: Path, content: bytes) -> threading.Thread:
    thread = threading.Thread(target=path.write_bytes, args=(content,), daemon=True)
    thread.start()
    return thread


def test_records_come_through_a_fifo_written_by_another_process(fifo: Path) -> None:
    writer = "import sys; open(sys.argv[1], 'wb').write(bytes.fromhex(sys.argv[2]))"
    content = records_of([b"image", b"1"] * 3)
    with subprocess.Popen([sys.executable, "-c", writer, str(fifo), content.hex()]):
        assert read(fifo) == [b"image", b"1"] * 3


def test_payloads_larger_than_the_pipe_come_through(fifo: Path) -> None:
    write_soon(fifo, records_of(RECORDS))
    assert read(fifo) == RECORDS


def test_a_fifo_that_appears_late_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "train_1"

    def make_and_write() -> None:
        time.sleep(0.2)
        os.mkfifo(path)
        path.write_bytes(records_of(RECORDS))

    threading.Thread(target=make_and_write, daemon=True).start()
    assert read(path) == RECORDS


def test_a_writer_that_comes_late_is_waited_for(fifo: Path) -> None:
    records = open_pipe(fifo)
    threading.Timer(0.2, write_soon, (fifo, records_of(RECORDS))).start()
    assert list(records) == RECORDS


def test_a_writer_that_says_nothing_is_an_empty_pass(fifo: Path) -> None:
    write_soon(fifo, b"")
    assert read(fifo) == []


def test_closing_early_lets_the_writer_go(fifo: Path) -> None:
    broken: list[BaseException] = []

    def write() -> None:
        try:
            fifo.write_bytes(records_of(RECORDS * 20))
        except BrokenPipeError as error:
            broken.append(error)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    records = open_pipe(fifo)
    assert next(records) == RECORDS[0]
    records.close()
    writer.join(5)
    assert not writer.is_alive()
    assert broken


def test_an_absent_fifo_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(PipeAbsentError, match="train_7"):
        read(tmp_path / "train_7", BRIEF)


def test_a_fifo_without_a_writer_is_late(fifo: Path) -> None:
    with pytest.raises(PipeLateError, match=r"no data for 0\.3 s"):
        read(fifo, BRIEF)


def test_a_writer_that_stalls_is_late(fifo: Path) -> None:
    hold = threading.Event()

    def write_half() -> None:
        with fifo.open("wb") as stream:
            stream.write(records_of(RECORDS[:1]))
            stream.flush()
            hold.wait(5)

    threading.Thread(target=write_half, daemon=True).start()
    records = open_pipe(fifo, BRIEF)
    with pytest.raises(PipeLateError):
        list(records)
    hold.set()


@pytest.mark.parametrize("missing", [1, 4, 6, 13])
def test_a_pass_cut_short_is_truncated(fifo: Path, missing: int) -> None:
    write_soon(fifo, records_of(RECORDS)[:-missing])
    with pytest.raises(TruncatedRecordError, match="train_0"):
        read(fifo)


def test_bytes_that_are_no_recordio_come_with_the_advice(fifo: Path) -> None:
    write_soon(fifo, b"\x89PNG\r\n\x1a\n and so on1")
    with pytest.raises(NotRecordIOError, match=f"train_0: record 0 .*{ADVICE}"):
        read(fifo)


@pytest.mark.parametrize("make", [lambda _path: None, os.mkfifo])
def test_being_told_to_stop_ends_every_wait(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "validation_0"
    make(path)
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    started = time.monotonic()
    with pytest.raises(StoppedError):
        read(path, PATIENT.or_until(stop))
    assert time.monotonic() - started < 5
