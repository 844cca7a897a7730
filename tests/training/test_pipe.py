import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from training.algorithm.failure import (
    NotRecordIOError,
    PipeAbsentError,
    PipeLateError,
    StoppedError,
    TruncatedRecordError,
    UnpairedRecordError,
)
from training.algorithm.pipe import Patience, read_pairs
from training.algorithm.records import write_record

PATIENT = Patience(20)
BRIEF = Patience(0.3)
PAIRS = [(b"image one", b"0"), (b"image two" * 50_000, b"1")]


def records_of(pairs: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(write_record(part) for pair in pairs for part in pair)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "train_0"
    os.mkfifo(path)
    return path


def write_soon(path: Path, content: bytes) -> threading.Thread:
    thread = threading.Thread(target=path.write_bytes, args=(content,), daemon=True)
    thread.start()
    return thread


def test_pairs_come_through_a_fifo_written_by_another_process(fifo: Path) -> None:
    writer = "import sys; open(sys.argv[1], 'wb').write(bytes.fromhex(sys.argv[2]))"
    content = records_of([(b"image", b"1")] * 3)
    with subprocess.Popen([sys.executable, "-c", writer, str(fifo), content.hex()]):
        assert list(read_pairs(fifo, PATIENT)) == [(b"image", b"1")] * 3


def test_payloads_larger_than_the_pipe_come_through(fifo: Path) -> None:
    write_soon(fifo, records_of(PAIRS))
    assert list(read_pairs(fifo, PATIENT)) == PAIRS


def test_a_fifo_that_appears_late_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "train_1"

    def make_and_write() -> None:
        time.sleep(0.2)
        os.mkfifo(path)
        path.write_bytes(records_of(PAIRS))

    threading.Thread(target=make_and_write, daemon=True).start()
    assert list(read_pairs(path, PATIENT)) == PAIRS


def test_a_writer_that_comes_late_is_waited_for(fifo: Path) -> None:
    pairs = read_pairs(fifo, PATIENT)
    threading.Timer(0.2, write_soon, (fifo, records_of(PAIRS))).start()
    assert list(pairs) == PAIRS


def test_a_writer_that_says_nothing_is_an_empty_pass(fifo: Path) -> None:
    write_soon(fifo, b"")
    assert list(read_pairs(fifo, PATIENT)) == []


def test_closing_early_lets_the_writer_go(fifo: Path) -> None:
    broken: list[BaseException] = []

    def write() -> None:
        try:
            fifo.write_bytes(records_of(PAIRS * 20))
        except BrokenPipeError as error:
            broken.append(error)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    pairs = read_pairs(fifo, PATIENT)
    assert next(pairs) == PAIRS[0]
    pairs.close()
    writer.join(5)
    assert not writer.is_alive()
    assert broken


def test_an_absent_fifo_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(PipeAbsentError, match="train_7"):
        list(read_pairs(tmp_path / "train_7", BRIEF))


def test_a_fifo_without_a_writer_is_late(fifo: Path) -> None:
    with pytest.raises(PipeLateError, match=r"no data for 0\.3 s"):
        list(read_pairs(fifo, BRIEF))


def test_a_writer_that_stalls_is_late(fifo: Path) -> None:
    hold = threading.Event()

    def write_half() -> None:
        with fifo.open("wb") as stream:
            stream.write(records_of(PAIRS[:1]))
            stream.flush()
            hold.wait(5)

    threading.Thread(target=write_half, daemon=True).start()
    pairs = read_pairs(fifo, BRIEF)
    with pytest.raises(PipeLateError):
        list(pairs)
    hold.set()


@pytest.mark.parametrize("missing", [1, 4, 6, 13])
def test_a_pass_cut_short_is_truncated(fifo: Path, missing: int) -> None:
    write_soon(fifo, records_of(PAIRS)[:-missing])
    with pytest.raises((TruncatedRecordError, UnpairedRecordError), match="train_0"):
        list(read_pairs(fifo, PATIENT))


def test_bytes_without_the_wrapper_name_the_setting(fifo: Path) -> None:
    write_soon(fifo, b"\x89PNG\r\n\x1a\n and so on1")
    with pytest.raises(NotRecordIOError, match="RecordWrapperType to RecordIO"):
        list(read_pairs(fifo, PATIENT))


def test_an_odd_number_of_records_names_the_setting(fifo: Path) -> None:
    write_soon(fifo, records_of(PAIRS) + write_record(b"image three"))
    with pytest.raises(UnpairedRecordError, match="AttributeNames"):
        list(read_pairs(fifo, PATIENT))


@pytest.mark.parametrize("make", [lambda _path: None, os.mkfifo])
def test_being_told_to_stop_ends_every_wait(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "validation_0"
    make(path)
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    started = time.monotonic()
    with pytest.raises(StoppedError):
        list(read_pairs(path, PATIENT.or_until(stop)))
    assert time.monotonic() - started < 5
