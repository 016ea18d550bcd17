"""The attachments of the configuration: YAML texts in, checked frozen values out.

Every fault of a file is told at once, with its place and key; faults between files are told when they are merged.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NewType

from xdploaderd.config.attachment_model import AttachmentModel
from xdploaderd.config.interface_match import ANY, Match, is_glob
from xdploaderd.config.problems import Place, Problem, config_error
from xdploaderd.config.validate import validate, validate_entry
from xdploaderd.config.yaml_text import Node, parse_yaml
from xdploaderd.errors import ConfigError
from xdploaderd.hooks import ETH_P_ALL, AttachKind, Hook, MapSharing, OnForeign, OnMismatch, XdpMode
from xdploaderd.limits import Limits, limits_with
from xdploaderd.printable import quoted

AttachmentName = NewType("AttachmentName", str)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentConfig:
    """One wanted attachment, to `interface` or to what `match` says.

    `object` is absolute; `program` a function's name, or a section where it has none.

    `modes` is what will do instead of `mode`, best first; `order` is a text such as first or before:NAME, for a link on
    a tc hook. `priority` and `handle` place a tc filter and are 0 for all else; `protocol` is the EtherType it looks
    at, `classid` the class it gives to packets, both without meaning for others; `mode` is UNSPECIFIED for tc.
    `globals` and `max_entries` are set in the object before it is loaded, by variable and by map, in the order of their
    names, and so are the pins of `share`; maps of `no_maps` are not made. `map_init`: files with the entries of new
    maps, by map.
    """

    name: AttachmentName
    interface: str = ""
    match: Match = ANY
    hook: Hook
    object: PurePosixPath
    program: str
    mode: XdpMode = XdpMode.UNSPECIFIED
    modes: tuple[XdpMode, ...] = ()
    attach: AttachKind = AttachKind.NETLINK
    order: str = ""
    priority: int = 0
    handle: int = 0
    protocol: int = ETH_P_ALL
    classid: int = 0
    force: bool = False
    allow_gap: bool = False
    on_foreign: OnForeign = OnForeign.REPORT
    globals: tuple[tuple[str, str], ...] = ()
    max_entries: tuple[tuple[str, int], ...] = ()
    share: tuple[tuple[str, str], ...] = ()
    no_maps: tuple[str, ...] = ()
    maps: MapSharing = MapSharing.PER_INTERFACE
    map_init: tuple[tuple[str, str], ...] = ()
    on_mismatch: OnMismatch = OnMismatch.REFUSE
    keep_maps: tuple[str, ...] = ()

    @property
    def is_filter(self) -> bool:
        """Whether it is a filter on clsact, which has a priority and a handle."""
        return self.hook is not Hook.XDP and self.attach is AttachKind.NETLINK

    @property
    def ladder(self) -> tuple[XdpMode, ...]:
        """The modes of XDP that will do, best first."""
        return self.modes or (self.mode,)

    @property
    def several(self) -> bool:
        """Whether the entry may stand for several attachments, one on each interface that fits."""
        return not self.interface and not self.match.one

    @property
    def exact_name(self) -> str:
        """Return the interface's name where that is what the entry gives, and all; else nothing."""
        only_name = set(self.match.parts) == {"name"} and not is_glob(self.match.name)
        return self.interface or (self.match.name if only_name else "")


@dataclass(frozen=True, slots=True)
class AttachmentFile:
    """What one file says: its attachments that are well-formed, each with its place, and what is wrong."""

    attachments: tuple[tuple[AttachmentConfig, Place], ...] = ()
    problems: tuple[Problem | ConfigError, ...] = ()
    limits: tuple[tuple[str, int], ...] = ()
    protect: tuple[str, ...] = ()


def parse_attachments(raw: bytes, *, source: str) -> tuple[AttachmentConfig, ...]:
    """Return the attachments of one file; raise ConfigError that tells everything wrong with it."""
    return merge_attachments([read_attachment_file(raw, source=source)])


