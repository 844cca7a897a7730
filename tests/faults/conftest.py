from collections.abc import Iterator

import pytest

from tests.faults.stage import Stage, stage


@pytest.fixture(scope="package")
def on() -> Iterator[Stage]:
    """One stage for all schedules of a process."""
    with stage() as entered:
        yield entered
