"""What the service manager is told (sd_notify(3), sd_watchdog_enabled(3)); nothing outside of a unit."""

import logging
import os
import time
from collections.abc import Mapping

try:
    from systemd.daemon import notify
except ImportError:  # the extra `systemd` is not installed: there is nobody to tell
    notify = None

log = logging.getLogger(__name__)

MICROSECONDS = 1_000_000


class Notifier:
    """Tells the service manager how the daemon stands; does nothing when it was not started by one."""

    def __init__(self) -> None:
        self._active = notify is not None and bool(os.environ.get("NOTIFY_SOCKET"))

    def ready(self, status: str) -> None:
        """Tell that start or reload is done."""
        self._send("READY=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        """Tell in one line how the attachments stand."""
        self._send(f"STATUS={status}")

    def reloading(self) -> None:
        """Tell that a reload has begun; ready() ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Tell that the daemon is about to end."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._active:
            return
        try:
            notify("\n".join(line.replace("\n", " ") for line in lines))
        except OSError as error:  # a manager that does not listen is no reason to end
            log.debug("the service manager cannot be told: %s", error)


def watchdog_period(environ: Mapping[str, str] = os.environ) -> float | None:
    """Return how often to feed the watchdog, in seconds (half its time); None when there is none for this process."""
    usec = environ.get("WATCHDOG_USEC", "")
    if not usec.isdecimal() or int(usec) == 0 or environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(usec) / MICROSECONDS / 2
