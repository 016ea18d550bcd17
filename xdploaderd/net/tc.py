"""The tc hooks: a direct-action cls_bpf filter on clsact, at an explicit priority and handle.

Mirrors bpf_tc_hook_create(), bpf_tc_attach() and bpf_tc_detach() of libbpf's netlink.c. The kernel has no compare and
swap here, so the program id is read before a change and after it; what happens in between is told, not prevented.
"""

import errno
from contextlib import suppress
from dataclasses import replace
from typing import NoReturn

from xdploaderd.errors import AttachError, HookBusyError, error_context
from xdploaderd.hooks import ETH_P_ALL, Hook
from xdploaderd.info import Interface, TcFilter
from xdploaderd.net.door import AnyFd, Netlink, Programs, describe_prog, prog_name
from xdploaderd.uapi.bpf import Ifindex, ProgId

_TIDY_TRIES = 2
_NAME_BYTES = 255  # CLS_BPF_NAME_LEN of net/sched/cls_bpf.c, without the final NUL


def filter_name(object_name: str, section: str) -> str:
    """Return the name that other tools show for a filter: OBJECT:[SECTION], as tc(8) makes it."""
    return f"{object_name}:[{section}]".encode()[:_NAME_BYTES].decode(errors="ignore")


def filter_at(
    interface: Interface, hook: Hook, *, priority: int, handle: int, protocol: int = ETH_P_ALL, name: str = ""
) -> TcFilter:
    """Return the place of a filter, by default one for all protocols."""
    return TcFilter(
        ifindex=interface.index,
        hook=hook,
        priority=priority,
        handle=handle,
        protocol=protocol,
        prog_id=None,
        name=name,
        direct_action=True,
    )


async def attach_tc(
    rtnl: Netlink, programs: Programs[AnyFd], place: TcFilter, prog: AnyFd, *, force: bool = False
) -> tuple[TcFilter, bool]:
    """Make the filter `place` (of filter_at) with `prog`, and clsact where it is missing.

    Returns the filter as observed, and whether clsact was made; `prog` stays the caller's. Raises HookBusyError when
    the place is taken and not `force`, NoSuchInterfaceError, AttachError with the kernel's text.
    """
    with error_context(str(place.hook)):
        prog_id = programs.prog_info(prog).id
        made = await rtnl.ensure_clsact(place.ifindex)
        try:
            await rtnl.add_filter(place, prog.fileno())
        except AttachError as error:
            taken = await _find(rtnl, place)
            if taken is not None and force:
                return await _swap(rtnl, programs, place, prog), made
            if made:
                with suppress(AttachError):  # the first error is the one to tell
                    await remove_empty_clsact(rtnl, place.ifindex)
            if taken is None or error.errno != errno.EEXIST:
                raise
            _raise_busy(programs, taken, wanted="a free place", extack=error.extack)
        return await _confirm(rtnl, programs, place, prog_id), made


async def replace_tc(
    rtnl: Netlink, programs: Programs[AnyFd], place: TcFilter, prog: AnyFd, *, expected: ProgId
) -> TcFilter:
    """Put `prog` into the filter that holds program `expected`; no packet passes without one of them.

    Raises as attach_tc does; HookBusyError also when somebody else's program was there before or came in between.
    """
    with error_context(str(place.hook)):
        before = await _find(rtnl, place)
        if before is None:
            raise AttachError(f"{_words(place)} is gone, wanted prog {expected} to be replaced")
        if before.prog_id != expected:
            _raise_busy(programs, before, wanted=f"prog {expected} to be replaced")
        return await _swap(rtnl, programs, place, prog)


async def detach_tc(
    rtnl: Netlink, programs: Programs[AnyFd], place: TcFilter, *, expected: ProgId, remove_clsact: bool = False
) -> bool:
    """Remove the filter that holds program `expected`; False when it or its interface is already gone.

    `remove_clsact` is for the caller that made clsact (attach_tc told it): it goes too, when no filter of any kind is
    left in either direction. Raises HookBusyError when somebody else's program is in the place.
    """
    with error_context(str(place.hook)):
        before = await _find(rtnl, place)
        if before is not None and before.prog_id != expected:
            _raise_busy(programs, before, wanted=f"prog {expected} to be detached")
        if before is not None:
            await rtnl.delete_filter(place)
        if remove_clsact:
            await _tidy_up(rtnl, place)
        return before is not None


async def _tidy_up(rtnl: Netlink, place: TcFilter) -> None:
    """Remove an empty clsact, in a second try where it must be; the filter is off, so a failure is none of that."""
    for _ in range(_TIDY_TRIES):
        with suppress(AttachError):
            await remove_empty_clsact(rtnl, place.ifindex)
            return


async def remove_empty_clsact(rtnl: Netlink, index: Ifindex) -> None:
    """Remove clsact from an interface unless a filter of any kind is on it."""
    if not await rtnl.has_filters(index) and await rtnl.qdisc_kind(index) == "clsact":
        await rtnl.delete_clsact(index)


async def _swap(rtnl: Netlink, programs: Programs[AnyFd], place: TcFilter, prog: AnyFd) -> TcFilter:
    prog_id = programs.prog_info(prog).id
    await rtnl.replace_filter(place, prog.fileno())
    return await _confirm(rtnl, programs, place, prog_id)


async def _confirm(rtnl: Netlink, programs: Programs[AnyFd], place: TcFilter, prog_id: ProgId) -> TcFilter:
    """Return the filter as it is after a change; as it was set where it cannot be read: the change is made."""
    try:
        after = await _find(rtnl, place)
    except AttachError:
        return replace(place, prog_id=prog_id)
    if after is None:
        raise AttachError(f"{_words(place)} was removed by somebody else right after it was set")
    if after.prog_id != prog_id:
        _raise_busy(programs, after, wanted="the program just set")
    return after


async def _find(rtnl: Netlink, place: TcFilter) -> TcFilter | None:
    for found in await rtnl.filters(place.ifindex, place.hook):
        if (found.priority, found.handle) == (place.priority, place.handle):
            return replace(found, ifindex=place.ifindex)
    return None


def _words(place: TcFilter) -> str:
    return f"filter with priority {place.priority} handle {place.handle:#x}"


def _raise_busy(programs: Programs[AnyFd], found: TcFilter, *, wanted: str, extack: str = "") -> NoReturn:
    name = prog_name(programs, found.prog_id)
    kernel = f" (kernel: {extack})" if extack else ""
    text = f"{_words(found)} holds {describe_prog(found.prog_id, name)}, wanted {wanted}{kernel}"
    raise HookBusyError(
        text, prog_id=found.prog_id or 0, prog_name=name, errno=errno.EEXIST if extack else 0, extack=extack
    )
