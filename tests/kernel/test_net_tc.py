"""tc filters over rtnetlink on a real veth pair, seen through tc(8)."""

import json
from typing import Any

import pytest

from tests.support.daemon import wait_for
from tests.support.netns import Veth, ip, tc
from tests.support.over_rtnl import over_rtnl
from tests.support.rawbpf import (
    TC_ACT_OK,
    XDP_PASS,
    RawFd,
    RawPrograms,
    counting,
    id_of,
    new_counter,
    read_counter,
    returning,
)
from xdploaderd.errors import AttachError, HookBusyError, NoSuchInterfaceError
from xdploaderd.hooks import Hook
from xdploaderd.info import Interface, TcFilter
from xdploaderd.net.rtnl import Rtnl
from xdploaderd.net.tc import attach_tc, detach_tc, filter_at, filter_name, replace_tc
from xdploaderd.uapi.bpf import ProgType

pytestmark = pytest.mark.kernel
PROGRAMS = RawPrograms()
HOOKS = [Hook.TC_INGRESS, Hook.TC_EGRESS]


def _place(interface: Interface, hook: Hook = Hook.TC_INGRESS, name: str = "") -> TcFilter:
    return filter_at(interface, hook, priority=50, handle=1, name=name)


def _cls(name: str = "ours") -> RawFd:
    return returning(ProgType.SCHED_CLS, TC_ACT_OK, name)


def _shown(veth: Veth, hook: Hook) -> list[dict[str, Any]]:
    entries = json.loads(tc("-j", "filter", "show", "dev", veth.name, hook.removeprefix("tc-")) or "[]")
    return [entry for entry in entries if "handle" in entry.get("options", {})]


@pytest.mark.parametrize("hook", HOOKS)
@over_rtnl
async def test_attached_filter_is_what_tc_shows_and_goes_by_detach(
    rtnl: Rtnl, interface: Interface, veth: Veth, hook: Hook
) -> None:
    with _cls() as prog:
        place = _place(interface, hook, filter_name("fw.o", "tc"))
        found, made = await attach_tc(rtnl, PROGRAMS, place, prog)
        assert made is True
        assert (found.prog_id, found.priority, found.handle) == (id_of(prog), 50, 1)
        assert (found.name, found.direct_action, found.tag) == ("fw.o:[tc]", True, PROGRAMS.prog_info(prog).tag)
        (shown,) = _shown(veth, hook)
        assert (shown["pref"], shown["protocol"], shown["options"]["handle"]) == (50, "all", "0x1")
        assert (shown["options"]["bpf_name"], shown["options"]["direct-action"]) == ("fw.o:[tc]", True)
        assert shown["options"]["prog"]["id"] == id_of(prog)
        assert await detach_tc(rtnl, PROGRAMS, place, expected=id_of(prog)) is True
        assert _shown(veth, hook) == []
        assert await rtnl.qdisc_kind(interface.index) == "clsact"
        assert await detach_tc(rtnl, PROGRAMS, place, expected=id_of(prog), remove_clsact=True) is False
        assert await rtnl.qdisc_kind(interface.index) == ""


@over_rtnl
async def test_packets_of_both_directions_are_counted_apart(rtnl: Rtnl, interface: Interface, veth: Veth) -> None:
    with (
        new_counter() as came,
        new_counter() as went,
        counting(ProgType.SCHED_CLS, TC_ACT_OK, came) as ingress,
        counting(ProgType.SCHED_CLS, TC_ACT_OK, went) as egress,
    ):
        _, first = await attach_tc(rtnl, PROGRAMS, _place(interface, Hook.TC_INGRESS), ingress)
        _, second = await attach_tc(rtnl, PROGRAMS, _place(interface, Hook.TC_EGRESS), egress)
        assert (first, second) == (True, False)
        veth.send_in(20)
        veth.send_out(30)
        wait_for(lambda: (read_counter(came), read_counter(went)) == (20, 30), "every packet is counted once")


@over_rtnl
async def test_replace_swaps_the_program_in_place(rtnl: Rtnl, interface: Interface, veth: Veth) -> None:
    with _cls("old") as old, _cls("new") as new:
        place = _place(interface)
        await attach_tc(rtnl, PROGRAMS, place, old)
        after = await replace_tc(rtnl, PROGRAMS, place, new, expected=id_of(old))
        assert after.prog_id == id_of(new)
        (shown,) = _shown(veth, Hook.TC_INGRESS)
        assert shown["options"]["prog"]["name"] == "new"


@over_rtnl
async def test_taken_place_is_refused_with_id_name_and_kernel_text_and_stays(
    rtnl: Rtnl, interface: Interface, veth: Veth
) -> None:
    with _cls("foreign") as foreign, _cls() as prog:
        place = _place(interface)
        await attach_tc(rtnl, PROGRAMS, place, foreign)
        with pytest.raises(HookBusyError, match="Filter already exists") as caught:
            await attach_tc(rtnl, PROGRAMS, place, prog)
        assert (caught.value.prog_id, caught.value.prog_name) == (id_of(foreign), "foreign")
        with pytest.raises(HookBusyError, match="to be replaced"):
            await replace_tc(rtnl, PROGRAMS, place, prog, expected=id_of(prog))
        with pytest.raises(HookBusyError, match="to be detached"):
            await detach_tc(rtnl, PROGRAMS, place, expected=id_of(prog), remove_clsact=True)
        assert [f.prog_id for f in await rtnl.filters(interface.index, Hook.TC_INGRESS)] == [id_of(foreign)]
        now, made = await attach_tc(rtnl, PROGRAMS, place, prog, force=True)
        assert (now.prog_id, made) == (id_of(prog), False)


