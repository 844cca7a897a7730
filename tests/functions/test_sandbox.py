"""Uploads are decoded in processes that can harm nothing but themselves."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.functions.builders import REPOSITORY, png
from tests.functions.hostile import SECRET
from tomodrop.errors import SandboxError, UploadRejected
from tomodrop.imaging.formats import Family
from tomodrop.imaging.limits import Limits
from tomodrop.imaging.normaliser import normalise
from tomodrop.sandbox.bounds import Bounds
from tomodrop.sandbox.parent import Sandbox

SHAPE = (3, 64, 64)
HOSTILE = "hostile:by_content"
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own means")


def start(seconds: float = 20, memory_mb: int = 256, max_planes: int = 8) -> Sandbox:
    return Sandbox(
        SHAPE,
        limits=Limits(max_planes=max_planes),
        bounds=Bounds(memory_mb=memory_mb, seconds=seconds),
        decode=HOSTILE,
    )


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with start() as made:
        yield made


@pytest.fixture(scope="module")
def hasty() -> Iterator[Sandbox]:
    """A sandbox that waits for nobody."""
    with start(seconds=1) as made:
        made.normalise(png())
        made.normalise(asking_for("start_a_thread"))
        yield made


def asking_for(deed: str) -> bytes:
    return deed.encode() + b"\n" + png()


def refusal(sandbox: Sandbox, deed: str) -> UploadRejected:
    with pytest.raises(UploadRejected) as refused:
        sandbox.normalise(asking_for(deed))
    return refused.value


def children_of(process: int) -> list[int]:
    found = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(child) for child in found.split()]


def zygote_of(sandbox: Sandbox) -> int:
    """The warm process for what `asking_for` makes, which is no picture by its first bytes."""
    return sandbox.processes[Family.ALL]


def is_there(process: int) -> bool:
    """Whether a process runs, or waits as a zombie."""
    return Path(f"/proc/{process}").exists()


def comes_true(condition: Callable[[], bool], within_s: float = 10) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


# What is decoded


def test_the_slices_are_those_of_the_normaliser(sandbox: Sandbox) -> None:
    for body in (png(), png((700, 400)), png(mode="RGBA")):
        assert sandbox.normalise(body) == normalise(body, SHAPE)


def test_a_rejection_is_the_normaliser_s_own(sandbox: Sandbox) -> None:
    for body in (b"", b"no picture", png((20, 20)), png()[:-40]):
        with pytest.raises(UploadRejected) as there:
            sandbox.normalise(body)
        with pytest.raises(UploadRejected) as here:
            normalise(body, SHAPE)
        assert vars(there.value) == vars(here.value)


def test_a_large_upload_passes_whole(sandbox: Sandbox) -> None:
    body = png() + bytes(20 * 1024 * 1024)
    assert sandbox.normalise(body) == normalise(body, SHAPE)


def test_a_decoder_may_use_threads(sandbox: Sandbox) -> None:
    assert sandbox.normalise(asking_for("start_a_thread")) == normalise(png(), SHAPE)


# What breaks


@pytest.mark.parametrize(
    ("deed", "code"),
    [
        ("read_null", "decoder_crashed"),
        ("abort", "decoder_crashed"),
        ("leave", "decoder_crashed"),
        ("recurse", "decoder_crashed"),
        ("raise_with_text", "decoder_crashed"),
        ("write_nonsense", "decoder_crashed"),
        ("write_half", "decoder_crashed"),
        ("write_without_end", "decoder_crashed"),
        ("allocate", "decode_memory"),
        ("allocate_natively", "decoder_crashed"),
    ],
)
def test_what_breaks_a_decoder_is_rejected_and_the_next_upload_is_fine(
    sandbox: Sandbox, deed: str, code: str
) -> None:
    faults = [refusal(sandbox, deed) for _ in range(2)]
    assert [fault.code for fault in faults] == [code, code]
    assert faults[0].message == faults[1].message
    assert faults[0].remedy
    assert SECRET not in str(faults[0])
    assert sandbox.normalise(png()) == normalise(png(), SHAPE)


@pytest.mark.parametrize("deed", ["hang", "spin", "hang_after_closing"])
def test_what_does_not_end_is_ended(hasty: Sandbox, deed: str) -> None:
    started = time.monotonic()
    fault = refusal(hasty, deed)
    assert 0.9 < time.monotonic() - started < 10
    assert (fault.code, "after 1 seconds" in fault.message) == ("decode_timeout", True)
    assert "DecodeSeconds" in fault.remedy
    assert hasty.normalise(png()) == normalise(png(), SHAPE)
    assert len(children_of(zygote_of(hasty))) == 1  # the one that waits


def test_an_upload_may_be_given_less_time(sandbox: Sandbox) -> None:
    started = time.monotonic()
    with pytest.raises(UploadRejected, match=r"decode_timeout: .* after 0.5 seconds"):
        sandbox.normalise(asking_for("spin"), seconds=0.5)
    assert time.monotonic() - started < 10


def test_the_memory_s_bound_is_named(sandbox: Sandbox) -> None:
    fault = refusal(sandbox, "allocate")
    assert "more than 256 MiB" in fault.message
    assert "DecodeMemoryMb" in fault.remedy


def test_more_slices_than_allowed_are_no_answer() -> None:
    with start(max_planes=0) as strict:
        assert refusal(strict, "").code == "decoder_crashed"


# What is not to be had


@ON_LINUX
def test_a_child_can_reach_nothing_and_change_nothing(sandbox: Sandbox) -> None:
    outside = Path("/tmp/tomodrop-sandbox-test")
    outside.write_text("untouched")
    found = json.loads(refusal(sandbox, "look_around").message)
    # Python words the refusal of `setrlimit` so.
    assert found.pop("limits") == "ValueError: None"
    assert set(found.values()) == {"PermissionError: 1"}, found
    assert outside.read_text() == "untouched"
    outside.unlink()


@ON_LINUX
def test_a_child_s_limits_are_set(sandbox: Sandbox) -> None:
    found = json.loads(refusal(sandbox, "look_at_limits").message)
    assert found["Max cpu time"] == "21"
    assert found["Max file size"] == "0"
    assert found["Max core file size"] == "0"
    assert int(found["Max open files"]) < 64
    assert int(found["Max address space"]) < 2 * 1024**3


@ON_LINUX
def test_a_child_finds_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "AKIA-secret")
    monkeypatch.setenv("WORK_BUCKET", "work")
    with start() as made:
        found = json.loads(refusal(made, "look_for_credentials").message)
    assert found["found"] == []
    assert {"AWS_SECRET_ACCESS_KEY", "WORK_BUCKET", "HOME"}.isdisjoint(found["variables"])
    assert "PYTHONPATH" in found["variables"]
    # Standard input, output and error lead nowhere; one pipe gave the upload, one takes the answer.
    assert found["descriptors"] == ["/dev/null"] * 3 + ["pipe"] * 2


@ON_LINUX
def test_the_function_s_own_process_is_hidden_from_its_children() -> None:
    with start() as made:
        made.start("a.dcm")
        assert ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 0  # PR_GET_DUMPABLE


UNFILTERED = """
import os, resource
from tomodrop.sandbox.bounds import Bounds
from tomodrop.sandbox.confinement import address_space, confine
from tomodrop.sandbox.seccomp import Filter
confine(Bounds(memory_mb=64, seconds=3), Filter(None), address_space(), keep=(1,))
print(resource.getrlimit(resource.RLIMIT_NPROC))
write = "os.write(os.open('file', os.O_WRONLY | os.O_CREAT), b'x')"
for attempt in ("import socket", "bytearray(2**27)", write):
    try:
        exec(attempt)
        print("done")
    except (ImportError, MemoryError, OSError) as error:
        print(type(error).__name__)
