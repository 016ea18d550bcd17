"""Mount and network namespaces of a process's own, from which no mount finds its way back."""

import ctypes
import os

CLONE_NEWNS, CLONE_NEWNET = 0x20000, 0x40000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000

_libc = ctypes.CDLL(None, use_errno=True)


def enter_namespaces() -> None:
    """Move this process into new mount and network namespaces; OSError when it may not."""
    _check(_libc.unshare(CLONE_NEWNS | CLONE_NEWNET), "unshare")
    _make_mounts_private()


def mount(kind: str, where: str, options: str = "") -> None:
    """Mount a file system that has no device."""
    _check(_libc.mount(kind.encode(), os.fsencode(where), kind.encode(), 0, options.encode()), f"mount {kind}")


def _make_mounts_private() -> None:
    """Keep mounts of this namespace from reaching its parent.

    `mount --make-rprivate /` needs a mount point, which the root of a chroot need not be; so it is done at the
    namespace's own root, to which setns(2) takes the process, and from which it comes back.
    """
    root, here = os.open("/", os.O_PATH), os.open(".", os.O_PATH)
    namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    try:
        _check(_libc.setns(namespace, CLONE_NEWNS), "setns")
        private = _libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None)
        os.fchdir(root)
        os.chroot(".")
        os.fchdir(here)
        _check(private, "mount --make-rprivate")
    finally:
        for fd in (root, here, namespace):
            os.close(fd)


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
