"""The daemon's command line; every path can be set, so that a second instance or a test stays by itself."""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xdploaderd import __version__
from xdploaderd.load.config_files import CONFIG_FILE
from xdploaderd.load.pinning_files import PINNING_CONF

STATE_DIR = Path("/run/xdploaderd")
DATA_DIR = Path("/var/lib/xdploaderd")
SOCKET_NAME = "control"
LEVELS = {"error": logging.ERROR, "warning": logging.WARNING, "info": logging.INFO, "debug": logging.DEBUG}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the daemon was started with. `bus`: `system`, `none`, or the address of a D-Bus daemon."""

    config: Path
    pinning: Path
    socket: Path
    state_dir: Path
    data_dir: Path
    check: bool
    bus: str
    log_level: int


def parse_options(argv: Sequence[str]) -> Options:
    """Return the options; ends the process with status 64 and a message where they make no sense."""
    parser = _Parser(prog="xdploaderd", description="Attach XDP and tc programs and keep them attached.")
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
    given = parser.parse_args(argv)
    return Options(
        config=given.config,
        pinning=given.pinning,
        socket=given.socket or given.state_dir / SOCKET_NAME,
        state_dir=given.state_dir,
        data_dir=given.data_dir,
        check=given.check,
        bus=given.bus,
        log_level=LEVELS[given.log_level],
    )


class _Parser(argparse.ArgumentParser):
    """argparse with the exit status of a usage error (sysexits.h)."""

    def error(self, message: str) -> None:  # type: ignore[override]
        self.print_usage()
        self.exit(64, f"xdploaderd: {message}\n")
