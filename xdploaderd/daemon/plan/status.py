"""What the daemon tells about an attachment and about itself: values that every front-end turns into its own wire."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from xdploaderd.hooks import AttachKind, Hook, XdpMode


class State(StrEnum):
    """How an attachment stands. Only ATTACHED, DETACHED and IDLE are as wanted."""

    ATTACHED = "attached"
    DETACHED = "detached"  # by `detach NAME`, until `attach NAME` or reboot
    IDLE = "idle"  # an entry for several interfaces, none of which is there
    WAITING = "waiting"  # for its interface to appear
    FOREIGN = "foreign"  # somebody else's program is on the hook
    FAILED = "failed"
    GONE = "gone"  # of changes alone: there is no such attachment any more


class Origin(StrEnum):
    """Where an entry comes from."""

    CONFIGURED = "configured"
    PERMANENT = "permanent"  # configured, in a file that the API made
    RUNTIME = "runtime"  # through the API, until reboot


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentStatus:
    """One attachment: the wish, what is observed, and why they differ (`reason`, `error_code`).

    `retry_at`: when what failed is tried again, in seconds of CLOCK_MONOTONIC; 0: when something changes.
    `entry` is the name, or what stands before the `@` where the entry is for several interfaces.
    `modes` is what will do instead of `mode`, best first. `chain` is what runs on its TCX hook, in order, each as
    "ID NAME", and `position` the place of ours in it, from 1. `protocol` and `classid` are those of a filter. `note`
    tells what of an attached program is second best.
    """

    name: str
    entry: str = ""
    interface: str
    hook: Hook
    object: str
    program: str
    mode: XdpMode
    state: State
    modes: tuple[XdpMode, ...] = ()
    attach: AttachKind = AttachKind.NETLINK
    order: str = ""
    origin: Origin = Origin.CONFIGURED
    priority: int = 0
    handle: int = 0
    protocol: str = ""
    classid: int = 0
    ifindex: int = 0
    prog_id: int = 0
    prog_name: str = ""
    prog_tag: str = ""
    actual_mode: str = ""
    link_id: int = 0
    position: int = 0
    chain: tuple[str, ...] = ()
    note: str = ""
    dialect: str = ""
    why: str = ""
    object_sha1: str = ""
    pins: tuple[str, ...] = ()
    reason: str = ""
    error_code: str = ""
    retry_at: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {**asdict(self), "pins": list(self.pins), "modes": list(self.modes), "chain": list(self.chain)}


@dataclass(frozen=True, slots=True)
class Stand:
    """How an attachment stands, in a few words for the audit log; `sha1`: of the object of its program."""

    words: str = ""
    sha1: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """What is pinned as ours and no entry wants; `places` it runs at, `swept_at` in seconds of CLOCK_MONOTONIC.

    `reason`: why it is not swept, where `swept_at` is 0.
    """

    name: str
    prog_id: int
    prog_name: str
    prog_tag: str
    places: tuple[str, ...]
    pins: tuple[str, ...]
    swept_at: int
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {**asdict(self), "places": list(self.places), "pins": list(self.pins)}


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStatus:
    """The daemon as a whole; degraded when an attachment or the configuration is not as wanted.

    `applied`: since when the configuration in force is (RFC 3339, UTC). `confirm_seconds`: how long it, or a change by
    request, waits to be confirmed before it is rolled back, 0: it does not. `protect`: interfaces that change so alone.
    `lost`: programs of others that gave way to what was on trial and do not come back, each with the reason.
    `pinning`: the files that say where maps are pinned, empty for the built-in defaults.
    """

    version: str
    pid: int
    degraded: bool
    config: str
    pinning: str
    config_error: str
    applied: str = ""
    confirm_seconds: int = 0
    protect: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    attachments: tuple[AttachmentStatus, ...]
    orphans: tuple[Orphan, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        attachments, orphans = ([one.to_json() for one in many] for many in (self.attachments, self.orphans))
        lists = {"attachments": attachments, "orphans": orphans, "protect": list(self.protect), "lost": list(self.lost)}
        return {**asdict(self), **lists}


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedMap:
    """A map of the program that an attachment has in force; `pin` is where it is pinned, as far as that is known."""

    name: str
    id: int
    type: str
    key_size: int
    value_size: int
    max_entries: int
    pin: str

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedMap:
    """What becomes of a map of an object that is loaded: create, reuse, keep, share, recreate, migrate or refuse.

    `entries` is how many it is made with, `lost` how many go with the one that it takes the place of.
    """

    name: str
    action: str
    pin: str
    entries: int
    lost: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedAction:
    """One thing a reload would do: attach, replace, detach, wait or refuse, and why.

    `maps` are those of an object that is loaded for it. `blocks`: this refusal keeps the whole configuration from being
    applied. `confirm`: the interface is protected, `apply --confirm` alone does this.
    """

    action: str
    name: str
    interface: str
    hook: Hook
    reason: str
    maps: tuple[PlannedMap, ...] = ()
    blocks: bool = False
    confirm: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {**asdict(self), "maps": [asdict(one) for one in self.maps]}
