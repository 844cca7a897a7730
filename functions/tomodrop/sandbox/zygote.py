"""The warm process: has the decoders in memory, and forks a child for every upload.

`python -m tomodrop.sandbox.zygote SETUP` reads uploads from its standard input and answers on its
standard output until the input ends. It looks into no upload and no answer: a child's bytes are
passed on, counted and timed. It has one thread, so that forking is safe.
"""

import contextlib
import gc
import importlib
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NoReturn

from tomodrop.errors import UploadRejected
from tomodrop.imaging.normalised import NormalisedSlice
from tomodrop.sandbox import answers, wire
from tomodrop.sandbox.bounds import Setup
from tomodrop.sandbox.confinement import adopt_orphans, confine, die_with_parent
from tomodrop.sandbox.seccomp import Filter, program

Decode = Callable[..., Iterable[NormalisedSlice]]

# How long a child may take to end after it has closed its answer.
_ENDING_S = 1.0


class _Ended(Exception):
    """A child was stopped: `how` says why."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


def main(setup: Setup) -> int:
    """Serve until the requests end."""
    die_with_parent(setup.parent)
    adopt_orphans()
    requests, replies = _take_standard_streams()
    try:
        decode = _load(setup.decode)
    except Exception as error:  # noqa: BLE001 - whatever an import raises is the answer
        wire.send(replies, wire.FAILED, type(error).__name__.encode())
        return 1
    system_calls = Filter(program(platform.machine()))
    # What is warm now is never collected, so children do not copy its pages for the collector.
    gc.collect()
    gc.freeze()
    wire.send(replies, wire.READY, b"")
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            seconds = json.loads(wire.receive(requests)[1])
            body = wire.receive(requests)[1]
            given = replace(setup, bounds=replace(setup.bounds, seconds=seconds))
            how = _serve(body, replies, decode, given, system_calls)
            wire.send(replies, wire.END, json.dumps({"how": how}).encode())
    return 0


def _take_standard_streams() -> tuple[int, int]:
    """Our pipes under other numbers: what libraries print goes nowhere, for it may quote a file."""
    requests, replies = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.close(nowhere)
    wire.prepare(requests, replies)
    return requests, replies


def _load(name: str) -> Decode:
    module, _, function = name.partition(":")
    imported = importlib.import_module(module)
    decode: Decode = getattr(imported, function)
    # What libraries load on first use would be loaded anew in every child.
    getattr(imported, "warm_up", lambda: None)()
    return decode


def _serve(body: bytes, replies: int, decode: Decode, setup: Setup, system_calls: Filter) -> str:
    """Decode one upload in a child of its own. Says how the child ended."""
    reading, writing = os.pipe()
    zygote = os.getpid()
    child = os.fork()
    if not child:
        _be_child(body, writing, zygote, decode, setup, system_calls)
    os.close(writing)
    try:
        _pass_on(reading, replies, setup)
        how = _ending(child)
    except _Ended as stopped:
        how = stopped.how
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    finally:
        os.close(reading)
    _end_stragglers()
    return how


def _pass_on(reading: int, replies: int, setup: Setup) -> None:
    deadline = time.monotonic() + setup.bounds.seconds
    allowed = setup.max_answer_bytes
    while True:
        try:
            part = wire.read_some(reading, deadline)
        except TimeoutError:
            raise _Ended("timeout") from None
        if not part:
            return
        allowed -= len(part)
        if allowed < 0:
            raise _Ended("overflow")
        wire.send(replies, wire.DATA, part)


def _ending(child: int) -> str:
    """How a child ended that has closed its answer; "timeout" for one that does not end."""
    deadline = time.monotonic() + _ENDING_S
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > deadline:
            raise _Ended("timeout")
        time.sleep(0.0002)
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGXCPU:
        return "timeout"
    # Nobody else kills: the system was short of memory.
    return "memory" if code == -signal.SIGKILL else f"{code}"


def _end_stragglers() -> None:
    """Kill what a child left running; it has become ours (`adopt_orphans`)."""
    while True:
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not ended:
            _kill_children()


def _kill_children() -> None:
    with open(f"/proc/self/task/{os.getpid()}/children", "rb") as children:  # noqa: PTH123
        for child in children.read().split():
            os.kill(int(child), signal.SIGKILL)
    os.waitpid(-1, 0)


def _be_child(
    body: bytes, writing: int, zygote: int, decode: Decode, setup: Setup, system_calls: Filter
) -> NoReturn:
    try:
        die_with_parent(zygote)
        confine(setup.bounds, system_calls, keep=writing)
        answer = _answer(lambda: decode(body, setup.image_shape, setup.limits))
        wire.write_all(writing, answer)
        os._exit(0)
    except BaseException:  # noqa: BLE001 - a child never returns into the zygote's loop
        os._exit(1)


def _answer(decode: Callable[[], Iterable[NormalisedSlice]]) -> bytes:
    try:
        return answers.of_slices(decode())
    except UploadRejected as fault:
        return answers.of_rejection(fault)
    except Exception as error:  # noqa: BLE001 - a decoder may raise anything
        return answers.of_failure(error)


def _main(arguments: list[str]) -> Any:
    return main(Setup.from_json(arguments[1]))


if __name__ == "__main__":
    sys.exit(_main(sys.argv))
