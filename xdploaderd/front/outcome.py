"""How a command ends: iproute2's exit status for an error, and the lines that tell it."""

from collections.abc import Callable

from xdploaderd.errors import AttachError, LoaderError, NoSuchInterfaceError
from xdploaderd.front.words import EXIT_KERNEL, EXIT_NO_DEVICE, STATUS_FIELD
from xdploaderd.printable import printable
from xdploaderd.terminal import discard_output, error_lines, write_err

EXIT_INTERRUPTED = 130  # 128 + SIGINT
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE
_VERBOSE = "the word 'verbose'"


def run_tool(tool: str, job: Callable[[], int], *, failed: int) -> int:
    """Run a command and return its exit status; `failed` is that of an object that is refused."""
    try:
        return job()
    except LoaderError as error:
        tell(tool, error)
        return status_of(error, failed=failed)
    except KeyboardInterrupt:
        say(tool, "interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        discard_output()
        return EXIT_BROKEN_PIPE


def status_of(error: LoaderError, *, failed: int) -> int:
    """Return what iproute2 exits with: the error's own, 1 without the interface, 2 where netlink refused."""
    known = error.fields.get(STATUS_FIELD)
    if isinstance(known, int):
        return known
    if isinstance(error, NoSuchInterfaceError):
        return EXIT_NO_DEVICE
    return EXIT_KERNEL if isinstance(error, AttachError) else failed


def tell(tool: str, error: LoaderError) -> None:
    """Print the lines of an error on standard error."""
    for line in error_lines(error, verbose=False, option=_VERBOSE):
        say(tool, line)


def say(tool: str, text: str) -> None:
    """Print one line on standard error, after the tool's name."""
    write_err(f"{tool}: {printable(text)}")
