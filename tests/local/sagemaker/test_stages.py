"""Reading ahead and writing behind: in order, bounded, and no fault gets lost."""

import threading
import time
from collections.abc import Callable

import pytest

from local.sagemaker.stages import ReadAhead, WriteBehind
from tests.local.sagemaker.support import until


def test_items_come_in_order_each_with_what_was_read() -> None:
    with ReadAhead(lambda n: n * 10, range(50), depth=4, threads=3) as ahead:
        taken = [(item, read.result()) for item, read in iter(ahead.take, None)]
    assert taken == [(n, n * 10) for n in range(50)]


def test_no_more_is_read_than_the_depth_allows() -> None:
    read: list[int] = []
    with ReadAhead(read.append, range(50), depth=4, threads=2) as ahead:
        until(lambda: len(read), lambda count: count == 4)
        time.sleep(0.05)
        assert len(read) == 4
        ahead.take()
        until(lambda: len(read), lambda count: count == 5)


def test_what_is_read_ahead_does_not_wait_for_a_taker() -> None:
    read = threading.Event()
    with ReadAhead(lambda _: read.set(), "a", depth=1, threads=1):
        assert read.wait(5)


def test_an_item_that_cannot_be_read_fails_alone() -> None:
    def fussy(number: int) -> int:
        if number == 1:
            raise ValueError(number)
        return number

    with ReadAhead(fussy, range(3), depth=2, threads=1) as ahead:
        _, bad, good = (taken[1] for taken in iter(ahead.take, None))
        with pytest.raises(ValueError, match="1"):
            bad.result()
        assert good.result() == 2


def test_nothing_to_read_gives_nothing() -> None:
    nothing: list[int] = []
    with ReadAhead(str, nothing, depth=2, threads=1) as ahead:
        assert ahead.take() is None


def test_what_was_not_begun_is_not_read_after_leaving() -> None:
    go = threading.Event()
    read: list[int] = []

    def slow(number: int) -> None:
        go.wait(5)
        read.append(number)

    with ReadAhead(slow, range(9), depth=5, threads=1) as ahead:
        ahead.take()
        threading.Timer(0.1, go.set).start()
    assert read == [0]
    assert ahead.take() is not None  # begun and cancelled: whoever takes it is told
    assert len(read) == 1


def test_everything_handed_over_is_written_on_leaving() -> None:
    written: list[int] = []
    with WriteBehind(depth=3, threads=2) as behind:
        for number in range(40):
            behind.put(lambda number=number: written.append(number))  # type: ignore[misc]
    assert sorted(written) == list(range(40))
    assert behind.fault is None


def test_who_writes_faster_than_storage_waits() -> None:
    go = threading.Event()
    put: list[int] = []

    def fill(behind: WriteBehind) -> None:
        for number in range(4):
            behind.put(lambda: _wait(go))
            put.append(number)

    with WriteBehind(depth=2, threads=1) as behind:
        filler = threading.Thread(target=fill, args=(behind,))
        filler.start()
        until(lambda: len(put), lambda count: count == 2)
        time.sleep(0.05)
        assert put == [0, 1]
        go.set()
        filler.join(5)
    assert len(put) == 4


def _wait(event: threading.Event) -> None:
    event.wait(5)


@pytest.mark.parametrize("place", [0, 3])
def test_a_write_that_fails_is_told_and_the_others_are_done(place: int) -> None:
    written: list[int] = []

    def write(number: int) -> Callable[[], None]:
        def one() -> None:
            if number == place:
                raise OSError(number)
            written.append(number)

        return one

    with WriteBehind(depth=2, threads=2) as behind:
        for number in range(6):
            behind.put(write(number))
    assert isinstance(behind.fault, OSError)
    assert len(written) == 5
