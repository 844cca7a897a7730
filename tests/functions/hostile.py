"""Decoders that do what no decoder should: the sandbox is started with them by name.

`by_content` does what the upload's text asks for; an upload that asks for nothing is decoded. One
that asks for `volume +-+` becomes a slice for each sign, with lung or without.
"""

import ctypes
import fcntl
import json
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from tomodrop.errors import UploadRejected
from tomodrop.imaging.limits import Limits
from tomodrop.imaging.normalised import NormalisedSlice
from tomodrop.imaging.normaliser import normalise

SECRET = "PatientName^SECRET"


def read_null() -> None:
    ctypes.string_at(0)


def abort() -> None:
    os.abort()


def leave() -> None:
    os._exit(0)


def hang() -> NoReturn:
    while True:
        time.sleep(1)


def spin() -> NoReturn:
    while True:
        pass


def hang_after_closing() -> NoReturn:
    os.closerange(3, 1000)
    hang()


def allocate() -> None:
    held = [bytearray(256 * 1024 * 1024) for _ in range(16)]
    assert held


def allocate_natively() -> None:
    # As a C library does that does not ask whether it got what it wanted.
    size = 4 * 1024**3
    malloc = ctypes.CDLL(None).malloc
    malloc.restype, malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    ctypes.memset(malloc(size) or 0, 1, size)


def write_without_end() -> NoReturn:
    part = bytes(1024 * 1024)
    while True:
        _answer(part)


def write_nonsense() -> NoReturn:
    _answer(b"\xff" * 5000)
    os._exit(0)


def write_half() -> NoReturn:
    _answer((4000).to_bytes(8) + b'{"answer": {"kind": "slices", "slices": [')
    os._exit(0)


def _answer(part: bytes) -> None:
    descriptor = next(number for number in range(3, 64) if _is_written_to(number))
    while part:
        part = part[os.write(descriptor, part) :]


def _is_written_to(descriptor: int) -> bool:
    try:
        return fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY
    except OSError:
        return False


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def say_who_you_are() -> NoReturn:
    raise UploadRejected("reported", str(os.getpid()), "None.")


def print_much() -> None:
    sys.stdout.write(SECRET * 1000)
    sys.stderr.write(SECRET * 1000)
    sys.stdout.flush()
    os.write(1, SECRET.encode())
    os.write(2, SECRET.encode())


def recurse() -> None:
    recurse()


def raise_with_text() -> NoReturn:
    raise KeyError(SECRET)


def report(found: dict[str, Any]) -> NoReturn:
    raise UploadRejected("reported", json.dumps(found)[:1900], "None.")


def tried(what: Callable[[], object]) -> str:
    try:
        return f"done: {what()!r:.80}"
    except BaseException as error:  # noqa: BLE001 - that is what is looked at
        return f"{type(error).__name__}: {getattr(error, 'errno', None)}"


def look_around() -> NoReturn:
    """Whatever may not be done, tried one by one."""
    outside = Path("/tmp/tomodrop-sandbox-test")
    report(
        {
            "socket": tried(socket.socket),
            "pair": tried(socket.socketpair),
            "fork": tried(os.fork),
            "spawn": tried(lambda: subprocess.run(["true"], check=True)),
            "exec": tried(lambda: os.execv("/bin/true", ["true"])),
            "kill": tried(lambda: os.kill(os.getppid(), 0)),
            "write": tried(lambda: outside.write_text("x")),
            "append": tried(lambda: Path("/dev/null").open("a").close()),
            "remove": tried(outside.unlink),
            "rename": tried(lambda: outside.rename("/tmp/other")),
            "folder": tried(lambda: Path("/tmp/tomodrop-folder").mkdir()),
            "limits": tried(lambda: resource.setrlimit(resource.RLIMIT_AS, (-1, -1))),
        }
    )


def look_at_limits() -> NoReturn:
    with Path("/proc/self/limits").open() as limits:
        found = {line[:25].strip(): line[26:46].strip() for line in limits}
    report({name: found[name] for name in found if name.startswith("Max")})


def look_for_credentials() -> NoReturn:
    own = Path("/proc/self/environ").read_bytes()
    zygote = Path(f"/proc/{os.getppid()}/environ").read_bytes()
    report(
        {
            "variables": sorted(os.environ),
            "found": [name for name in ("AKIA", "AWS_") if name.encode() in own + zygote],
            "descriptors": sorted(
                str(Path(f"/proc/self/fd/{number}").readlink()).partition(":")[0]
                for number in range(64)
                if _is_open(number)
            ),
        }
    )


def start_a_thread() -> None:
    done: list[int] = []
    thread = threading.Thread(target=lambda: done.append(1))
    thread.start()
    thread.join()
    assert done


DEEDS: dict[str, Callable[[], object]] = {
    deed.__name__: deed
    for deed in (
        read_null,
        abort,
        leave,
        hang,
        spin,
        hang_after_closing,
        allocate,
        allocate_natively,
        write_without_end,
        write_nonsense,
        write_half,
        print_much,
        say_who_you_are,
        recurse,
        raise_with_text,
        look_around,
        look_at_limits,
        look_for_credentials,
        start_a_thread,
    )
}


def volume(signs: str, body: bytes, image_shape: tuple[int, int, int]) -> list[NormalisedSlice]:
    """The picture once for each sign, 2.5 mm apart."""
    (one,) = normalise(body, image_shape)
    return [
        replace(one, index=index, position_mm=2.5 * index, has_lung=sign == "+")
        for index, sign in enumerate(signs)
    ]


def by_content(
    body: bytes, image_shape: tuple[int, int, int], limits: Limits
) -> list[NormalisedSlice]:
    """Do what the first line asks for, then decode what is left."""
    asked, newline, left = body.partition(b"\n")
    words = asked.decode("latin-1").split() if newline else []
    if words[:1] == ["volume"]:
        return volume(words[1], left, image_shape)
    deed = DEEDS.get(words[0]) if words else None
    if deed:
        deed()
    return normalise(left if deed else body, image_shape, limits)
