"""A decoder in whose warm process every other fork fails, as where memory is short."""

import errno
import os
from itertools import count

from hostile import by_content  # type: ignore[import-not-found] # found as `scarce` is

__all__ = ["by_content"]

_fork, _calls = os.fork, count()


def fork() -> int:
    if next(_calls) % 2:
        raise OSError(errno.EAGAIN, "no process is to be had")
    return _fork()


os.fork = fork
