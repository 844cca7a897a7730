"""The life of a child: it takes everything from itself, decodes one upload, answers and ends."""

import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NoReturn

from tomodrop.errors import UploadRejected
from tomodrop.imaging.normalised import NormalisedSlice
from tomodrop.sandbox import answers, wire
from tomodrop.sandbox.bounds import Setup
from tomodrop.sandbox.confinement import confine, die_with_parent
from tomodrop.sandbox.seccomp import Filter

Decode = Callable[..., Iterable[NormalisedSlice]]


@dataclass(frozen=True)
class Nature:
    """What all children of a warm process have in common."""

    setup: Setup
    decode: Decode
    system_calls: Filter
    address_space: int


@dataclass
class Child:
    """A child that waits for its upload, or has it: its process, and the function's ends of the
    pipes to it, which are closed here once they were handed on.
    """

    process: int
    upload: int
    answer: int

    def close(self) -> None:
        """Close our copies of its pipes."""
        os.close(self.upload)
        os.close(self.answer)


def born(nature: Nature) -> Child:
    """Fork a child. The child itself does not return. Raises OSError if there is no process."""
    upload, to_child = os.pipe()
    from_child, answer = os.pipe()
    for pipe in (to_child, answer):
        wire.widen(pipe)
    parent = os.getpid()
    try:
        process = os.fork()
    except OSError:
        for pipe in (upload, to_child, from_child, answer):
            os.close(pipe)
        raise
    if not process:
        _live(nature, parent, upload, answer)
    os.close(upload)
    os.close(answer)
    return Child(process, to_child, from_child)


def _live(nature: Nature, parent: int, upload: int, answer: int) -> NoReturn:
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        die_with_parent(parent)
        confine(nature.setup.bounds, nature.system_calls, nature.address_space, (upload, answer))
        wire.write_all(answer, _answer(nature, upload))
        os._exit(0)
    except BaseException:  # noqa: BLE001 - a child never returns into the warm process's loop
        os._exit(1)


def _answer(nature: Nature, upload: int) -> bytes:
    setup = nature.setup
    try:
        body = wire.read_upload(upload)
        return answers.of_slices(nature.decode(body, setup.image_shape, setup.limits))
    except EOFError:
        raise  # nobody waits for an answer any more
    except UploadRejected as fault:
        return answers.of_rejection(fault)
    except Exception as error:  # noqa: BLE001 - a decoder may raise anything
        return answers.of_failure(error)
