"""XDP over rtnetlink on a real veth pair."""

import asyncio

import pytest

from tests.support.daemon import wait_for
from tests.support.netns import Veth, ip
from tests.support.old_kernel import fails_before
from tests.support.over_rtnl import over_rtnl
from tests.support.rawbpf import (
    XDP_DROP,
    XDP_PASS,
    RawFd,
    RawPrograms,
    counting,
    id_of,
    new_counter,
    read_counter,
    returning,
    xdp_link,
)
from xdploaderd.errors import AttachError, HookBusyError, KernelError, NoSuchInterfaceError
from xdploaderd.hooks import XdpMode
from xdploaderd.info import Interface
from xdploaderd.net.door import NOTHING
from xdploaderd.net.messages import XDP_FLAGS_DRV_MODE
from xdploaderd.net.rtnl import Rtnl
from xdploaderd.net.xdp import attach_xdp, detach_xdp, replace_xdp
from xdploaderd.uapi.bpf import Ifindex, ProgId, ProgType

pytestmark = pytest.mark.kernel
PROGRAMS = RawPrograms()


def _xdp(name: str = "ours") -> RawFd:
    return returning(ProgType.XDP, XDP_PASS, name)


@pytest.mark.parametrize("mode", [XdpMode.NATIVE, XdpMode.SKB, XdpMode.UNSPECIFIED])
@over_rtnl
async def test_attached_program_is_in_the_slot_of_its_mode_and_goes_by_detach(
    rtnl: Rtnl, interface: Interface, veth: Veth, mode: XdpMode
) -> None:
    with _xdp() as prog:
        now = await attach_xdp(rtnl, PROGRAMS, interface, prog, mode)
        slot = XdpMode.SKB if mode is XdpMode.SKB else XdpMode.NATIVE  # veth is native where unspecified
        assert now.xdp == ((slot, id_of(prog)),)
        assert f"prog/xdp id {id_of(prog)}" in ip("link", "show", veth.name)
        assert await detach_xdp(rtnl, PROGRAMS, interface, mode, expected=prog) is True
        assert "prog/xdp" not in ip("link", "show", veth.name)
        assert await detach_xdp(rtnl, PROGRAMS, interface, mode, expected=prog) is False


@over_rtnl
async def test_every_packet_of_the_peer_is_counted_across_a_replace(
    rtnl: Rtnl, interface: Interface, veth: Veth
) -> None:
    with (
        new_counter() as one,
        new_counter() as two,
        counting(ProgType.XDP, XDP_DROP, one) as old,
        counting(ProgType.XDP, XDP_PASS, two) as new,
    ):
        await attach_xdp(rtnl, PROGRAMS, interface, old, XdpMode.NATIVE)
        veth.send_in(20)
        wait_for(lambda: read_counter(one) == 20, "every packet is counted")
        now = await replace_xdp(rtnl, PROGRAMS, interface, new, XdpMode.NATIVE, expected=old)
        assert now.xdp == ((XdpMode.NATIVE, id_of(new)),)
        veth.send_in(30)
        wait_for(lambda: read_counter(two) == 30, "every packet is counted")
        assert read_counter(one) == 20
        await detach_xdp(rtnl, PROGRAMS, interface, XdpMode.NATIVE, expected=new)


@over_rtnl
async def test_foreign_program_is_refused_with_id_name_and_kernel_text_and_stays(
    rtnl: Rtnl, interface: Interface, veth: Veth
) -> None:
    with _xdp("foreign") as foreign, _xdp() as prog:
        await rtnl.set_xdp(interface.index, foreign.fileno(), XDP_FLAGS_DRV_MODE, NOTHING)
        with pytest.raises(HookBusyError) as caught:
            await attach_xdp(rtnl, PROGRAMS, interface, prog, XdpMode.NATIVE)
        assert (caught.value.prog_id, caught.value.prog_name) == (id_of(foreign), "foreign")
        assert caught.value.fields["errno"] == "EEXIST"
        assert "Active program does not match expected" in str(caught.value)
        assert (await rtnl.interface(veth.name)).xdp_prog(XdpMode.NATIVE) == id_of(foreign)


