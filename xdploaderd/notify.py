"""What the service manager is told (sd_notify(3), sd_watchdog_enabled(3)); nothing outside of a unit.

The manager's queue is full when it does not read for a while; sd_notify(3) itself would then stop the daemon.
"""

import logging
import os
import socket
import time
from collections.abc import Mapping

log = logging.getLogger(__name__)

MICROSECONDS = 1_000_000
PATIENCE = 2.0  # seconds to wait for a busy manager, which would time out if it did not hear of a start or a reload


class Notifier:
    """Tells the service manager how the daemon stands; does nothing when it was not started by one."""

    def __init__(self) -> None:
        self._address = _address(os.environ.get("NOTIFY_SOCKET", ""))
        self._status = ""

    def ready(self, status: str) -> None:
        """Tell that start or reload is done."""
        if self._send("READY=1", f"STATUS={status}", patience=PATIENCE):
            self._status = status

    def status(self, status: str) -> None:
        """Tell in one line how the attachments stand, unless the manager knows it or is busy."""
        if status != self._status and self._send(f"STATUS={status}"):
            self._status = status

    def reloading(self) -> None:
        """Tell that a reload has begun; ready() ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", patience=PATIENCE)

    def stopping(self) -> None:
        """Tell that the daemon is about to end."""
        self._send("STOPPING=1", patience=PATIENCE)

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str, patience: float = 0.0) -> bool:
        """Send one message; False where nobody takes it."""
        if not self._address:
            return False
        message = "\n".join(line.replace("\n", " ") for line in lines).encode()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
                manager.settimeout(patience)
                manager.sendto(message, self._address)
        except OSError as error:  # a manager that does not listen is no reason to end
            log.debug("the service manager cannot be told: %s", error)
            return False
        return True


def _address(path: str) -> str:
    """Return the address of a path, or of a name in the abstract namespace, which begins with '@'."""
    if path.startswith("@"):
        return "\0" + path[1:]
    return path if path.startswith("/") else ""


def watchdog_period(environ: Mapping[str, str] = os.environ) -> float | None:
    """Return how often to feed the watchdog, in seconds (half its time); None when there is none for this process."""
    usec = environ.get("WATCHDOG_USEC", "")
    if not usec.isdecimal() or int(usec) == 0 or environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(usec) / MICROSECONDS / 2
