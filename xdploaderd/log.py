"""Log set-up: the journal when systemd started us, standard error otherwise."""

import logging
import sys

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
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("xdploaderd")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