@over_rtnl
async def test_force_puts_our_program_over_a_foreign_one(rtnl: Rtnl, interface: Interface, veth: Veth) -> None:
    with _xdp("foreign") as foreign, _xdp() as prog:
        await rtnl.set_xdp(interface.index, foreign.fileno(), XDP_FLAGS_DRV_MODE, NOTHING)
        now = await attach_xdp(rtnl, PROGRAMS, interface, prog, XdpMode.NATIVE, force=True)
        assert now.xdp_prog(XdpMode.NATIVE) == id_of(prog)


@over_rtnl
async def test_replace_and_detach_refuse_when_another_program_came_in(
    rtnl: Rtnl, interface: Interface, veth: Veth
) -> None:
    with _xdp("old") as old, _xdp("new") as new, _xdp("foreign") as foreign:
        await rtnl.set_xdp(interface.index, foreign.fileno(), XDP_FLAGS_DRV_MODE, NOTHING)
        with pytest.raises(HookBusyError, match="the program to be replaced"):
            await replace_xdp(rtnl, PROGRAMS, interface, new, XdpMode.NATIVE, expected=old)
        with pytest.raises(HookBusyError, match="the program to be detached"):
            await detach_xdp(rtnl, PROGRAMS, interface, XdpMode.NATIVE, expected=old)
        assert (await rtnl.interface(veth.name)).xdp_prog(XdpMode.NATIVE) == id_of(foreign)


@over_rtnl
async def test_replace_on_an_emptied_hook_is_refused_and_leaves_it_empty(
    rtnl: Rtnl, interface: Interface, veth: Veth
) -> None:
    with _xdp("old") as old, _xdp("new") as new:
        with pytest.raises(AttachError, match="is empty") as caught:
            await replace_xdp(rtnl, PROGRAMS, interface, new, XdpMode.NATIVE, expected=old)
        assert not isinstance(caught.value, HookBusyError)
        assert (await rtnl.interface(veth.name)).xdp == ()


@pytest.mark.parametrize("force", [False, True])
@over_rtnl
async def test_other_mode_is_refused_even_by_force_since_it_needs_a_detach(
    rtnl: Rtnl, interface: Interface, veth: Veth, force: bool
) -> None:
    with _xdp("generic") as generic, _xdp() as prog:
        await attach_xdp(rtnl, PROGRAMS, interface, generic, XdpMode.SKB)
        with pytest.raises(HookBusyError, match="in skb mode, wanted an empty hook in native mode") as caught:
            await attach_xdp(rtnl, PROGRAMS, interface, prog, XdpMode.NATIVE, force=force)
        assert "Native and generic XDP can't be active at the same time" in str(caught.value)
        assert (await rtnl.interface(veth.name)).xdp == ((XdpMode.SKB, id_of(generic)),)


@over_rtnl
async def test_bpf_link_on_the_hook_is_told_as_such(rtnl: Rtnl, interface: Interface, veth: Veth) -> None:
    with _xdp("linked") as linked, _xdp() as prog, xdp_link(linked, interface.index):
        for force in (False, True):
            with pytest.raises(HookBusyError, match=r"a bpf_link with prog \d+ 'linked'") as caught:
                await attach_xdp(rtnl, PROGRAMS, interface, prog, XdpMode.NATIVE, force=force)
            assert caught.value.fields["errno"] == "EBUSY"
        with pytest.raises(HookBusyError, match="bpf_link"):
            await detach_xdp(rtnl, PROGRAMS, interface, XdpMode.NATIVE, expected=linked)


