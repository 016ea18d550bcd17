"""Log set-up: the journal when systemd started us, standard error otherwise."""

import logging
import os
import sys

from xdploaderd.printable import printable

try:
    from systemd.journal import JournalHandler
except ImportError:  # the extra `systemd` is not installed: standard error is all there is
    JournalHandler = None


def setup_logging(level: int, *, journal: bool) -> None:
    """Send the package's records to the journal (with their extra fields) or to standard error."""
    handler: logging.Handler
    if journal and JournalHandler is not None:
        handler = JournalHandler(SYSLOG_IDENTIFIER="xdploaderd")
        handler.setFormatter(logging.Formatter("%(message)s"))
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(OneLine("%(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("xdploaderd")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False


def stderr_is_journal() -> bool:
    """Return whether standard error is the journal's stream (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class OneLine(logging.Formatter):
    """One record, one line: names of files, programs and interfaces cannot forge a second one."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = printable(record.message)
        return super().formatMessage(record)
