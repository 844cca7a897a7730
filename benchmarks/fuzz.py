"""Mutate real files and read them: what comes of it is a volume or a rejection, nothing else.

`PYTHONPATH=functions python benchmarks/fuzz.py COUNT FIRST FILE...` reads COUNT inputs. Each is
made from its number alone (FIRST and on) and the files in their order, so that a printed number can
be looked at again: `... fuzz.py 1 NUMBER FILE...`. The exit status is 1 if anything was found: an
error that is no rejection, a crash of the interpreter, or more than 5 seconds.

The last run's figures are in docs/formats.md.
"""

import gzip
import os
import random
import resource
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tomodrop.errors import UploadRejected
from tomodrop.imaging.limits import Limits
from tomodrop.imaging.normaliser import warm_up
from tomodrop.imaging.reading import read

PER_CHILD = 300
MEMORY_BYTES = 3 << 30
SLOW_S, HANGING_S = 5.0, 120
EXTREMES = (b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff", b"\0\0\0\x80", b"\xff\x7f")


def mutated(body: bytes, number: int) -> bytes:
    """The input of a number: bytes set, flipped, removed, repeated, most of them near the start.

    Damage that every reader sees at once is mended in most inputs, so that more is read of them:
    what tells the format, the checksums of PNG, and the packing of gzip.
    """
    chance = random.Random(number)  # noqa: S311 - repeatable on purpose
    unpacked = unzipped(body) if chance.random() < 0.8 else body
    damaged = bytearray(unpacked)
    for _ in range(chance.choice([1, 1, 2, 4, 16, 64])):
        damage(damaged, chance)
    if chance.random() < 0.15:
        del damaged[chance.randrange(len(damaged) + 1) :]
    if chance.random() < 0.8:
        damaged[:12] = unpacked[:12]
        if unpacked[128:132] == b"DICM":
            damaged[128:132] = b"DICM"
    if damaged.startswith(b"\x89PNG") and chance.random() < 0.8:
        damaged = with_checksums(damaged)
    if unpacked is not body:
        return gzip.compress(damaged, 0, mtime=0)
    return bytes(damaged)


def unzipped(body: bytes) -> bytes:
    """What a gzip file holds; any other body as it is."""
    return gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body


def damage(damaged: bytearray, chance: random.Random) -> None:
    """Do one thing."""
    reach = min(len(damaged), chance.choice([64, 400, 2000, len(damaged)]))
    place, length = chance.randrange(max(1, reach)), chance.randrange(1, 40)
    part = damaged[place : place + length]
    change = chance.randrange(5)
    if change == 0:
        damaged[place : place + 1] = bytes([chance.randrange(256)])
    elif change == 1:
        damaged[place : place + 4] = chance.choice(EXTREMES)
    elif change == 2:
        del damaged[place : place + length]
    elif change == 3:
        damaged[place:place] = part
    elif part:
        damaged[place] ^= 1 << chance.randrange(8)


def with_checksums(png: bytearray) -> bytearray:
    """A PNG whose chunks, as far as they can be told, have the right checksums."""
    place = 8
    while place + 12 <= len(png):
        end = place + 8 + int.from_bytes(png[place : place + 4])
        if end + 4 > len(png):
            break
        png[end : end + 4] = struct.pack(">I", zlib.crc32(png[place + 4 : end]))
        place = end + 4
    return png


def outcome(body: bytes) -> str:
    """What reading gives: "volume", a rejection's code, or what was found."""
    started = time.monotonic()
    try:
        read(body, Limits())
        found = "volume"
    except UploadRejected as fault:
        found = fault.code
    except MemoryError:
        found = "out of memory"  # the sandbox makes a rejection of it
    except BaseException as error:  # noqa: BLE001 - that is what is looked for
        found = f"FOUND {type(error).__name__}"
    return "FOUND slow" if time.monotonic() - started > SLOW_S else found


def in_child(files: list[Path], numbers: range, report: int) -> None:
    """Read inputs in a process with limits, and say before each which it is."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (HANGING_S, HANGING_S))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    for number in numbers:
        os.write(report, f"{number} ".encode())
        found = outcome(mutated(files[number % len(files)].read_bytes(), number))
        os.write(report, f"{found}\n".encode())


def outcomes(files: list[Path], numbers: range) -> Iterator[tuple[int, str]]:
    """Each number and what came of it; a child that ended early is followed by another."""
    start = numbers.start
    while start < numbers.stop:
        reading, report = os.pipe()
        child = os.fork()
        if child == 0:
            in_child(files, range(start, min(start + PER_CHILD, numbers.stop)), report)
            os._exit(0)
        os.close(report)
        with os.fdopen(reading) as lines:
            for line in lines:
                number, _, found = line.partition(" ")
                start = int(number) + 1
                yield int(number), found.strip() or "FOUND crash"
        os.waitpid(child, 0)


def main() -> int:
    """Print what was found, and how often each outcome came."""
    count, first = int(sys.argv[1]), int(sys.argv[2])
    files = [Path(name) for name in sys.argv[3:]]
    warm_up()
    seen: Counter[str] = Counter()
    for number, found in outcomes(files, range(first, first + count)):
        seen[found] += 1
        if found.startswith("FOUND"):
            print(number, files[number % len(files)].name, found)
    for found, times in seen.most_common():
        print(f"{times:7} {found}")
    return int(any(found.startswith("FOUND") for found in seen))


if __name__ == "__main__":
    sys.exit(main())
