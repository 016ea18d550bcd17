"""Mount and network namespaces of a process's own, from which no mount finds its way back."""

import ctypes
import errno
import os

CLONE_NEWNS, CLONE_NEWNET = 0x20000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
MNT_DETACH = 2
SPARE = "/mnt"  # a folder of every system, hidden by a mount for the life of the namespace

_libc = ctypes.CDLL(None, use_errno=True)


def enter_namespaces() -> None:
    """Move this process into new mount and network namespaces; OSError when it may not."""
    _check(_libc.unshare(CLONE_NEWNS | CLONE_NEWNET), "unshare")
    try:
        _make_mounts_private()
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        _leave_for_private_mounts()
        _make_root_a_mount()


def mount(kind: str, where: str, options: str = "") -> None:
    """Mount a file system that has no device."""
    _check(_libc.mount(kind.encode(), os.fsencode(where), kind.encode(), 0, options.encode()), f"mount {kind}")


def unmount(where: str) -> None:
    """Take a mount away, for others than those who have files open there."""
    _check(_libc.umount2(os.fsencode(where), MNT_DETACH), "umount")


def _make_mounts_private() -> None:
    _check(_libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount --make-rprivate")


def _leave_for_private_mounts() -> None:
    """Make mounts private from within a chroot, whose root is no mount point and so cannot be named for it.

    setns(2) takes the process to the root of its namespace; chroot(2) takes it back.
    """
    root, here = os.open("/", os.O_PATH), os.open(".", os.O_PATH)
    namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    try:
        _check(_libc.setns(namespace, CLONE_NEWNS), "setns")
        try:
            _make_mounts_private()
        finally:
            os.fchdir(root)
            os.chroot(".")
            os.fchdir(here)
    finally:
        for fd in (root, here, namespace):
            os.close(fd)


def _make_root_a_mount() -> None:
    """Give the chroot a root that is a mount point: `ip netns exec` insists on one."""
    here = os.getcwd()
    _check(_libc.mount(b"/", os.fsencode(SPARE), None, MS_BIND | MS_REC, None), "mount --rbind")
    os.chroot(SPARE)
    os.chdir(here)


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
