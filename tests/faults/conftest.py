from collections.abc import Iterator

import pytest

from tests.faults.stage import Stage, stage


@pytest.fixture(scope="module")
def on() -> Iterator[Stage]:
    """One stage for the schedules of a module: it patches what other tests need whole."""
    with stage() as entered:
        yield entered
