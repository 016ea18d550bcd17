"""tc filters over rtnetlink on a real veth pair, seen through tc(8)."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.netns import Veth, ip, tc
from tests.support.rawbpf import (
    TC_ACT_OK,
    XDP_PASS,
    RawFd,
    RawPrograms,
    counting,
    new_counter,
    read_counter,
    returning,
)
from xdploaderd.errors import AttachError, HookBusyError, NoSuchInterfaceError
from xdploaderd.hooks import Hook
from xdploaderd.info import Interface, TcFilter
from xdploaderd.net.rtnl import Rtnl
from xdploaderd.net.tc import attach_tc, detach_tc, filter_at, filter_name, replace_tc
from xdploaderd.uapi.bpf import ProgId, ProgType

pytestmark = pytest.mark.kernel
PROGRAMS = RawPrograms()
HOOKS = [Hook.TC_INGRESS, Hook.TC_EGRESS]


@asynccontextmanager
async def _door(veth: Veth) -> AsyncIterator[tuple[Rtnl, Interface]]:
    async with await Rtnl.open() as rtnl:
        yield rtnl, await rtnl.interface(veth.name)


def _place(interface: Interface, hook: Hook = Hook.TC_INGRESS, name: str = "") -> TcFilter:
    return filter_at(interface, hook, priority=50, handle=1, name=name)


def _cls(name: str = "ours") -> RawFd:
    return returning(ProgType.SCHED_CLS, TC_ACT_OK, name)


def _id(prog: RawFd) -> ProgId:
    return PROGRAMS.prog_info(prog).id


def _shown(veth: Veth, hook: Hook) -> list[dict[str, Any]]:
    entries = json.loads(tc("-j", "filter", "show", "dev", veth.name, hook.removeprefix("tc-")) or "[]")
    return [entry for entry in entries if "handle" in entry.get("options", {})]


@pytest.mark.parametrize("hook", HOOKS)
def test_attached_filter_is_what_tc_shows_and_goes_by_detach(veth: Veth, hook: Hook) -> None:
    async def main() -> None:
        async with _door(veth) as (rtnl, interface):
            with _cls() as prog:
                place = _place(interface, hook, filter_name("fw.o", "tc"))
                found, made = await attach_tc(rtnl, PROGRAMS, place, prog)
                assert made is True
                assert (found.prog_id, found.priority, found.handle) == (_id(prog), 50, 1)
                assert (found.name, found.direct_action, found.tag) == ("fw.o:[tc]", True, PROGRAMS.prog_info(prog).tag)
                (shown,) = _shown(veth, hook)
                assert (shown["pref"], shown["protocol"], shown["options"]["handle"]) == (50, "all", "0x1")
                assert (shown["options"]["bpf_name"], shown["options"]["direct-action"]) == ("fw.o:[tc]", True)
                assert shown["options"]["prog"]["id"] == _id(prog)
                assert await detach_tc(rtnl, PROGRAMS, place, expected=_id(prog)) is True
                assert _shown(veth, hook) == []
                assert await rtnl.qdisc_kind(interface.index) == "clsact"
                assert await detach_tc(rtnl, PROGRAMS, place, expected=_id(prog), remove_clsact=True) is False
                assert await rtnl.qdisc_kind(interface.index) == ""

    asyncio.run(main())


def test_packets_of_both_directions_are_counted_apart(veth: Veth) -> None:
    async def main() -> None:
        async with _door(veth) as (rtnl, interface):
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
                for _ in range(500):
                    if (read_counter(came), read_counter(went)) == (20, 30):
                        break
                    await asyncio.sleep(0.002)
                assert (read_counter(came), read_counter(went)) == (20, 30)

    asyncio.run(main())


def test_replace_swaps_the_program_in_place(veth: Veth) -> None:
    async def main() -> None:
        async with _door(veth) as (rtnl, interface):
            with _cls("old") as old, _cls("new") as new:
                place = _place(interface)
                await attach_tc(rtnl, PROGRAMS, place, old)
                after = await replace_tc(rtnl, PROGRAMS, place, new, expected=_id(old))
                assert after.prog_id == _id(new)
                (shown,) = _shown(veth, Hook.TC_INGRESS)
                assert shown["options"]["prog"]["name"] == "new"

    asyncio.run(main())


def test_taken_place_is_refused_with_id_name_and_kernel_text_and_stays(veth: Veth) -> None:
    async def main() -> None:
        async with _door(veth) as (rtnl, interface):
            with _cls("foreign") as foreign, _cls() as prog:
                place = _place(interface)
                await attach_tc(rtnl, PROGRAMS, place, foreign)
                with pytest.raises(HookBusyError, match="Filter already exists") as caught:
                    await attach_tc(rtnl, PROGRAMS, place, prog)
                assert (caught.value.prog_id, caught.value.prog_name) == (_id(foreign), "foreign")
                with pytest.raises(HookBusyError, match="to be replaced"):
                    await replace_tc(rtnl, PROGRAMS, place, prog, expected=_id(prog))
                with pytest.raises(HookBusyError, match="to be detached"):
                    await detach_tc(rtnl, PROGRAMS, place, expected=_id(prog), remove_clsact=True)
                assert [f.prog_id for f in await rtnl.filters(interface.index, Hook.TC_INGRESS)] == [_id(foreign)]
                now, made = await attach_tc(rtnl, PROGRAMS, place, prog, force=True)
                assert (now.prog_id, made) == (_id(prog), False)

    asyncio.run(main())


def test_replace_of_a_filter_that_is_gone_is_refused(veth: Veth) -> None:
    async def main() -> None:
        async with _door(veth) as (rtnl, interface):
            with _cls() as prog:
                with pytest.raises(AttachError, match="is gone"):
                    await replace_tc(rtnl, PROGRAMS, _place(interface), prog, expected=_id(prog))
                assert await rtnl.qdisc_kind(interface.index) == ""

    asyncio.run(main())


def test_clsact_with_a_foreign_filter_of_another_kind_is_never_removed(veth: Veth) -> None:
    async def main() -> None:
        async with _door(veth) as (rtnl, interface):
            with _cls() as prog:
                place = _place(interface)
                await attach_tc(rtnl, PROGRAMS, place, prog)
                tc("filter", "add", "dev", veth.name, "egress", "protocol", "ip", "u32", "match", "u32", "0", "0")
                assert await detach_tc(rtnl, PROGRAMS, place, expected=_id(prog), remove_clsact=True) is True
                assert await rtnl.qdisc_kind(interface.index) == "clsact"
                assert await rtnl.has_filters(interface.index)

    asyncio.run(main())


def test_other_priorities_and_handles_are_left_alone(veth: Veth) -> None:
    async def main() -> None:
        async with _door(veth) as (rtnl, interface):
            with _cls("one") as one, _cls("two") as two:
                first = filter_at(interface, Hook.TC_INGRESS, priority=10, handle=1)
                second = filter_at(interface, Hook.TC_INGRESS, priority=10, handle=2)
                await attach_tc(rtnl, PROGRAMS, first, one)
                await attach_tc(rtnl, PROGRAMS, second, two)
                assert await detach_tc(rtnl, PROGRAMS, first, expected=_id(one), remove_clsact=True)
                assert [f.prog_id for f in await rtnl.filters(interface.index, Hook.TC_INGRESS)] == [_id(two)]

    asyncio.run(main())


def test_classic_ingress_qdisc_is_refused_by_name_and_stays(veth: Veth) -> None:
    async def main() -> None:
        async with _door(veth) as (rtnl, interface):
            tc("qdisc", "add", "dev", veth.name, "ingress")
            with _cls() as prog:
                with pytest.raises(AttachError, match="qdisc 'ingress' has the place of clsact") as caught:
                    await attach_tc(rtnl, PROGRAMS, _place(interface), prog)
                assert caught.value.fields["qdisc"] == "ingress"
                assert await rtnl.qdisc_kind(interface.index) == "ingress"

    asyncio.run(main())


def test_refused_program_leaves_no_clsact_behind(veth: Veth) -> None:
    async def main() -> None:
        async with _door(veth) as (rtnl, interface):
            with returning(ProgType.XDP, XDP_PASS) as prog:
                with pytest.raises(AttachError) as caught:
                    await attach_tc(rtnl, PROGRAMS, _place(interface), prog)
                assert caught.value.fields["errno"] == "EINVAL"
                assert await rtnl.qdisc_kind(interface.index) == ""

    asyncio.run(main())


def test_clsact_that_was_there_before_survives_a_refused_program(veth: Veth) -> None:
    async def main() -> None:
        async with _door(veth) as (rtnl, interface):
            tc("qdisc", "add", "dev", veth.name, "clsact")
            with returning(ProgType.XDP, XDP_PASS) as prog:
                with pytest.raises(AttachError):
                    await attach_tc(rtnl, PROGRAMS, _place(interface), prog)
                assert await rtnl.qdisc_kind(interface.index) == "clsact"

    asyncio.run(main())


def test_classic_bytecode_in_the_place_has_no_program_id(veth: Veth) -> None:
    async def main() -> None:
        async with _door(veth) as (rtnl, interface):
            tc("qdisc", "add", "dev", veth.name, "clsact")
            place = ["dev", veth.name, "ingress", "pref", "50", "handle", "1"]
            tc("filter", "add", *place, "bpf", "bytecode", "1,6 0 0 0")
            with _cls() as prog:
                with pytest.raises(HookBusyError, match="classic BPF bytecode") as caught:
                    await attach_tc(rtnl, PROGRAMS, _place(interface), prog)
                assert caught.value.prog_id == 0

    asyncio.run(main())


def test_interface_gone_before_attach_and_before_detach(veth: Veth) -> None:
    async def main() -> None:
        async with _door(veth) as (rtnl, interface):
            with _cls() as prog:
                place = _place(interface)
                await attach_tc(rtnl, PROGRAMS, place, prog)
                ip("link", "del", veth.name)
                assert await detach_tc(rtnl, PROGRAMS, place, expected=_id(prog), remove_clsact=True) is False
                with pytest.raises(NoSuchInterfaceError):
                    await attach_tc(rtnl, PROGRAMS, place, prog)

    asyncio.run(main())


def test_zero_priority_or_handle_is_never_sent(veth: Veth) -> None:
    async def main() -> None:
        async with _door(veth) as (rtnl, interface):
            with _cls() as prog, pytest.raises(ValueError, match="stacks"):
                await rtnl.add_filter(filter_at(interface, Hook.TC_INGRESS, priority=0, handle=1), prog.fileno())

    asyncio.run(main())
