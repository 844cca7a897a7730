"""Nothing on the leash outlives whoever holds it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local.leash import leashed

PYTHON = sys.executable
WAIT_S = 10.0
GRANDCHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60 if sys.argv[1] == "stay" else 0)
"""


@contextmanager
def on_leash(*argv: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        leashed(argv),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            state = (
                Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
            )
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.01)
    pytest.fail(f"process {pid} is still there")


@pytest.mark.parametrize("code", [0, 1, 77])
def test_the_exit_code_is_the_commands(code: int) -> None:
    with on_leash(PYTHON, "-c", f"raise SystemExit({code})") as process:
        assert process.wait(WAIT_S) == code


def test_a_command_ended_by_a_signal_counts_as_a_shell_counts() -> None:
    with on_leash(PYTHON, "-c", "import os; os.kill(os.getpid(), 9)") as process:
        assert process.wait(WAIT_S) == 128 + signal.SIGKILL


@pytest.mark.parametrize(("command", "code"), [("/no/such/command", 127), ("/", 126)])
def test_a_command_that_cannot_start_says_so(command: str, code: int) -> None:
    with on_leash(command) as process:
        _, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == code
    assert errors.startswith(f"leash: {command}: ")


def test_without_a_command_there_is_a_usage_line() -> None:
    done = subprocess.run(leashed([]), capture_output=True, text=True, check=False, timeout=WAIT_S)
    assert done.returncode == 2
    assert done.stderr.startswith("usage:")


def test_the_end_of_our_pipe_kills_the_command_and_its_children() -> None:
    with on_leash(PYTHON, "-c", GRANDCHILD, "stay") as process:
        grandchild = int(line_of(process))
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(WAIT_S) == 128 + signal.SIGKILL
        wait_until_gone(grandchild)


def test_what_a_command_leaves_behind_is_killed_at_its_end() -> None:
    with on_leash(PYTHON, "-c", GRANDCHILD, "leave") as process:
        grandchild = int(line_of(process))
        assert process.wait(WAIT_S) == 0
        wait_until_gone(grandchild)


def test_sigterm_is_passed_on_and_may_be_answered() -> None:
    program = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
print("up", flush=True)
time.sleep(60)
"""
    with on_leash(PYTHON, "-c", program) as process:
        line_of(process)
        process.terminate()
        assert process.wait(WAIT_S) == 5


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
def test_even_a_killed_leash_takes_the_command_along() -> None:
    with on_leash(
        PYTHON, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    ) as p:
        command = int(line_of(p))
        p.kill()
        wait_until_gone(command)


def test_an_interrupt_from_the_keyboard_is_left_to_the_parent() -> None:
    with on_leash(PYTHON, "-c", "import time; print('up', flush=True); time.sleep(0.5)") as process:
        line_of(process)
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_S) == 0


def test_descriptors_we_are_given_reach_the_command() -> None:
    reading, writing = os.pipe()
    program = f"import os; os.write({writing}, b'hello')"
    with subprocess.Popen(
        leashed([PYTHON, "-c", program]), stdin=subprocess.PIPE, pass_fds=[writing]
    ) as process:
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            assert pipe.read() == b"hello"
        assert process.wait(WAIT_S) == 0


def test_it_also_runs_as_a_module() -> None:
    done = subprocess.run(
        [PYTHON, "-m", "local.leash", "--", PYTHON, "-c", "raise SystemExit(4)"],
        stdin=subprocess.PIPE,
        check=False,
        timeout=WAIT_S,
        cwd=Path(__file__).parents[2],
    )
    # The pipe is closed at once, so the command ends by its own code or by our hand.
    assert done.returncode in (4, 128 + signal.SIGKILL)