"""


@ON_LINUX
def test_without_a_filter_the_limits_hold_all_the_same(tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-c", UNFILTERED],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY / "functions")},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert said == ["(0, 0)", "ModuleNotFoundError", "MemoryError", "OSError"]


def test_what_a_child_prints_goes_nowhere(capfd: pytest.CaptureFixture[str]) -> None:
    with start() as made:
        assert made.normalise(asking_for("print_much")) == normalise(png(), SHAPE)
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")


# The warm process


def test_it_stays_and_leaves_no_zombie(sandbox: Sandbox) -> None:
    sandbox.normalise(asking_for("start_a_thread"))
    zygote = zygote_of(sandbox)
    for deed in ("read_null", "leave", "write_nonsense"):
        refusal(sandbox, deed)
    assert zygote_of(sandbox) == zygote
    assert len(children_of(zygote)) == 1


def state_of(process: int) -> str:
    """As `ps` has it: S for one that sleeps."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


@ON_LINUX
def test_a_child_waits_before_its_upload_comes(sandbox: Sandbox) -> None:
    sandbox.normalise(asking_for("start_a_thread"))
    (waiting,) = children_of(zygote_of(sandbox))
    assert comes_true(lambda: state_of(waiting) == "S")
    assert int(refusal(sandbox, "say_who_you_are").message) == waiting
    assert not is_there(waiting)


@ON_LINUX
def test_a_child_that_was_ended_while_it_waited_costs_no_upload(sandbox: Sandbox) -> None:
    sandbox.normalise(asking_for("start_a_thread"))
    (waiting,) = children_of(zygote_of(sandbox))
    os.kill(waiting, signal.SIGKILL)
    assert comes_true(lambda: state_of(waiting) == "Z")
    assert sandbox.normalise(asking_for("start_a_thread")) == normalise(png(), SHAPE)


def test_a_child_that_cannot_be_forked_early_is_forked_in_time() -> None:
    with Sandbox(SHAPE, decode="scarce:by_content") as made:
        zygotes = set()
        for _ in range(3):
            assert made.normalise(png()) == normalise(png(), SHAPE)
            zygotes.add(made.processes[Family.PICTURES])
        assert len(zygotes) == 1


