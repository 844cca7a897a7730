"""What a child answers is checked to the last byte: it may have been taken over."""

import json
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.functions.builders import encoded, gradient, png
from tests.functions.test_pictures import chunk
from tomodrop.errors import UploadRejected
from tomodrop.imaging.normalised import NormalisedSlice
from tomodrop.imaging.normaliser import normalise
from tomodrop.sandbox import answers, seccomp
from tomodrop.sandbox.bounds import Bounds, Setup
from tomodrop.sandbox.judging import BadAnswer, DecoderFailed, parse
from tomodrop.sandbox.pngs import is_plain_png

SHAPE = (3, 64, 64)
(SLICE,) = normalise(png(), SHAPE)
VOLUME = [
    NormalisedSlice(SLICE.png, {"window": {"level": -600.0}}, ("a", "b"), 3, -2.5, has_lung=False),
    NormalisedSlice(SLICE.png, {}, (), 7, None),
]


def answer(pictures: bytes = SLICE.png, **changes: Any) -> bytes:
    """An answer of one slice, with some of it changed."""
    described: dict[str, Any] = {
        "png_bytes": len(SLICE.png),
        "processing": {"format": "PNG"},
        "warnings": ["one"],
        "index": 0,
        "position_mm": None,
        "has_lung": True,
    }
    return headed({"kind": "slices", "slices": [described | changes]}, pictures)


def headed(content: Any, pictures: bytes = b"") -> bytes:
    text = json.dumps({"answer": content}).encode()
    return struct.pack(">Q", len(text)) + text + pictures


def rejecting(**changes: Any) -> bytes:
    fault = {"kind": "rejected", "code": "damaged_image", "message": "M.", "remedy": "R."}
    return headed(fault | changes)


def read(body: bytes) -> list[NormalisedSlice]:
    return parse(body, SHAPE, max_slices=3)


@pytest.mark.parametrize("slices", [[SLICE], VOLUME], ids=["slice", "volume"])
def test_what_was_answered_is_read(slices: list[NormalisedSlice]) -> None:
    assert read(answers.of_slices(slices)) == slices


def test_a_rejection_is_read() -> None:
    with pytest.raises(UploadRejected) as refused:
        read(answers.of_rejection(UploadRejected("too_small", "It is small.", "Enlarge it.")))
    assert vars(refused.value) == {
        "code": "too_small",
        "message": "It is small.",
        "remedy": "Enlarge it.",
    }


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), "memory"),
        (KeyError("SECRET"), "KeyError"),
        (RecursionError(), "RecursionError"),
    ],
)
def test_a_failure_names_the_error_s_class_alone(error: Exception, kind: str) -> None:
    body = answers.of_failure(error)
    assert b"SECRET" not in body
    with pytest.raises(DecoderFailed) as failed:
        read(body)
    assert failed.value.kind == kind


