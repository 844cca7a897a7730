"""A filter of system calls, by prctl alone: what a decoder never needs is refused by the kernel.

Refused: sockets, new processes and programs, signals and looks into other processes, writing or
changing files, raising limits, and doors around filters (io_uring). Threads stay possible.
The program is classic BPF over `struct seccomp_data` (Linux, Documentation/userspace-api/
seccomp_filter.rst); numbers are from asm/unistd_64.h and asm-generic/unistd.h.
"""

import ctypes
import errno
import sys
from collections.abc import Sequence

_LIBC = ctypes.CDLL(None)
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, _PR_SET_NO_NEW_PRIVS = 22, 2, 38
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_REFUSE, _UNKNOWN = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
# O_WRONLY | O_RDWR | O_CREAT | O_TRUNC, the same on both architectures
_WRITING = 0o1 | 0o2 | 0o100 | 0o1000
_CLONE_THREAD = 0x00010000

# By architecture: its audit number, what is refused, {opens: which argument holds the flags}, and
# clone. Numbers from 424 on are the same everywhere.
_ANYWHERE = (
    *(424, 425, 434, 438),  # pidfd_send_signal, io_uring_setup, pidfd_open, pidfd_getfd
    *(452, 463, 466),  # fchmodat2, setxattrat, removexattrat
)
# clone3 and openat2 hide their flags behind a pointer; libraries fall back to the older calls.
_HIDDEN_FLAGS = (435, 437)
_X86_64 = (
    *(41, 42, 49, 53),  # socket, connect, bind, socketpair
    *(57, 58, 59, 322),  # fork, vfork, execve, execveat
    *(62, 200, 234, 129, 297),  # kill, tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo
    *(101, 310, 311),  # ptrace, process_vm_readv, process_vm_writev
    *(76, 82, 83, 84, 85, 86, 87, 88),  # truncate, rename, mkdir … unlink, symlink
    *(90, 91, 92, 93, 94, 132, 133, 235),  # chmod … lchown, utime, mknod, utimes
    *(188, 189, 190, 197, 198, 199),  # setxattr …, removexattr …
    *(258, 259, 260, 261, 263, 264, 265, 266, 268, 280, 316),  # mkdirat … renameat2
    *(29, 319),  # shmget, memfd_create
    *(160, 302),  # setrlimit, prlimit64
    *(155, 161, 165, 166, 272, 308),  # pivot_root, chroot, mount, umount2, unshare, setns
    *(248, 249, 250, 298, 321, 323),  # keys, perf_event_open, bpf, userfaultfd
)
_AARCH64 = (
    *(198, 199, 200, 203),  # socket, socketpair, bind, connect
    *(221, 281),  # execve, execveat
    *(129, 130, 131, 138, 240),  # kill, tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo
    *(117, 270, 271),  # ptrace, process_vm_readv, process_vm_writev
    *(33, 34, 35, 36, 37, 38, 45, 276),  # mknodat … renameat, truncate, renameat2
    *(52, 53, 54, 55, 88),  # fchmod, fchmodat, fchownat, fchown, utimensat
    *(5, 6, 7, 14, 15, 16),  # setxattr …, removexattr …
    *(194, 279),  # shmget, memfd_create
    *(164, 261),  # setrlimit, prlimit64
    *(39, 40, 41, 51, 97, 268),  # umount2, mount, pivot_root, chroot, unshare, setns
    *(217, 218, 219, 241, 280, 282),  # keys, perf_event_open, bpf, userfaultfd
)
_ARCHITECTURES = {
    "x86_64": (0xC000003E, _X86_64, {2: 1, 257: 2}, 56),
    "aarch64": (0xC00000B7, _AARCH64, {56: 2}, 220),
}
# Numbers with this bit are those of the x32 ABI: another table for the same calls.
_X32 = 0x40000000

Instruction = tuple[int, int, int, int]


def program(machine: str) -> list[Instruction] | None:
    """The filter for a machine (`platform.machine()`), None for one it is not written for."""
    if machine not in _ARCHITECTURES:
        return None
    audit, refused, opens, clone = _ARCHITECTURES[machine]
    built: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _REFUSE),
    ]
    for number in (*refused, *_ANYWHERE):
        built += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE)]
    for number in _HIDDEN_FLAGS:
        built += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _UNKNOWN)]
    for number, place in opens.items():
        built += _decide_by(number, place, _WRITING, if_any=_REFUSE, if_none=_ALLOW)
    built += _decide_by(clone, 0, _CLONE_THREAD, if_any=_ALLOW, if_none=_REFUSE)
    return [*built, (_RETURN, 0, 0, _ALLOW)]


def _decide_by(
    number: int, place: int, bits: int, *, if_any: int, if_none: int
) -> list[Instruction]:
    return [
        (_EQUAL, 0, 4, number),
        (_LOAD, 0, 0, _FIRST_ARGUMENT + 8 * place),
        (_ANY_BIT, 0, 1, bits),
        (_RETURN, 0, 0, if_any),
        (_RETURN, 0, 0, if_none),
    ]


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("if_true", ctypes.c_ubyte),
        ("if_false", ctypes.c_ubyte),
        ("value", ctypes.c_uint),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("first", ctypes.POINTER(_Instruction)))


class Filter:
    """A program made ready to be put on a process. None: there is none for this machine."""

    def __init__(self, instructions: Sequence[Instruction] | None) -> None:
        built = instructions or ()
        self._array = (_Instruction * len(built))(*(_Instruction(*one) for one in built))
        self._program = _Program(len(built), self._array)

    def put_on_this_process(self) -> bool:
        """For good, children included. False where the kernel or the machine has no filters."""
        if sys.platform != "linux" or not self._program.length:
            return False
        if _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
            return False
        done = _LIBC.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(self._program), 0, 0)
        return bool(done == 0)
