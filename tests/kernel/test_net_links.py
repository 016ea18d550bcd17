"""Item 85 of the standard loader's list, as the daemon meets it: each refusal of a link is an error of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

import pytest

from tests.builders.prepared import Pins, prepared, prog
from tests.support.netns import Veth, ip
from xdploaderd.errors import HookBusyError, LinkChangedError, LinkGoneError, NoSuchInterfaceError, StaleOrderError
from xdploaderd.hooks import Hook, XdpMode
from xdploaderd.info import Chain, Interface
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.syscall import Fd
from xdploaderd.load.object import load
from xdploaderd.net.links import Order, attach_tcx_link, attach_xdp_link, detach_link, update_link
from xdploaderd.net.rtnl import Rtnl
from xdploaderd.uapi.bpf import AttachType, Ifindex, ProgId, ProgType

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("pins_go")]
T = TypeVar("T")


def with_rtnl(work: Callable[[Rtnl, Interface], Awaitable[T]]) -> T:
    async def run() -> T:
        async with await Rtnl.open() as rtnl:
            return await work(rtnl, await rtnl.interface("veth0"))

    return asyncio.run(run())


def xdp(bpf: Bpf, program: Fd) -> Fd:
    return with_rtnl(lambda rtnl, veth0: attach_xdp_link(rtnl, bpf, veth0, program, XdpMode.NATIVE))


def tcx(bpf: Bpf, program: Fd, order: str = "") -> Fd:
    def find(name: str, _chain: Chain) -> ProgId:
        return ProgId(int(name))

    return with_rtnl(
        lambda rtnl, veth0: attach_tcx_link(rtnl, bpf, veth0, Hook.TC_INGRESS, program, Order(order, find))
    )


def test_xdp_refusals_are_told_apart(veth: Veth) -> None:
    bpf = Bpf()
    with load(prepared([prog("one"), prog("two"), prog("three")]), bpf, Pins()) as loaded:
        one, two, three = (loaded.programs[name] for name in ("one", "two", "three"))
        with xdp(bpf, one) as link:
            with pytest.raises(HookBusyError) as busy:
                xdp(bpf, two)
            assert busy.value.prog_id == loaded.infos["one"].id
            with pytest.raises(LinkChangedError, match="wanted prog"):
                update_link(bpf, link, two, expected=three, place="xdp")
            with pytest.raises(LinkChangedError):
                detach_link(bpf, link, expected=three, place="xdp")
            assert bpf.link_info(link).prog_id == loaded.infos["one"].id
            ip("link", "del", "veth0")
            with pytest.raises(LinkGoneError):
                update_link(bpf, link, two, expected=one, place="xdp")


class Late(Bpf):
    """Sees a TCX hook as it was before somebody changed it, the first `times` times."""

    times = 1

    def chain(self, ifindex: Ifindex, attach_type: AttachType) -> Chain:
        seen = super().chain(ifindex, attach_type)
        self.times -= 1
        return replace(seen, revision=seen.revision + 100) if self.times >= 0 else seen


def test_tcx_refusals_are_told_apart_and_a_stale_look_is_taken_anew(veth: Veth) -> None:
    bpf, late = Bpf(), Late()
    programs = [prog(name, type_=ProgType.SCHED_CLS) for name in ("one", "two")]
    with load(prepared(programs), bpf, Pins()) as loaded:
        one, two = loaded.programs["one"], loaded.programs["two"]
        index = with_rtnl(_index)
        with tcx(bpf, one):
            with pytest.raises(HookBusyError, match="the very program"):
                tcx(bpf, one)
            with tcx(late, two, f"before:{loaded.infos['one'].id}"):
                assert late.times == -1
                found = bpf.chain(index, AttachType.TCX_INGRESS).progs
                assert found == (loaded.infos["two"].id, loaded.infos["one"].id)
            late.times = 1000
            with pytest.raises(StaleOrderError):
                tcx(late, two, "first")
            assert bpf.chain(index, AttachType.TCX_INGRESS).progs == (loaded.infos["one"].id,)


async def _index(_rtnl: Rtnl, veth0: Interface) -> Ifindex:
    return veth0.index


@pytest.mark.parametrize("hook", [Hook.XDP, Hook.TC_INGRESS])
def test_interface_that_is_gone_is_told_as_such(veth: Veth, hook: Hook) -> None:
    kind = ProgType.XDP if hook is Hook.XDP else ProgType.SCHED_CLS
    with load(prepared([prog("one", type_=kind)]), Bpf(), Pins()) as loaded:

        async def attach(rtnl: Rtnl, veth0: Interface) -> Fd:
            ip("link", "del", "veth0")
            if hook is Hook.XDP:
                return await attach_xdp_link(rtnl, Bpf(), veth0, loaded.programs["one"], XdpMode.NATIVE)
            order = Order("", lambda _name, _chain: None)
            return await attach_tcx_link(rtnl, Bpf(), veth0, hook, loaded.programs["one"], order)

        with pytest.raises(NoSuchInterfaceError):
            with_rtnl(attach)
