"""The XDP hook: attach, replace and detach, each only while the expected program is there.

Mirrors dev_xdp_attach() of net/core/dev.c and bpf_xdp_attach() of libbpf's netlink.c. A change of mode or of kind
(netlink, bpf_link) cannot be done without a moment with no program, so it is refused, never begun by a detach.
"""

import errno
from contextlib import nullcontext, suppress
from typing import NoReturn

from xdploaderd.errors import AttachError, HookBusyError, NoSuchInterfaceError, error_context
from xdploaderd.hooks import XdpMode
from xdploaderd.info import Interface
from xdploaderd.net import messages
from xdploaderd.net.door import NOTHING, AnyFd, Netlink, ProgramFd, Programs, describe_prog, prog_name
from xdploaderd.uapi.bpf import Ifindex, ProgId

MODE_FLAGS = {
    XdpMode.NATIVE: messages.XDP_FLAGS_DRV_MODE,
    XdpMode.SKB: messages.XDP_FLAGS_SKB_MODE,
    XdpMode.OFFLOAD: messages.XDP_FLAGS_HW_MODE,
    XdpMode.UNSPECIFIED: 0,
}
_EMPTY_HOOK = "an empty hook"
_EXCLUSIVE = {XdpMode.NATIVE: XdpMode.SKB, XdpMode.SKB: XdpMode.NATIVE}


async def attach_xdp(
    rtnl: Netlink,
    programs: Programs[AnyFd],
    interface: Interface,
    prog: ProgramFd,
    mode: XdpMode,
    *,
    force: bool = False,
) -> Interface:
    """Attach `prog` to an empty hook; with `force` also over the program that is there, in one step.

    Returns the interface as it is afterwards; `prog` stays the caller's. Raises HookBusyError with id and name of the
    program on the hook, NoSuchInterfaceError, AttachError with the kernel's text. Forcing needs CAP_SYS_ADMIN to get
    hold of the foreign program (KernelError without it), and does nothing against a bpf_link or another mode.
    """
    try:
        await rtnl.set_xdp(interface.index, prog.fileno(), MODE_FLAGS[mode], NOTHING)
    except AttachError as error:
        now = await _refresh(rtnl, interface)
        foreign = now.xdp_prog(mode)
        if not force or not foreign or error.errno != errno.EEXIST:
            _raise_busy(programs, now, mode, error, wanted=_EMPTY_HOOK)
        with_foreign = programs.prog_by_id(foreign)
        try:
            return await replace_xdp(rtnl, programs, now, prog, mode, expected=with_foreign)
        finally:
            with_foreign.close()
    return await _changed(rtnl, interface)


async def replace_xdp(
    rtnl: Netlink,
    programs: Programs[AnyFd],
    interface: Interface,
    prog: ProgramFd,
    mode: XdpMode,
    *,
    expected: ProgramFd,
) -> Interface:
    """Put `prog` in the place of `expected`; no packet passes without one of them. Raises as attach_xdp does."""
    try:
        await rtnl.set_xdp(interface.index, prog.fileno(), MODE_FLAGS[mode], expected.fileno())
    except AttachError as error:
        _raise_busy(programs, await _refresh(rtnl, interface), mode, error, wanted="the program to be replaced")
    return await _changed(rtnl, interface)


async def detach_xdp(
    rtnl: Netlink, programs: Programs[AnyFd], interface: Interface, mode: XdpMode, *, expected: ProgramFd
) -> bool:
    """Take `expected` off the hook; False when the hook or the interface is already empty or gone."""
    try:
        await rtnl.set_xdp(interface.index, NOTHING, MODE_FLAGS[mode], expected.fileno())
    except NoSuchInterfaceError:
        return False
    except AttachError as error:
        now = await rtnl.interface_at(interface.index)
        if now is None or (error.errno == errno.EEXIST and not now.xdp):
            return False
        _raise_busy(programs, now, mode, error, wanted="the program to be detached")
    return True


async def driver_text(rtnl: Netlink, index: Ifindex, prog: ProgramFd, mode: XdpMode) -> str:
    """Return why the driver refuses a program on an empty hook, which the kernel does not tell for a bpf_link.

    Should it be taken after all, it is taken off again.
    """
    try:
        await rtnl.set_xdp(index, prog.fileno(), MODE_FLAGS[mode], NOTHING)
    except AttachError as error:
        return error.extack
    with suppress(AttachError):  # somebody was faster, or the interface is gone
        await rtnl.set_xdp(index, NOTHING, MODE_FLAGS[mode], prog.fileno())
    return ""


async def _changed(rtnl: Netlink, interface: Interface) -> Interface:
    """Return the interface after a change, as known before where it cannot be read: the change is made all the same."""
    try:
        return await _refresh(rtnl, interface)
    except NoSuchInterfaceError:
        raise
    except AttachError:
        return interface


async def _refresh(rtnl: Netlink, interface: Interface) -> Interface:
    now = await rtnl.interface_at(interface.index)
    if now is None:
        raise NoSuchInterfaceError(f"interface '{interface.name}' is gone", fields={"interface": interface.name})
    return now


def _raise_busy(
    programs: Programs[AnyFd], now: Interface, mode: XdpMode, error: AttachError, *, wanted: str
) -> NoReturn:
    """Tell the causes of EBUSY and EEXIST apart by what is on the hook; the kernel's own text stays in the message."""
    kernel = f" (kernel: {error.extack})" if error.extack else ""
    slot, prog_id = blocking_slot(now, mode)
    if error.errno not in (errno.EBUSY, errno.EEXIST):
        with error_context(f"{mode} mode") if mode is not XdpMode.UNSPECIFIED else nullcontext():
            raise error
    if prog_id is None:
        text = f"xdp hook of '{now.name}' is empty, wanted {wanted}{kernel}"
        if wanted == _EMPTY_HOOK:  # a device above it, such as a bond, runs one
            text = f"xdp hook of '{now.name}' is refused{kernel}"
        raise AttachError(text, errno=error.errno, extack=error.extack) from error
    name = prog_name(programs, prog_id)
    held = (
        f"a bpf_link with {describe_prog(prog_id, name)}"
        if error.errno == errno.EBUSY
        else describe_prog(prog_id, name)
    )
    text = f"xdp hook of '{now.name}' is held by {held} in {slot} mode, wanted {wanted} in {mode} mode{kernel}"
    raise HookBusyError(text, prog_id=prog_id, prog_name=name, errno=error.errno, extack=error.extack) from error


def blocking_slot(now: Interface, mode: XdpMode) -> tuple[XdpMode, ProgId | None]:
    """Return the slot asked for when it is taken, else that of the mode which cannot run beside it; None: neither."""
    if mode is XdpMode.UNSPECIFIED and now.xdp:
        return now.xdp[0]
    if prog_id := now.xdp_prog(mode):
        return mode, prog_id
    other = _EXCLUSIVE.get(mode, mode)
    return other, now.xdp_prog(other)
