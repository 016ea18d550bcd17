"""How a developers' command ends, with Ctrl-C too."""

import signal
import sys
from collections.abc import Callable
from typing import NoReturn


def end_with(main: Callable[[], int | None]) -> NoReturn:
    """Run a command and exit with its status; after Ctrl-C, once all is cleaned up, with that of a shell (128 + 2)."""
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
