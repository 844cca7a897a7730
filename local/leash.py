"""Run a command that must never outlive its parent, not even a parent killed with SIGKILL.

`python -m local.leash -- argv…` starts the command in a process group of its own and holds it:

* end of file on our standard input (the parent closed the pipe, or is gone): SIGKILL to the group;
* SIGTERM: passed on to the command alone, as `docker stop` does to process 1 of a container;
* the command ends: what is left of its group is killed, and we exit with its code
  (128 + n when signal n ended it, 126 and 127 as a shell answers for commands it cannot start).

The command's own standard input is empty; descriptors that we were given (`pass_fds`) are passed on
to it. Standard library only, and nothing of `local`: this file also runs by its path.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

CANNOT_EXECUTE = 126
NOT_FOUND = 127
KILLED_BY_SIGNAL = 128
PR_SET_PDEATHSIG = 1


def leashed(argv: Sequence[str]) -> list[str]:
    """The command line that runs `argv` under the leash, from any working directory.

    Isolated mode (`-I`, `-S`): the environment is meant for the command, and no module beside this
    file may shadow one of the standard library. Start it with `stdin=PIPE` and keep that pipe open.
    """
    return [sys.executable, "-I", "-S", str(Path(__file__).resolve()), "--", *argv]


class _Held:
    """The command while it runs: every signal to it goes through here.

    Its process id stays valid until `end` reaps it, so no signal can reach a stranger that was
    given the same id.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self._terminate_early = False
        self._process: subprocess.Popen[bytes] | None = None
        signal.signal(signal.SIGTERM, self._forward)
        # A handler, not SIG_IGN: being ignored would be inherited by the command.
        signal.signal(signal.SIGINT, lambda *_: None)
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            close_fds=False,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 (there is one thread until it runs)
        )
        if self._terminate_early:
            self._process.send_signal(signal.SIGTERM)

    def _forward(self, _signum: int, _frame: FrameType | None) -> None:
        if self._process is None:
            self._terminate_early = True
        else:
            os.kill(self._process.pid, signal.SIGTERM)

    def kill_group(self) -> None:
        """SIGKILL to everything in the command's process group."""
        assert self._process is not None
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            # Empty already (macOS says "not permitted" of a group that holds only zombies).
            return

    def end(self) -> int:
        """Wait for the command, kill what it left behind, and return its exit code."""
        assert self._process is not None
        # WNOWAIT: the process id is not free for others before the group is gone.
        os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.kill_group()
        code = self._process.wait()
        return code if code >= 0 else KILLED_BY_SIGNAL - code


def _die_with_parent() -> None:
    """In the command, before it starts: have the kernel kill it should the leash be killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _kill_at_end_of_input(held: _Held) -> None:
    while os.read(0, 4096):
        pass
    held.kill_group()


def main(argv: Sequence[str]) -> int:
    """Run the command after `--`; returns the exit code for this process."""
    if len(argv) < 2 or argv[0] != "--":
        sys.stderr.write("usage: python -m local.leash -- command [argument …]\n")
        return 2
    try:
        held = _Held(argv[1:])
    except FileNotFoundError as error:
        sys.stderr.write(f"leash: {argv[1]}: {error.strerror}\n")
        return NOT_FOUND
    except OSError as error:
        sys.stderr.write(f"leash: {argv[1]}: {error.strerror}\n")
        return CANNOT_EXECUTE
    threading.Thread(target=_kill_at_end_of_input, args=(held,), daemon=True).start()
    return held.end()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
