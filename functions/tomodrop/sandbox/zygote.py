"""The warm process: has the decoders in memory, and forks a child for every upload.

`python -m tomodrop.sandbox.zygote SETUP` has a socket as its standard input and serves until that
closes. It sees no upload and no answer: it hands the function the pipes to a child, watches the
child's time, and says how it ended. While a child works, the next one is forked already and waits.
One thread, so that forking is safe.
"""

import contextlib
import gc
import importlib
import json
import os
import platform
import select
import signal
import socket
import sys
import time
from typing import NoReturn

from tomodrop.sandbox import wire
from tomodrop.sandbox.bounds import Setup
from tomodrop.sandbox.child import Child, Decode, Nature, born
from tomodrop.sandbox.confinement import (
    address_space,
    adopt_orphans,
    die_with_parent,
    give_back_memory,
)
from tomodrop.sandbox.seccomp import Filter, program

# Decoders need no network; these would load it, and with it megabytes that each fork copies.
_NOT_NEEDED = ("requests", "scipy", "tqdm")


def main(setup: Setup) -> int:
    """Serve until the function's end of the socket closes."""
    die_with_parent(setup.parent)
    adopt_orphans()
    channel = _take_standard_streams()
    try:
        decode = _load(setup)
    except Exception as error:  # noqa: BLE001 - whatever an import raises is the answer
        wire.send(channel, wire.FAILED, type(error).__name__.encode())
        return 1
    system_calls = Filter(program(platform.machine()))
    # What is warm now is never collected, so children do not copy its pages for the collector.
    gc.collect()
    gc.freeze()
    give_back_memory()
    nature = Nature(setup, decode, system_calls, address_space())
    with contextlib.suppress(EOFError, ConnectionError):
        _serve(channel, nature)
    return 0


def _take_standard_streams() -> socket.socket:
    """Our socket under another number: what libraries print goes nowhere, for it may quote."""
    channel = socket.socket(fileno=os.dup(0))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.close(nowhere)
    return channel


def _load(setup: Setup) -> Decode:
    sys.modules.update(dict.fromkeys(_NOT_NEEDED))  # type: ignore[arg-type] # Python's own way
    module, _, function = setup.decode.partition(":")
    imported = importlib.import_module(module)
    decode: Decode = getattr(imported, function)
    # What libraries load on first use would be loaded anew in every child.
    getattr(imported, "warm_up", lambda _: None)(setup.family)
    return decode


def _serve(channel: socket.socket, nature: Nature) -> NoReturn:
    """Raises EOFError or ConnectionError when the function is gone."""
    ended = _wake_up_when_a_child_ends()
    waiting = born(nature)
    while True:
        wire.send(channel, wire.CHILD, b"", waiting.upload, waiting.answer)
        waiting.close()
        seconds = _next_upload(channel)
        deadline = time.monotonic() + seconds
        following = _born_if_possible(nature)
        how = _watch(waiting, channel, ended, deadline)
        _end_stragglers(following)
        wire.send(channel, wire.END, how.encode())
        waiting = following or born(nature)


def _born_if_possible(nature: Nature) -> Child | None:
    """None where there is no memory for another process: one that works may end soon."""
    try:
        return born(nature)
    except OSError:
        return None


def _next_upload(channel: socket.socket) -> float:
    """The seconds that the next upload is given; a child that was to be stopped has ended."""
    kind, text, _ = wire.receive(channel)
    while kind != wire.BEGIN:
        kind, text, _ = wire.receive(channel)
    return float(json.loads(text))


def _wake_up_when_a_child_ends() -> int:
    """A descriptor that can be read once a child ended."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return reading


def _watch(child: Child, channel: socket.socket, ended: int, deadline: float) -> str:
    """Wait for a child's end, or end it: at its deadline, or when the function says so."""
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(channel, select.POLLIN)
    while True:
        found, status = os.waitpid(child.process, os.WNOHANG)
        if found:
            return _how(status)
        left_ms = 1000 * (deadline - time.monotonic())
        woken = {descriptor for descriptor, _ in poll.poll(max(0.0, left_ms))}
        if ended in woken:
            with contextlib.suppress(BlockingIOError):
                os.read(ended, 4096)
        elif channel.fileno() in woken or left_ms <= 0:
            os.kill(child.process, signal.SIGKILL)
            os.waitpid(child.process, 0)
            if left_ms <= 0:
                return "timeout"
            wire.receive(channel)
            return "stopped"


def _how(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGXCPU:
        return "timeout"
    # Nobody else kills: the system was short of memory.
    return "memory" if code == -signal.SIGKILL else f"{code}"


def _end_stragglers(waiting: Child | None) -> None:
    """Kill what an ended child left running; it has become ours (`adopt_orphans`)."""
    while strangers := _children() - {waiting and waiting.process}:
        for process in strangers:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def _children() -> set[int]:
    """None where the kernel does not tell; there, none is adopted either."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", "rb") as children:  # noqa: PTH123
            return {int(child) for child in children.read().split()}
    except FileNotFoundError:
        return set()


if __name__ == "__main__":
    sys.exit(main(Setup.from_json(sys.argv[1])))
