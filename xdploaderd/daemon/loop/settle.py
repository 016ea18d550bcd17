"""Wait for the pass that carries out a request, and tell how its entry stands then."""

from xdploaderd.daemon.loop.reconcile import Reconciler
from xdploaderd.daemon.loop.report import find_error, status_of
from xdploaderd.daemon.plan.status import AttachmentStatus, State
from xdploaderd.errors import AttachError, NoSuchAttachmentError
from xdploaderd.printable import quoted


async def settle(reconciler: Reconciler, name: str, *, failed: tuple[State, ...]) -> AttachmentStatus:
    """Return the entry's status after a pass that begins now; raises what keeps it from leaving a state of `failed`."""
    reconciler.forgive(name)
    picture = await reconciler.settled()
    found = status_of(picture, name)
    if found is None:
        raise NoSuchAttachmentError(f"attachment {quoted(name)} went from the configuration meanwhile")
    if found.state in failed:
        raise find_error(picture, name) or AttachError(found.reason)
    return found