@over_rtnl
async def test_name_of_a_foreign_program_may_be_out_of_sight(rtnl: Rtnl, interface: Interface, veth: Veth) -> None:
    class Blind(RawPrograms):
        def prog_by_id(self, prog_id: ProgId, /) -> RawFd:
            raise KernelError("not permitted", operation="BPF_PROG_GET_FD_BY_ID", errno=1)

    with _xdp("foreign") as foreign, _xdp() as prog:
        await attach_xdp(rtnl, PROGRAMS, interface, foreign, XdpMode.NATIVE)
        with pytest.raises(HookBusyError) as caught:
            await attach_xdp(rtnl, Blind(), interface, prog, XdpMode.NATIVE)
        assert (caught.value.prog_id, caught.value.prog_name) == (id_of(foreign), "")
        with pytest.raises(KernelError):
            await attach_xdp(rtnl, Blind(), interface, prog, XdpMode.NATIVE, force=True)


@over_rtnl
async def test_interface_gone_before_and_after_attach(rtnl: Rtnl, interface: Interface, veth: Veth) -> None:
    with _xdp() as prog:
        await attach_xdp(rtnl, PROGRAMS, interface, prog, XdpMode.NATIVE)
        ip("link", "del", veth.name)
        assert await rtnl.interface_at(interface.index) is None
        with pytest.raises(NoSuchInterfaceError):
            await attach_xdp(rtnl, PROGRAMS, interface, prog, XdpMode.NATIVE)
        with pytest.raises(NoSuchInterfaceError):
            await replace_xdp(rtnl, PROGRAMS, interface, prog, XdpMode.NATIVE, expected=prog)
        assert await detach_xdp(rtnl, PROGRAMS, interface, XdpMode.NATIVE, expected=prog) is False


@over_rtnl
async def test_offload_of_a_program_not_loaded_for_the_device_is_refused(
    rtnl: Rtnl, interface: Interface, veth: Veth
) -> None:
    with _xdp() as prog:
        with pytest.raises(AttachError) as caught:
            await attach_xdp(rtnl, PROGRAMS, interface, prog, XdpMode.OFFLOAD)
        assert caught.value.fields["errno"] == "EINVAL"
        assert str(caught.value).startswith("offload mode: ")
        assert (await rtnl.interface(veth.name)).xdp == ()


@over_rtnl
async def test_program_of_another_type_is_refused(rtnl: Rtnl, interface: Interface, veth: Veth) -> None:
    with returning(ProgType.SCHED_CLS, 0) as prog:
        with pytest.raises(AttachError) as caught:
            await attach_xdp(rtnl, PROGRAMS, interface, prog, XdpMode.NATIVE)
        assert caught.value.fields["errno"] == "EINVAL"


@over_rtnl
async def test_replace_flag_is_sent_for_a_wrong_expected_program(rtnl: Rtnl, interface: Interface, veth: Veth) -> None:
    # Without XDP_FLAGS_REPLACE the kernel would ignore the expected program and attach.
    with _xdp("a") as a, _xdp("b") as b:
        with pytest.raises(AttachError) as caught:
            await rtnl.set_xdp(interface.index, a.fileno(), XDP_FLAGS_DRV_MODE, b.fileno())
        assert caught.value.fields["errno"] == "EEXIST"
        assert caught.value.extack == "Active program does not match expected"


@pytest.mark.usefixtures("_no_kernel_leak")
def test_unknown_index_is_no_such_interface() -> None:
    async def main() -> None:
        async with await Rtnl.open() as rtnl:
            with pytest.raises(NoSuchInterfaceError):
                await rtnl.set_xdp(Ifindex(99999), NOTHING, 0, NOTHING)

    asyncio.run(main())


@fails_before("5.15", "programs on devices above others are looked for")
@over_rtnl
async def test_device_below_one_with_a_program_is_refused_in_the_kernels_words(
    rtnl: Rtnl, interface: Interface, veth: Veth
) -> None:
    ip("link", "add", "br0", "type", "bridge")
    try:
        ip("link", "set", veth.name, "master", "br0")
        bridge = await rtnl.interface("br0")
        with _xdp() as prog, _xdp("second") as second:
            await attach_xdp(rtnl, PROGRAMS, bridge, prog, XdpMode.SKB)
            with pytest.raises(AttachError, match="Cannot attach when an upper device already has a program"):
                await attach_xdp(rtnl, PROGRAMS, interface, second, XdpMode.NATIVE)
    finally:
        ip("link", "del", "br0")
