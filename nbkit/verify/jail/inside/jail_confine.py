"""Kernel confinement for the code jail: seccomp allow-list, Landlock, no privileges (Linux, ctypes only).

Used by `jail_worker.py` (the jailed side) and by `jail.probe` (which tiers does this machine offer?); no
notebook imports it. It needs nothing but the standard library, because the worker loads it by path with
site-packages off.

A job may compute, use memory, start threads, sleep, read and write descriptors it already holds, and exit.
Opening or looking up any path, sockets, fork, exec, kill, ptrace, prctl, fcntl, ioctl, memfd and io_uring
all fail with EPERM.

Example: `tier()` -> "seccomp+landlock"
"""

import ctypes
import os
import platform
import struct

# name: (x86_64, aarch64); None where the architecture has no such call.
_ALLOWED: dict[str, tuple[int | None, int | None]] = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "fstat": (5, 80),
    "lseek": (8, 62),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sched_yield": (24, 124),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "nanosleep": (35, 101),
    "getpid": (39, 172),
    "exit": (60, 93),
    "gettimeofday": (96, 169),
    "getrusage": (98, 165),
    "times": (100, 153),
    "sigaltstack": (131, 132),
    "gettid": (186, 178),
    "time": (201, None),
    "futex": (202, 98),
    "sched_getaffinity": (204, 123),
    "restart_syscall": (219, 128),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "exit_group": (231, 94),
    "set_robust_list": (273, 99),
    "getrandom": (318, 278),
    "rseq": (334, 293),
}
_CLONE = (56, 220)
_CLONE3 = (435, 435)
_SECCOMP = (317, 277)
# The exact flags with which glibc and musl start a thread; anything else (fork, namespaces) is refused.
_THREAD_FLAGS = (0x3D0F00, 0x7D0F00)
_ARCH = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column above, AUDIT_ARCH_*

_LANDLOCK_CREATE, _LANDLOCK_RESTRICT = 444, 446
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38

_libc = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def _syscall(number: int, *args: object) -> int:
    return _libc.syscall(ctypes.c_long(number), *args)


def _prctl(option: int, value: int, pointer: object = None) -> None:
    zero = ctypes.c_ulong(0)
    third = zero if pointer is None else pointer
    if _libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), third, zero, zero) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl({option}): {os.strerror(error)}")


def _landlock_abi() -> int:
    """Landlock ABI of the running kernel; 0 or less when absent."""
    return _syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint(1))


def tier() -> str | None:
    """What this machine can enforce: "seccomp+landlock", "seccomp", or None when even seccomp is missing."""
    if platform.system() != "Linux" or platform.machine() not in _ARCH or ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    column = _ARCH[platform.machine()][0]
    action = ctypes.c_uint32(_KILL)
    if _syscall(_SECCOMP[column], ctypes.c_uint(2), ctypes.c_uint(0), ctypes.byref(action)) != 0:
        return None
    return "seccomp+landlock" if _landlock_abi() >= 1 else "seccomp"


def build_filter(machine: str | None = None) -> bytes:
    """The job's seccomp program as raw `struct sock_filter[]`.

    Layout: wrong architecture -> kill; x32 numbers -> kill; listed numbers -> allow; clone -> allow only
    the thread flags; clone3 -> ENOSYS (libc then falls back to clone, whose flags a filter can read); the
    rest -> EPERM.
    """
    column, audit = _ARCH[machine or platform.machine()]
    load, equal, at_least, ret = 0x20, 0x15, 0x35, 0x06

    def op(code: int, if_true: int, if_false: int, value: int) -> bytes:
        return struct.pack("=HBBI", code, if_true, if_false, value)

    # Numbers of this machine's architecture; a call that it lacks is left out.
    numbers = [row[column] for row in _ALLOWED.values() if row[column] is not None]
    # Other architectures' numbers mean other calls: such a call kills the job.
    program = [op(load, 0, 0, 4), op(equal, 1, 0, audit), op(ret, 0, 0, _KILL), op(load, 0, 0, 0)]
    # x32 shares the architecture's mark and differs by one bit of the number.
    if column == 0:
        program += [op(at_least, 0, 1, 0x40000000), op(ret, 0, 0, _KILL)]
    for number in numbers:
        program += [op(equal, 0, 1, number), op(ret, 0, 0, _ALLOW)]
    program += [op(equal, 0, 1, _CLONE3[column]), op(ret, 0, 0, _ERRNO | _ENOSYS)]
    # Threads are clones with exactly these flags; a clone with others would be a process.
    program += [op(equal, 0, 4, _CLONE[column]), op(load, 0, 0, 16)]  # 16: low word of the first argument
    program += [op(equal, 1, 0, _THREAD_FLAGS[0]), op(equal, 0, 1, _THREAD_FLAGS[1]), op(ret, 0, 0, _ALLOW)]
    program += [op(ret, 0, 0, _ERRNO | _EPERM)]
    return b"".join(program)


def install_filter(program: bytes) -> None:
    """Put the calling process under `program` for good. Raises OSError when the kernel refuses."""
    loaded = _Program(len(program) // 8, program)
    _prctl(_PR_SET_SECCOMP, 2, ctypes.byref(loaded))


def die_with_parent() -> None:
    """SIGKILL this process when its parent dies."""
    _prctl(_PR_SET_PDEATHSIG, 9)


def drop_privileges() -> bool:
    """Give up root and every capability; True when RLIMIT_NPROC now counts this process and its jobs only.

    Root takes a user id nobody else has; others take a user namespace, where the count starts anew (Linux
    5.14). Where neither is allowed, threads are bounded by the address space alone.
    """
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    own_count = False
    if os.geteuid() != 0:
        own_count = _libc.unshare(ctypes.c_int(_CLONE_NEWUSER)) == 0
    else:
        # A user id at random, far above any that a system gives out.
        number = 1_500_000_000 + int.from_bytes(os.urandom(3), "big")
        try:
            os.setgroups([])
            os.setresgid(number, number, number)
            os.setresuid(number, number, number)
            own_count = True
        except OSError:
            own_count = False
    # No capability in any set; version 3 of the call, for this thread.
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    if _libc.capset(header, (ctypes.c_uint32 * 6)()) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"capset: {os.strerror(error)}")
    return own_count


def landlock() -> bool:
    """Deny every path, TCP port, outside signal and abstract socket; False when Landlock cannot."""
    abi = _landlock_abi()
    if abi < 1:
        return False
    paths = (1 << (13 if abi < 2 else 14 if abi < 3 else 15 if abi < 5 else 16)) - 1
    rules = (ctypes.c_uint64 * 3)(paths, 3, 3)
    size = 8 if abi < 4 else 16 if abi < 6 else 24
    ruleset = _syscall(_LANDLOCK_CREATE, ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint(0))
    if ruleset < 0:
        return False
    done = _syscall(_LANDLOCK_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint(0)) == 0
    os.close(ruleset)
    return done