@ON_LINUX
def test_the_warm_process_never_holds_an_upload(sandbox: Sandbox) -> None:
    sandbox.normalise(asking_for("start_a_thread"))
    marked = b"start_a_thread " + SECRET.encode() * 1000 + b"\n" + png()
    assert sandbox.normalise(marked) == normalise(png(), SHAPE)
    assert SECRET.encode() * 2 not in memory_of(zygote_of(sandbox))
    # What this test looks with does find it where it is.
    assert SECRET.encode() * 2 in memory_of(os.getpid())


def memory_of(process: int) -> bytes:
    """All that a process may write to."""
    found = []
    with Path(f"/proc/{process}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{process}/maps").read_text().splitlines():
            span, rights = line.split()[:2]
            start, end = (int(place, 16) for place in span.split("-"))
            if rights.startswith("rw"):
                memory.seek(start)
                found.append(memory.read(end - start))
    return b"".join(found)


@ON_LINUX
def test_pictures_have_a_warm_process_that_knows_nothing_else() -> None:
    with Sandbox(SHAPE) as made:
        made.start("incoming/a.PNG")
        made.start("incoming/a.png.dcm")
        assert list(made.processes) == [Family.PICTURES, Family.ALL]
        assert made.normalise(png()) == normalise(png(), SHAPE)
        libraries = [
            Path(f"/proc/{process}/maps").read_text() for process in made.processes.values()
        ]
        assert "_imaging." in libraries[0]
        assert "gdcm" not in libraries[0]
        with pytest.raises(UploadRejected, match="damaged_archive"):
            made.normalise(b"PK\x03\x04")
        assert "gdcm" in Path(f"/proc/{made.processes[Family.ALL]}/maps").read_text()


def test_a_name_that_lies_does_no_harm() -> None:
    with Sandbox(SHAPE) as made:
        made.start("incoming/a.dcm")
        assert made.normalise(png()) == normalise(png(), SHAPE)


def test_if_it_dies_it_is_started_again(sandbox: Sandbox) -> None:
    sandbox.normalise(asking_for("start_a_thread"))
    zygote = zygote_of(sandbox)
    os.kill(zygote, signal.SIGKILL)
    assert sandbox.normalise(asking_for("start_a_thread")) == normalise(png(), SHAPE)
    assert zygote_of(sandbox) != zygote
    assert not is_there(zygote)


def test_it_can_be_closed_and_used_again() -> None:
    made = start()
    made.close()
    made.normalise(asking_for("start_a_thread"))
    zygote = zygote_of(made)
    made.close()
    made.close()
    assert not is_there(zygote)
    assert made.normalise(png())
    made.close()


@pytest.mark.parametrize("decode", ["absent:decode", "hostile:absent", "nonsense"])
def test_decoders_that_cannot_be_had_are_no_upload_s_fault(decode: str) -> None:
    with Sandbox(SHAPE, decode=decode) as made:
        for _ in range(2):
            with pytest.raises(SandboxError, match=f"does not start.*'{decode}'"):
                made.normalise(png())


OWNER = """
import sys, time
from tomodrop.sandbox.parent import Sandbox
made = Sandbox((3, 64, 64), decode="hostile:by_content")
made.start("a.dcm")
print(*made.processes.values(), flush=True)
if "hang" in sys.argv:
    made.normalise(b"hang\\n")
time.sleep(60)
"""


@ON_LINUX
@pytest.mark.parametrize("argument", ["idle", "hang"])
def test_it_ends_with_the_process_that_started_it(argument: str) -> None:
    path = os.pathsep.join([str(REPOSITORY / "functions"), str(REPOSITORY / "tests/functions")])
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, argument],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert owner.stdout is not None
    with owner.stdout as said:
        zygote = int(said.readline())
    if argument == "hang":
        assert comes_true(lambda: bool(children_of(zygote)))
    family = [zygote, *children_of(zygote)]
    # One process group: who ends a worker's group, as `local/leash.py` does, ends these with it.
    assert {os.getpgid(process) for process in family} == {os.getpgid(owner.pid)}
    owner.kill()
    owner.wait()
    assert comes_true(lambda: not any(map(is_there, family)))


STRAGGLERS = """
import os, time
from tomodrop.sandbox.confinement import adopt_orphans
from tomodrop.sandbox.child import Child
from tomodrop.sandbox.zygote import _end_stragglers
adopt_orphans()
waiting = os.fork()
if not waiting:
    time.sleep(60)
reading, writing = os.pipe()
child = os.fork()
if not child:
    for _ in range(3):
        if not os.fork():
            os.setsid()
            os.write(writing, b"x")
            time.sleep(60)
    os._exit(0)
os.waitpid(child, 0)
for _ in range(3):
    os.read(reading, 1)
_end_stragglers(Child(waiting, -1, -1))
with open(f"/proc/self/task/{os.getpid()}/children") as children:
    print(children.read().split() == [str(waiting)])
os.kill(waiting, 9)
"""


@ON_LINUX
def test_what_a_child_leaves_running_is_ended() -> None:
    """Where no filter forbids it, a child may make processes: they end with their upload."""
    ran = subprocess.run(
        [sys.executable, "-c", STRAGGLERS],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY / "functions")},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=30,
    )
    assert ran.stdout == "True\n"
