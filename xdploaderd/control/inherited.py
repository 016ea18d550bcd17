"""A listening socket that the service manager passes (sd_listen_fds(3)): socket activation, and no gap at a restart."""

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path

FIRST_FD = 3  # SD_LISTEN_FDS_START
_MAX_FDS = 64
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def inherited_listener(path: Path, environ: MutableMapping[str, str]) -> socket.socket | None:
    """Return the passed socket that listens on `path`, or None; the caller owns it.

    The variables that tell of passed sockets are taken out of `environ`, so that no child believes them.
    """
    pid, count, _ = (environ.pop(name, "") for name in _VARIABLES)
    if pid != str(os.getpid()) or not count.isdecimal():
        return None
    for fd in range(FIRST_FD, FIRST_FD + min(int(count), _MAX_FDS)):
        with suppress(OSError):  # closed meanwhile, or no socket
            passed = socket.socket(fileno=os.dup(fd))
            if _listens_on(passed, path):
                os.close(fd)
                return passed
            passed.close()
    return None


def _listens_on(passed: socket.socket, path: Path) -> bool:
    listens = passed.family == socket.AF_UNIX and passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    return bool(listens) and passed.type == socket.SOCK_STREAM and passed.getsockname() == os.fspath(path)
