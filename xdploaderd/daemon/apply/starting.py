"""Which configuration a daemon starts with: that of the files, or the last confirmed one."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from xdploaderd.config.attachments import AttachmentConfig
from xdploaderd.config.pinning import PinningConf
from xdploaderd.daemon.apply.confirming import Confirming
from xdploaderd.daemon.plan.matching import may_be_for
from xdploaderd.daemon.wanted.wishes import Digests, Settings
from xdploaderd.errors import LoaderError
from xdploaderd.limits import Limits
from xdploaderd.printable import quoted

NOT_CONFIRMED = "the configuration was not confirmed, and the last confirmed one is in force"
NO_CONFIRMED = "the configuration was not confirmed, and stays in force: no confirmed one can be read"
NOT_KNOWN = "whether the configuration was confirmed cannot be read, and the last confirmed one is in force"


@dataclass(frozen=True, slots=True)
class Start:
    """What to begin with; `error` says why that is not what the files say."""

    settings: Settings
    digests: Digests
    error: str = ""


def choose_start(
    read: Callable[[], Settings],
    read_objects: Callable[[Iterable[AttachmentConfig], Limits], Digests],
    read_pinning: Callable[[], PinningConf],
    confirming: Confirming,
) -> Start:
    """Return the configuration of the files, where it may be used.

    The last confirmed one is used instead where the files cannot be read, where theirs waited to be confirmed and the
    time is over or was that of another boot, or nobody knows, and where they change what is attached to an interface
    that is protected by them or by it.
    Raises ConfigError or FileError for bad files when none was ever confirmed.
    """
    try:
        settings = read()
    except LoaderError as error:
        old = confirming.confirmed(Settings((), confirming.pinning() or read_pinning()))
        if old is None:
            raise
        return Start(*old, error=str(error))
    digests = read_objects(settings.attachments, settings.limits)
    why = _not_to_be_used(settings, digests, confirming)
    old = confirming.confirmed(settings) if why else None
    if old is None:
        return Start(settings, digests)
    protect = old[0].protect if why in (NOT_CONFIRMED, NOT_KNOWN) else old[0].protect | settings.protect
    return Start(replace(old[0], protect=protect), old[1], error=why)


def _not_to_be_used(settings: Settings, digests: Digests, confirming: Confirming) -> str:
    pending = confirming.pending
    if confirming.is_damaged:
        return NOT_KNOWN
    if pending is not None and confirming.waits():
        return NOT_CONFIRMED if confirming.seconds_left() == 0 else ""
    if confirming.is_rejected(settings, digests):
        return NOT_CONFIRMED
    protected = settings.protect | confirming.protected()
    old = confirming.confirmed(settings) if protected else None
    if old is None:
        return ""
    for name in sorted(protected):
        if on_interface(settings, digests, name) != on_interface(*old, name):
            return f"interface {quoted(name)} is protected and was changed: `xdploaderctl apply --confirm 60s`"
    return ""


def on_interface(settings: Settings, digests: Digests, name: str) -> list[tuple[object, object]]:
    """Return what a configuration may want on an interface, with the digests of the objects."""
    entries = (entry for entry in settings.attachments if may_be_for(entry, name, None))
    return [(entry, str(digests[entry.object])) for entry in entries]
