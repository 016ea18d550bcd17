"""What a daemon has written down: a trial, and the objects that it keeps."""

from collections.abc import Mapping

from tests.support.daemon import Daemon
from xdploaderd.daemon.apply.confirming import read_pending
from xdploaderd.daemon.state.state_file import read_boot_id, read_state


def pending(daemon: Daemon) -> str:
    """Return what is on disk of a configuration or a change on trial: 'waits', 'rejected', or nothing."""
    if read_state(daemon.state / "trial", boot_id=read_boot_id()):
        return "waits"
    found = read_pending(daemon.data)
    return "" if found is None else "rejected" if found.rejected else "waits"


def kept_objects(daemon: Daemon) -> Mapping[str, int]:
    """Return how many objects are kept, by directory."""
    stores = (daemon.state / "objects", daemon.data / "objects", daemon.data / "confirmed-objects")
    return {str(path.relative_to(daemon.directory)): len(tuple(path.glob("*/*"))) for path in stores}
