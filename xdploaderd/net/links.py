"""Hooks by bpf_link: the XDP hook and TCX, where other tools cannot displace a program by accident.

Mirrors bpf_xdp_link_attach() of net/core/dev.c, kernel/bpf/tcx.c and mprog.c. A link is found again by its pin; whoever
calls makes that pin, and until then closing the descriptor detaches.
"""

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

from xdploaderd.errors import (
    AttachError,
    FeatureMissingError,
    HookBusyError,
    KernelError,
    LinkChangedError,
    LinkGoneError,
    LoaderError,
    NoSuchInterfaceError,
    StaleOrderError,
)
from xdploaderd.hooks import Hook, Where, XdpMode
from xdploaderd.info import Chain, Interface
from xdploaderd.kernel.bpf import BPF_F_AFTER, BPF_F_BEFORE, BPF_F_ID, Answer, Bpf
from xdploaderd.kernel.probes import probe
from xdploaderd.kernel.syscall import Fd
from xdploaderd.net.door import Netlink, describe_prog, prog_name
from xdploaderd.net.xdp import MODE_FLAGS, blocking_slot, driver_text
from xdploaderd.uapi.bpf import AttachType, Feature, Ifindex, ProgId

ATTACH_TYPES: Final[Mapping[Hook, AttachType]] = {
    Hook.XDP: AttachType.XDP,
    Hook.TC_INGRESS: AttachType.TCX_INGRESS,
    Hook.TC_EGRESS: AttachType.TCX_EGRESS,
}
ORDER_TRIES: Final = 8  # each after a fresh look: others would have to change the hook between two of our system calls
_CHANGED = frozenset({errno.ESTALE, errno.ENOENT, errno.ESRCH})  # of the hook since the look; what we go by is gone


@dataclass(frozen=True, slots=True)
class Order:
    """Where among the programs of a TCX hook: empty, first, last, before:NAME or after:NAME.

    `find` tells which program of the hook NAME is. Where it is none, `before` becomes the first and `after` the last.
    """

    text: str
    find: Callable[[str, Chain], ProgId | None]


async def attach_xdp_link(rtnl: Netlink, bpf: Bpf, interface: Interface, prog: Fd, mode: XdpMode) -> Fd:
    """Attach `prog` to an empty XDP hook and return the link, which the caller pins; `prog` stays the caller's.

    Raises HookBusyError with id and name of the program on the hook, NoSuchInterfaceError, FeatureMissingError,
    AttachError with the driver's text, which the kernel tells over netlink only.
    """
    try:
        return bpf.link_create(prog, interface.index, AttachType.XDP, MODE_FLAGS[mode])
    except KernelError as error:
        now = await rtnl.interface_at(interface.index)
        if now is None:
            _raise_gone(interface, error)
        if error.errno in (errno.EBUSY, errno.EEXIST):
            _raise_busy(bpf, now, mode, error)
        if error.errno == errno.EINVAL and probe(bpf, Feature.XDP_LINK) is Answer.NO:
            _raise_missing(error)
        text = await driver_text(rtnl, interface.index, prog, mode)
        message = f"link to xdp of '{interface.name}' in {mode} mode refused: {text or error.message}"
        raise AttachError(message, errno=error.errno, extack=text) from error


async def attach_tcx_link(rtnl: Netlink, bpf: Bpf, interface: Interface, hook: Hook, prog: Fd, order: Order) -> Fd:
    """Attach `prog` to a TCX hook, in its place among the others, and return the link; `prog` stays the caller's.

    Raises StaleOrderError when others changed the hook each time, HookBusyError where the very program is on it,
    NoSuchInterfaceError, FeatureMissingError, AttachError.
    """
    attach_type = ATTACH_TYPES[hook]
    for _ in range(ORDER_TRIES):
        try:
            chain = bpf.chain(interface.index, attach_type) if order.text else Chain()
            flags, relative = _flags_of(order, chain)
            return bpf.link_create(
                prog, interface.index, attach_type, flags, relative=relative, revision=chain.revision
            )
        except KernelError as error:
            if error.errno in _CHANGED:
                continue
            await _raise_tcx(rtnl, bpf, interface, hook, error)
    text = f"{hook} of '{interface.name}' was changed by others {ORDER_TRIES} times while the link was to be put in"
    raise StaleOrderError(text, errno=errno.ESTALE)