def read_attachment_file(raw: bytes, *, source: str) -> AttachmentFile:
    """Return what one file says, faults included, so that several files can be judged together."""
    try:
        root = parse_yaml(raw, source=source)
    except ConfigError as error:
        return AttachmentFile(problems=(error,))
    if root is None:
        return AttachmentFile()
    validated = validate(root)
    attachments = tuple((_config(model), place) for model, place in validated.entries)
    return AttachmentFile(attachments, validated.problems, tuple(validated.limits.items()), validated.protect)


def attachment_of(node: Node) -> AttachmentConfig:
    """Return one attachment from its tree; raise ConfigError that tells everything wrong with it."""
    validated = validate_entry(node)
    if validated.problems:
        raise config_error(validated.problems)
    return _config(validated.entries[0][0])


def merge_attachments(files: Iterable[AttachmentFile]) -> tuple[AttachmentConfig, ...]:
    """Return the attachments of all files, in order.

    Raises ConfigError with the faults of every file and with those between entries: two of one name, two XDP entries
    on one interface, two tc entries on one interface and hook with equal priority and handle.
    """
    problems: list[Problem | ConfigError] = []
    seen: dict[tuple[str, ...], Place] = {}
    merged: list[AttachmentConfig] = []
    for file in files:
        problems.extend(file.problems)
        for attachment, place in file.attachments:
            for key, message in _claims(attachment):
                first = seen.setdefault(key, place)
                if first is not place:
                    problems.append(Problem(place, f"{message} {first}"))
            merged.append(attachment)
    if problems:
        raise config_error(problems)
    return tuple(merged)


def merge_limits(files: Iterable[AttachmentFile]) -> Limits:
    """Return the limits of all files together; of two that set one, the later counts."""
    return limits_with({name: value for file in files for name, value in file.limits})


def claims_of(attachment: AttachmentConfig) -> frozenset[tuple[str, ...]]:
    """Return what an attachment claims: two that share a claim cannot be wanted at once."""
    return frozenset(key for key, _ in _claims(attachment))


def _claims(attachment: AttachmentConfig) -> Sequence[tuple[tuple[str, ...], str]]:
    """Return what an attachment claims for itself, with the message for whoever claims it again."""
    name, interface = quoted(attachment.name), quoted(attachment.exact_name)
    by_name = (("name", attachment.name), f"attachment {name} is already configured at")
    if not attachment.exact_name:  # what the others claim depends on the interfaces there are
        return (by_name,)
    if attachment.hook is Hook.XDP:
        slot = (("xdp", attachment.exact_name), f"{name}: XDP on interface {interface} is already taken at")
        return by_name, slot
    if not attachment.is_filter:
        return (by_name,)
    numbers = f"priority {attachment.priority} and handle {attachment.handle}"
    key = (attachment.hook.value, attachment.exact_name, numbers)
    return by_name, (key, f"{name}: {attachment.hook} on interface {interface} with {numbers} is already taken at")


def _config(model: AttachmentModel) -> AttachmentConfig:
    is_filter = model.hook is not Hook.XDP and model.attach is AttachKind.NETLINK
    one_mode = model.modes[0] if len(model.modes) == 1 else model.mode
    return AttachmentConfig(
        name=AttachmentName(model.name),
        interface=model.interface,
        match=model.match,
        hook=model.hook,
        object=PurePosixPath(model.object),
        program=model.program,
        mode=one_mode,
        modes=tuple(model.modes) if len(model.modes) > 1 else (),
        attach=model.attach,
        order=model.order,
        priority=model.priority if is_filter else 0,
        handle=model.handle if is_filter else 0,
        protocol=model.protocol,
        classid=model.classid,
        force=model.force,
        allow_gap=model.allow_gap,
        on_foreign=model.on_foreign,
        globals=tuple(sorted(model.globals.items())),
        max_entries=tuple(sorted(model.max_entries.items())),
        share=tuple(sorted(model.share.items())),
        no_maps=tuple(sorted(model.no_maps)),
        maps=model.maps,
        map_init=tuple(sorted(model.map_init.items())),
        on_mismatch=model.on_mismatch,
        keep_maps=tuple(sorted(model.keep_maps)),
    )
