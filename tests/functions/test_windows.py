"""Windows: which one is written to, and from when on none can be."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tomodrop.windows import is_settled, window_of, window_start

TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
LENGTHS = st.integers(1, 3600)


@pytest.mark.parametrize(
    ("now", "batch"),
    [
        (datetime(2026, 11, 24, 15, 40, 0, tzinfo=UTC), "20261124T154000Z"),
        (datetime(2026, 11, 24, 15, 44, 59, 999_999, tzinfo=UTC), "20261124T154000Z"),
        (datetime(2026, 11, 24, 15, 45, 0, tzinfo=UTC), "20261124T154500Z"),
        (datetime(2026, 11, 24, 17, 41, tzinfo=timezone(timedelta(hours=2))), "20261124T154000Z"),
    ],
)
def test_a_window_is_named_after_its_start(now: datetime, batch: str) -> None:
    assert window_of(now, 300) == batch


@given(TIMES, LENGTHS)
def test_a_time_falls_into_its_window(now: datetime, length: int) -> None:
    start = window_start(window_of(now, length))
    assert start <= now < start + timedelta(seconds=length)
    assert window_of(start, length) == window_of(now, length)


def test_names_of_windows_sort_by_time() -> None:
    start = datetime(2026, 12, 31, 23, 50, tzinfo=UTC)
    names = [window_of(start + timedelta(minutes=n), 60) for n in range(30)]
    assert names == sorted(names)
    assert len(set(names)) == 30


@pytest.mark.parametrize("text", ["", "now", "20261124", "20261124T153900", "20261324T153900Z"])
def test_what_names_no_window_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"does not match format|unconverted|remains"):
        window_start(text)


@pytest.mark.parametrize(
    ("now", "settled"),
    [
        (datetime(2026, 11, 24, 15, 39, 30, tzinfo=UTC), False),  # it has only begun
        (datetime(2026, 11, 24, 15, 44, 0, tzinfo=UTC), False),  # its end
        (datetime(2026, 11, 24, 15, 45, 0, tzinfo=UTC), False),  # the last invocation's end
        (datetime(2026, 11, 24, 15, 45, 0, 999_999, tzinfo=UTC), False),
        (datetime(2026, 11, 24, 15, 45, 1, tzinfo=UTC), True),  # clocks differ a little
        (datetime(2027, 11, 24, tzinfo=UTC), True),
    ],
)
def test_a_window_settles_after_the_last_invocation_that_may_write_to_it(
    now: datetime, settled: bool
) -> None:
    assert is_settled("20261124T153900Z", now, 300, 60) is settled


@given(TIMES, LENGTHS, st.integers(1, 900), st.floats(0, 1))
def test_no_write_within_the_time_limit_falls_into_a_settled_window(
    begin: datetime, length: int, limit_s: int, share: float
) -> None:
    batch = window_of(begin, length)
    last_write = begin + timedelta(seconds=limit_s * share)
    assert not is_settled(batch, last_write, length, limit_s)
