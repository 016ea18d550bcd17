"""Wait for the pass that carries out a request, and tell how its entry stands then."""

from xdploaderd.daemon.reconcile import Reconciler
from xdploaderd.daemon.report import attachment_statuses, find_error
from xdploaderd.daemon.status import AttachmentStatus, State
from xdploaderd.errors import AttachError, NoSuchAttachmentError
from xdploaderd.printable import quoted


async def settle(reconciler: Reconciler, name: str, *, failed: tuple[State, ...]) -> AttachmentStatus:
    """Return the entry's status after a pass that begins now; raises what keeps it from leaving a state of `failed`."""
    reconciler.forgive(name)
    picture = await reconciler.settled()
    found = next((status for status in attachment_statuses(picture) if status.name == name), None)
    if found is None:
        raise NoSuchAttachmentError(f"attachment {quoted(name)} went from the configuration meanwhile")
    if found.state in failed:
        raise find_error(picture, name) or AttachError(found.reason)
    return found