BAD = {
    "nothing": b"",
    "no header": b"\0\0\0",
    "header cut off": answer()[:50],
    "header that claims too much": struct.pack(">Q", 2**63) + b"{}",
    "no JSON": struct.pack(">Q", 3) + b"abc",
    "no UTF-8": struct.pack(">Q", 4) + b'"\xff\xfe"',
    "deeply nested": struct.pack(">Q", 200_000) + b"[" * 200_000,
    "another kind": headed({"kind": "pickle"}),
    "no slices": headed({"kind": "slices", "slices": []}),
    "a field more": answer(patient="SECRET"),
    "a field less": headed({"kind": "slices", "slices": [{"index": 0}]}),
    "picture cut off": answer(SLICE.png[:-1]),
    "picture too long": answer(SLICE.png + b"\0"),
    "no picture": answer(b""),
    "no bytes": answer(png_bytes=0, pictures=b""),
    "negative bytes": answer(png_bytes=-1),
    "bytes as text": answer(png_bytes=str(len(SLICE.png))),
    "another picture": answer(b"x" * len(SLICE.png)),
    "index as text": answer(index="0"),
    "negative index": answer(index=-1),
    "no position": answer(position_mm="near"),
    "position NaN": answer(position_mm=float("nan")),
    "position infinite": answer(position_mm=float("inf")),
    "processing is a list": answer(processing=[]),
    "processing NaN": answer(processing={"a": [{"b": float("nan")}]}),
    "warnings are text": answer(warnings="one"),
    "warning too long": answer(warnings=["x" * 2001]),
    "lung as number": answer(has_lung=1),
    "pixels of another kind": answer(pixels={"mean": 1.0}),
    "pixels out of bounds": answer(
        pixels={"mean": 300.0, "spread": 1.0, "lit_share": 0.5, "sha256": "ab" * 32}
    ),
    "code with blanks": rejecting(code="no code"),
    "code too long": rejecting(code="a" * 50),
    "message too long": rejecting(message="x" * 2001),
    "no remedy": rejecting(remedy=None),
    "error with text": headed({"kind": "failed", "error": "KeyError: SECRET"}),
    "too many slices": answers.of_slices(
        [NormalisedSlice(SLICE.png, {}, (), index) for index in range(4)]
    ),
    "slices out of order": answers.of_slices(VOLUME[::-1]),
    "a slice twice": answers.of_slices([SLICE, SLICE]),
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
def test_anything_else_is_no_answer(body: bytes) -> None:
    with pytest.raises(BadAnswer) as refused:
        read(body)
    assert "SECRET" not in str(refused.value)


@given(st.binary(max_size=400))
def test_noise_is_no_answer(noise: bytes) -> None:
    with pytest.raises(BadAnswer):
        read(noise)


@given(st.data())
def test_a_changed_byte_is_an_answer_or_none(data: st.DataObject) -> None:
    body = bytearray(answer())
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        (found,) = read(bytes(body))
    except BadAnswer:
        return
    assert found.png == SLICE.png


# Pictures


def framed(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


HEADER = struct.pack(">IIBBBBB", 4, 2, 8, 0, 0, 0, 0)
PIXELS = zlib.compress(bytes(2 * 5))
PLAIN = framed(chunk(b"IHDR", HEADER), chunk(b"IDAT", PIXELS), chunk(b"IEND", b""))


def test_a_plain_picture_is_one() -> None:
    assert is_plain_png(PLAIN, (1, 2, 4))
    assert is_plain_png(SLICE.png, SHAPE)
    assert is_plain_png(encoded(gradient((64, 64))), (1, 64, 64))
    split = [chunk(b"IDAT", PIXELS[:5]), chunk(b"IDAT", PIXELS[5:])]
    assert is_plain_png(framed(chunk(b"IHDR", HEADER), *split, chunk(b"IEND", b"")), (1, 2, 4))


NO_PICTURE = {
    "nothing": b"",
    "signature alone": PLAIN[:8],
    "no end": PLAIN[:-12],
    "cut off": PLAIN[:-1],
    "more behind": PLAIN + b"\0",
    "another end": PLAIN + chunk(b"IEND", b""),
    "wrong checksum": PLAIN[:-1] + b"\0",
    "text": PLAIN[:33] + chunk(b"tEXt", b"a\0SECRET") + PLAIN[33:],
    "another header": PLAIN[:33] + chunk(b"IHDR", HEADER) + PLAIN[33:],
    "no pixels": framed(chunk(b"IHDR", HEADER), chunk(b"IEND", b"")),
    "pixels first": framed(chunk(b"IDAT", PIXELS), chunk(b"IHDR", HEADER), chunk(b"IEND", b"")),
    "length beyond the end": PLAIN[:33] + b"\xff\xff\xff\xff" + PLAIN[37:],
    "another size": encoded(gradient((4, 3))),
    "16 bit": PLAIN.replace(
        chunk(b"IHDR", HEADER), chunk(b"IHDR", HEADER[:8] + b"\x10" + HEADER[9:])
    ),
}


@pytest.mark.parametrize("body", NO_PICTURE.values(), ids=NO_PICTURE)
def test_everything_else_is_no_plain_picture(body: bytes) -> None:
    assert not is_plain_png(body, (1, 2, 4))


# What a zygote is told


def test_a_setup_is_the_same_behind_a_command_line() -> None:
    setup = Setup(SHAPE, parent=17, decode="a:b", bounds=Bounds(memory_mb=5, seconds=0.5))
    assert Setup.from_json(setup.to_json()) == setup


def test_the_filter_s_jumps_stay_inside_it() -> None:
    for machine in ("x86_64", "aarch64"):
        built = seccomp.program(machine)
        assert built
        assert len(built) < 4096  # the kernel's limit
        for place, (code, if_true, if_false, _) in enumerate(built):
            if code & 7 == 5:
                assert place + 1 + max(if_true, if_false) < len(built)
        assert built[-1][0] & 7 == 6
    assert seccomp.program("riscv64") is None


def decided(machine: str, number: int, *arguments: int, audit: int | None = None) -> int:
    """What the filter answers to a system call, by running its program as the kernel does."""
    built = seccomp.program(machine)
    assert built
    audit = built[1][3] if audit is None else audit
    fields = [*arguments, 0, 0, 0][:3]
    data = struct.pack("<IIQQQQ", number, audit, 0, *fields)
    place = accumulator = 0
    while True:
        code, if_true, if_false, value = built[place]
        place += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, value)
        elif code == 0x06:
            return value
        else:
            holds = {0x15: accumulator == value, 0x35: accumulator >= value}
            holds[0x45] = bool(accumulator & value)
            place += if_true if holds[code] else if_false


REFUSED, ALLOWED, KILLED = 0x00050001, 0x7FFF0000, 0x80000000


@pytest.mark.parametrize(
    ("machine", "number", "arguments", "verdict"),
    [
        ("x86_64", 0, (), ALLOWED),  # read
        ("x86_64", 9, (), ALLOWED),  # mmap
        ("x86_64", 41, (), REFUSED),  # socket
        ("x86_64", 57, (), REFUSED),  # fork
        ("x86_64", 59, (), REFUSED),  # execve
        ("x86_64", 425, (), REFUSED),  # io_uring_setup
        ("x86_64", 435, (), 0x00050026),  # clone3: as if there were none
        ("x86_64", 2, (0, 0o2000000), ALLOWED),  # open to read
        ("x86_64", 2, (0, 0o1), REFUSED),  # open to write
        ("x86_64", 257, (0, 0, 0o2000000), ALLOWED),  # openat to read
        ("x86_64", 257, (0, 0, 0o2), REFUSED),  # openat to write
        ("x86_64", 257, (0, 0, 0o100), REFUSED),  # openat to create
        ("x86_64", 56, (0x003D0F00,), ALLOWED),  # clone: a thread
        ("x86_64", 56, (0x01200011,), REFUSED),  # clone: a process
        ("x86_64", 0x40000000 | 41, (), REFUSED),  # the x32 table
        ("aarch64", 63, (), ALLOWED),  # read
        ("aarch64", 198, (), REFUSED),  # socket
        ("aarch64", 56, (0, 0, 0), ALLOWED),  # openat to read
        ("aarch64", 56, (0, 0, 0o100), REFUSED),  # openat to create
        ("aarch64", 220, (0x01200011,), REFUSED),  # clone: a process
    ],
)
def test_the_filter_decides(
    machine: str, number: int, arguments: tuple[int, ...], verdict: int
) -> None:
    assert decided(machine, number, *arguments) == verdict


def test_another_architecture_s_calls_end_the_process() -> None:
    assert decided("x86_64", 0, audit=0x40000003) == KILLED
