"""The daemon's command line; every path can be set, so that a second instance or a test stays by itself."""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xdploaderd import __version__
from xdploaderd.load.config_places import CONFIG_FILE
from xdploaderd.load.pinning_files import PINNING_CONF

STATE_DIR = Path("/run/xdploaderd")
DATA_DIR = Path("/var/lib/xdploaderd")
SOCKET_NAME = "control"
ORPHAN_GRACE = 60.0  # seconds
MOST_SECONDS = 86400.0
_OTHER_COMMANDS = "Other commands: install-system and uninstall-system, for the system's files; see xdploaderd(8)."
LEVELS = {"error": logging.ERROR, "warning": logging.WARNING, "info": logging.INFO, "debug": logging.DEBUG}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the daemon was started with. `bus`: `system`, `none`, or the address of a D-Bus daemon."""

    config: Path
    pinning: Path
    socket: Path
    state_dir: Path
    data_dir: Path
    orphan_grace: float
    check: bool
    bus: str
    log_level: int


def parse_options(argv: Sequence[str]) -> Options:
    """Return the options; ends the process with status 64 and a message where they make no sense."""
    parser = _Parser(
        prog="xdploaderd", description="Attach XDP and tc programs and keep them attached.", epilog=_OTHER_COMMANDS
    )
    parser.add_argument("--version", action="version", version=f"xdploaderd {__version__}")
    parser.add_argument(
        "--config",
        type=Path,
        default=CONFIG_FILE,
        metavar="PATH",
        help="file, or directory with xdploaderd.yaml and conf.d (default: %(default)s with its drop-ins)",
    )
    parser.add_argument("--pinning", type=Path, default=PINNING_CONF, metavar="FILE", help="default: %(default)s")
    parser.add_argument(
        "--socket", type=Path, metavar="PATH", help=f"control socket (default: {SOCKET_NAME} in the state directory)"
    )
    parser.add_argument("--state-dir", type=Path, default=STATE_DIR, metavar="DIR", help="default: %(default)s")
    parser.add_argument(
        "--data-dir", type=Path, default=DATA_DIR, metavar="DIR", help="what outlives a reboot (default: %(default)s)"
    )
    parser.add_argument("--check", action="store_true", help="read configuration and objects, tell faults, end")
    parser.add_argument(
        "--bus",
        default="system",
        metavar="ADDRESS",
        help="D-Bus to serve on: system, none or an address (%(default)s)",
    )
    parser.add_argument("--log-level", choices=tuple(LEVELS), default="info", help="default: %(default)s")
    parser.add_argument(
        "--orphan-grace",
        type=_seconds,
        default=ORPHAN_GRACE,
        metavar="SECONDS",
        help="how long programs of ours that no entry wants run on (default: %(default)g)",
    )
    given = parser.parse_args(argv)
    return Options(
        config=given.config,
        pinning=given.pinning,
        socket=given.socket or given.state_dir / SOCKET_NAME,
        state_dir=given.state_dir,
        data_dir=given.data_dir,
        orphan_grace=given.orphan_grace,
        check=given.check,
        bus=given.bus,
        log_level=LEVELS[given.log_level],
    )


def _seconds(word: str) -> float:
    try:
        seconds = float(word)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"want a number of seconds from 0 to {MOST_SECONDS:g}, not '{word}'")
    return seconds


class _Parser(argparse.ArgumentParser):
    """argparse with the exit status of a usage error (sysexits.h)."""

    def error(self, message: str) -> None:  # type: ignore[override]
        self.print_usage(sys.stderr)
        self.exit(64, f"xdploaderd: {message}\n")
