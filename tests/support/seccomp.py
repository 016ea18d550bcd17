"""A seccomp listener: chosen system calls of this process wait until another one lets them through.

Mirrors linux/seccomp.h and linux/filter.h.
"""

import ctypes
import os
import socket
import sys

_X86_64 = {
    "bpf": 321, "sendto": 44, "sendmsg": 46, "rename": 82, "renameat": 264, "renameat2": 316, "mkdir": 83,
    "mkdirat": 258, "rmdir": 84, "unlink": 87, "unlinkat": 263, "fsync": 74,
}  # fmt: skip
_GENERIC = {"bpf": 280, "sendto": 206, "sendmsg": 211, "renameat": 38, "renameat2": 276, "mkdirat": 34, "unlinkat": 35,
            "fsync": 82}  # fmt: skip
_X86 = os.uname().machine == "x86_64"
NUMBERS = _X86_64 if _X86 else _GENERIC  # the calls that wait
_SYS_SECCOMP = 317 if _X86 else 277
_SYS_PIDFD_OPEN, _SYS_PIDFD_GETFD = 434, 438  # on every architecture
_SET_MODE_FILTER, _NEW_LISTENER = 1, 8
_LOAD, _IS_EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
_NOTIFY, _ALLOW = 0x7FC00000, 0x7FFF0000
RECV, SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND
CONTINUE = 1  # SECCOMP_USER_NOTIF_FLAG_CONTINUE

_libc = ctypes.CDLL(None, use_errno=True)


class Notification(ctypes.Structure):
    """struct seccomp_notif: a call that waits."""

    _fields_ = (("id", ctypes.c_uint64), ("pid", ctypes.c_uint32), ("flags", ctypes.c_uint32), ("nr", ctypes.c_int32),
                ("arch", ctypes.c_uint32), ("ip", ctypes.c_uint64), ("args", ctypes.c_uint64 * 6))  # fmt: skip


class Answer(ctypes.Structure):
    """struct seccomp_notif_resp: what becomes of it."""

    _fields_ = (("id", ctypes.c_uint64), ("val", ctypes.c_int64), ("error", ctypes.c_int32), ("flags", ctypes.c_uint32))


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def be_watched(path: str) -> None:
    """Let every call of NUMBERS that this process makes from now on wait for whoever accepts connections at `path`."""
    with socket.socket(socket.AF_UNIX) as watcher:
        watcher.connect(path)
        listener = _listen()
        os.write(watcher.fileno(), f"{listener}\n".encode())  # no call that waits
        os.read(watcher.fileno(), 1)
        os.close(listener)


def _listen() -> int:
    calls = tuple(NUMBERS.values())
    tests = [_Instruction(_IS_EQUAL, len(calls) - place, 0, number) for place, number in enumerate(calls)]
    ends = [_Instruction(_RETURN, 0, 0, _ALLOW), _Instruction(_RETURN, 0, 0, _NOTIFY)]
    words = [_Instruction(_LOAD, 0, 0, 0), *tests, *ends]
    program = _Program(len(words), (_Instruction * len(words))(*words))
    listener: int = _libc.syscall(_SYS_SECCOMP, _SET_MODE_FILTER, _NEW_LISTENER, ctypes.byref(program))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return listener


def fetched(connection: socket.socket) -> tuple[int, int]:
    """Return the id of the process at the other end and a descriptor of its listener, and let it go on."""
    peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid = int.from_bytes(peer[:4], sys.byteorder)
    number = int(connection.recv(16))
    process: int = _libc.syscall(_SYS_PIDFD_OPEN, pid, 0)
    listener: int = _libc.syscall(_SYS_PIDFD_GETFD, process, number, 0)
    error = ctypes.get_errno()
    os.close(process)
    if listener < 0:
        raise OSError(error, "pidfd_getfd")
    connection.send(b".")
    return pid, listener