@over_rtnl
async def test_replace_of_a_filter_that_is_gone_is_refused(rtnl: Rtnl, interface: Interface, veth: Veth) -> None:
    with _cls() as prog:
        with pytest.raises(AttachError, match="is gone"):
            await replace_tc(rtnl, PROGRAMS, _place(interface), prog, expected=id_of(prog))
        assert await rtnl.qdisc_kind(interface.index) == ""


@over_rtnl
async def test_clsact_with_a_foreign_filter_of_another_kind_is_never_removed(
    rtnl: Rtnl, interface: Interface, veth: Veth
) -> None:
    with _cls() as prog:
        place = _place(interface)
        await attach_tc(rtnl, PROGRAMS, place, prog)
        tc("filter", "add", "dev", veth.name, "egress", "protocol", "ip", "u32", "match", "u32", "0", "0")
        assert await detach_tc(rtnl, PROGRAMS, place, expected=id_of(prog), remove_clsact=True) is True
        assert await rtnl.qdisc_kind(interface.index) == "clsact"
        assert await rtnl.has_filters(interface.index)


@over_rtnl
async def test_other_priorities_and_handles_are_left_alone(rtnl: Rtnl, interface: Interface, veth: Veth) -> None:
    with _cls("one") as one, _cls("two") as two:
        first = filter_at(interface, Hook.TC_INGRESS, priority=10, handle=1)
        second = filter_at(interface, Hook.TC_INGRESS, priority=10, handle=2)
        await attach_tc(rtnl, PROGRAMS, first, one)
        await attach_tc(rtnl, PROGRAMS, second, two)
        assert await detach_tc(rtnl, PROGRAMS, first, expected=id_of(one), remove_clsact=True)
        assert [f.prog_id for f in await rtnl.filters(interface.index, Hook.TC_INGRESS)] == [id_of(two)]


@over_rtnl
async def test_classic_ingress_qdisc_is_refused_by_name_and_stays(rtnl: Rtnl, interface: Interface, veth: Veth) -> None:
    tc("qdisc", "add", "dev", veth.name, "ingress")
    with _cls() as prog:
        with pytest.raises(AttachError, match="qdisc 'ingress' has the place of clsact") as caught:
            await attach_tc(rtnl, PROGRAMS, _place(interface), prog)
        assert caught.value.fields["qdisc"] == "ingress"
        assert await rtnl.qdisc_kind(interface.index) == "ingress"


@over_rtnl
async def test_refused_program_leaves_no_clsact_behind(rtnl: Rtnl, interface: Interface, veth: Veth) -> None:
    with returning(ProgType.XDP, XDP_PASS) as prog:
        with pytest.raises(AttachError) as caught:
            await attach_tc(rtnl, PROGRAMS, _place(interface), prog)
        assert caught.value.fields["errno"] == "EINVAL"
        assert await rtnl.qdisc_kind(interface.index) == ""


@over_rtnl
async def test_clsact_that_was_there_before_survives_a_refused_program(
    rtnl: Rtnl, interface: Interface, veth: Veth
) -> None:
    tc("qdisc", "add", "dev", veth.name, "clsact")
    with returning(ProgType.XDP, XDP_PASS) as prog:
        with pytest.raises(AttachError):
            await attach_tc(rtnl, PROGRAMS, _place(interface), prog)
        assert await rtnl.qdisc_kind(interface.index) == "clsact"


@over_rtnl
async def test_classic_bytecode_in_the_place_has_no_program_id(rtnl: Rtnl, interface: Interface, veth: Veth) -> None:
    tc("qdisc", "add", "dev", veth.name, "clsact")
    place = ["dev", veth.name, "ingress", "pref", "50", "handle", "1"]
    tc("filter", "add", *place, "bpf", "bytecode", "1,6 0 0 0")
    with _cls() as prog:
        with pytest.raises(HookBusyError, match="classic BPF bytecode") as caught:
            await attach_tc(rtnl, PROGRAMS, _place(interface), prog)
        assert caught.value.prog_id == 0


@over_rtnl
async def test_interface_gone_before_attach_and_before_detach(rtnl: Rtnl, interface: Interface, veth: Veth) -> None:
    with _cls() as prog:
        place = _place(interface)
        await attach_tc(rtnl, PROGRAMS, place, prog)
        ip("link", "del", veth.name)
        assert await detach_tc(rtnl, PROGRAMS, place, expected=id_of(prog), remove_clsact=True) is False
        with pytest.raises(NoSuchInterfaceError):
            await attach_tc(rtnl, PROGRAMS, place, prog)


@over_rtnl
async def test_zero_priority_or_handle_is_never_sent(rtnl: Rtnl, interface: Interface, veth: Veth) -> None:
    with _cls() as prog, pytest.raises(ValueError, match="stacks"):
        await rtnl.add_filter(filter_at(interface, Hook.TC_INGRESS, priority=0, handle=1), prog.fileno())
