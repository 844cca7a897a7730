"""A container's program as a process, its output in a log file, never outliving us."""

import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from local.leash import leashed

KILL_WAIT_S = 10.0


class Program:
    """A running program and everything it starts. Use as a context manager: leaving kills it."""

    def __init__(
        self, argv: Sequence[str], cwd: Path, environment: Mapping[str, str], log: Path
    ) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                leashed(argv),
                cwd=cwd,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def exit_code(self) -> int | None:
        """The code it ended with (128 + n for signal n), None while it runs."""
        return self._process.poll()

    def terminate(self) -> None:
        """Ask it to end (SIGTERM)."""
        self._process.terminate()

    def kill(self) -> None:
        """End it and all it started, now."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(KILL_WAIT_S)
        except subprocess.TimeoutExpired:
            # The kernel then kills the program too: it asked to die with the leash.
            self._process.kill()
            self._process.wait()

    def stop(self, grace_s: float) -> None:
        """SIGTERM, and SIGKILL when it has not ended `grace_s` later."""
        self.terminate()
        deadline = time.monotonic() + grace_s
        while self.exit_code() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        self.kill()