def update_link(bpf: Bpf, link: Fd, prog: Fd, *, expected: Fd, place: str) -> None:
    """Put `prog` behind a link in the place of `expected`; no packet passes without one of them.

    Raises LinkChangedError, LinkGoneError, AttachError; then the link is as it was.
    """
    try:
        bpf.link_update(link, prog, expected=expected)
    except KernelError as error:
        if error.errno == errno.ENOLINK:
            raise LinkGoneError(f"the link to {place} is dead", errno=error.errno) from error
        if error.errno == errno.EPERM:
            check_program(bpf, link, expected, place=place)
        raise AttachError(f"the link to {place} is not updated: {error.message}", errno=error.errno) from error


def detach_link(bpf: Bpf, link: Fd, *, expected: Fd, place: str) -> None:
    """Take a program off its hook, whoever else holds the link. Raises LinkChangedError, AttachError."""
    check_program(bpf, link, expected, place=place)
    try:
        bpf.link_detach(link)
    except KernelError as error:
        if error.errno != errno.ENOLINK:
            raise AttachError(f"the link to {place} is not detached: {error.message}", errno=error.errno) from error


def check_program(bpf: Bpf, link: Fd, expected: Fd, *, place: str) -> None:
    """Raise LinkChangedError when another program than `expected` is behind the link."""
    try:
        found, wanted = bpf.link_info(link).prog_id, bpf.prog_info(expected).id
    except KernelError as error:
        raise AttachError(f"the link to {place} cannot be looked at: {error.message}", errno=error.errno) from error
    if found and found != wanted:
        held = describe_prog(found, prog_name(bpf, found))
        fields = {"prog_id": found}
        raise LinkChangedError(
            f"the link to {place} holds {held}, wanted prog {wanted}", errno=errno.EPERM, fields=fields
        )


def chain_of(bpf: Bpf, index: Ifindex, hook: Hook) -> Chain:
    """Return the programs of a TCX hook; none where the kernel has no TCX, or the interface is gone."""
    try:
        return bpf.chain(index, ATTACH_TYPES[hook])
    except KernelError:
        return Chain()


def _flags_of(order: Order, chain: Chain) -> tuple[int, int]:
    where, _, name = order.text.partition(":")
    found = order.find(name, chain) if name else None
    relative = found if found in chain.progs else None
    by_id = BPF_F_ID if relative else 0
    match where:
        case Where.FIRST | Where.BEFORE:
            return BPF_F_BEFORE | by_id, relative or 0
        case Where.LAST | Where.AFTER:
            return BPF_F_AFTER | by_id, relative or 0
        case _:
            return 0, 0


async def _raise_tcx(rtnl: Netlink, bpf: Bpf, interface: Interface, hook: Hook, error: KernelError) -> NoReturn:
    if await rtnl.interface_at(interface.index) is None:
        _raise_gone(interface, error)
    if error.errno == errno.EINVAL and probe(bpf, Feature.TCX) is Answer.NO:
        text = "this kernel has no TCX, which Linux 6.6 brought: `attach: netlink` makes a filter on clsact instead"
        raise FeatureMissingError(text, feature=Feature.TCX, since="6.6") from error
    if error.errno == errno.EEXIST:
        text = f"the very program is on {hook} of '{interface.name}' already"
        raise HookBusyError(text, prog_id=0, prog_name="", errno=error.errno) from error
    raise AttachError(f"link to {hook} of '{interface.name}' refused: {error.message}", errno=error.errno) from error


def _raise_missing(error: LoaderError) -> NoReturn:
    text = "this kernel has no bpf_link for XDP, which Linux 5.9 brought: `attach: netlink` does without"
    raise FeatureMissingError(text, feature=Feature.XDP_LINK, since="5.9") from error


def _raise_gone(interface: Interface, error: KernelError) -> NoReturn:
    text = f"interface '{interface.name}' is gone"
    raise NoSuchInterfaceError(text, errno=error.errno, fields={"interface": interface.name}) from error


def _raise_busy(bpf: Bpf, now: Interface, mode: XdpMode, error: KernelError) -> NoReturn:
    slot, prog_id = blocking_slot(now, mode)
    if prog_id is None:  # a device above it, such as a bond, runs one
        raise AttachError(f"link to xdp of '{now.name}' refused: {error.message}", errno=error.errno) from error
    name = prog_name(bpf, prog_id)
    held = f"held by {describe_prog(prog_id, name)} in {slot} mode"
    text = f"xdp hook of '{now.name}' is {held}, wanted an empty hook for a link in {mode} mode"
    raise HookBusyError(text, prog_id=prog_id, prog_name=name, errno=error.errno) from error
