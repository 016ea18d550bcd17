"""The fake of tests/fakes/rtnl.py against the kernel: the same steps must have the same outcome on both."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.fakes.rtnl import FakeRtnl
from tests.support.netns import ip, tc, veth_pair
from tests.support.rawbpf import TC_ACT_OK, XDP_PASS, RawFd, RawPrograms, returning, xdp_link
from xdploaderd.errors import AttachError
from xdploaderd.hooks import Hook
from xdploaderd.info import Interface
from xdploaderd.net.door import NOTHING, Netlink
from xdploaderd.net.messages import XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE
from xdploaderd.net.rtnl import Rtnl
from xdploaderd.net.tc import filter_at
from xdploaderd.uapi.bpf import ProgType

pytestmark = pytest.mark.kernel
Step = Callable[[], Awaitable[object]]


async def _outcomes(rtnl: Netlink, interface: Interface, steps: list[Step]) -> list[object]:
    """Return, for each step, its result or refusal and what is on the interface afterwards."""
    seen: list[object] = []
    for step in steps:
        try:
            seen.append(await step())
        except AttachError as error:
            seen.append((error.code, error.errno, error.extack))
        now = await rtnl.interface_at(interface.index)
        filters = [
            (f.hook, f.priority, f.handle, f.prog_id, f.name, f.direct_action)
            for hook in (Hook.TC_INGRESS, Hook.TC_EGRESS)
            for f in await rtnl.filters(interface.index, hook)
        ]
        qdisc = await rtnl.qdisc_kind(interface.index)
        seen.append((now and now.xdp, qdisc, await rtnl.has_filters(interface.index), filters))
    return seen


def _xdp_steps(rtnl: Netlink, link: Interface, a: RawFd, b: RawFd) -> list[Step]:
    drv, skb = XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE
    changes = [
        (a.fileno(), drv, b.fileno()),  # expected is not there
        (a.fileno(), drv, NOTHING),
        (b.fileno(), drv, NOTHING),  # busy
        (b.fileno(), skb, NOTHING),  # other mode
        (b.fileno(), drv, a.fileno()),
        (NOTHING, drv, a.fileno()),  # not the one
        (NOTHING, skb, b.fileno()),  # not in that slot
        (NOTHING, drv, b.fileno()),
        (NOTHING, drv, b.fileno()),  # gone already
        (a.fileno(), 0, NOTHING),
        (NOTHING, 0, a.fileno()),
        (NOTHING, drv, NOTHING),
    ]
    return [lambda c=change: rtnl.set_xdp(link.index, *c) for change in changes]  # type: ignore[misc]  # bound early


def _tc_steps(rtnl: Netlink, link: Interface, a: RawFd, b: RawFd) -> list[Step]:
    one = filter_at(link, Hook.TC_INGRESS, priority=50, handle=1, name="x.o:[tc]")
    two = filter_at(link, Hook.TC_EGRESS, priority=7, handle=3)
    return [
        lambda: rtnl.ensure_clsact(link.index),
        lambda: rtnl.ensure_clsact(link.index),
        lambda: rtnl.add_filter(one, a.fileno()),
        lambda: rtnl.add_filter(one, b.fileno()),
        lambda: rtnl.replace_filter(one, b.fileno()),
        lambda: rtnl.replace_filter(two, a.fileno()),
        lambda: rtnl.delete_filter(one),
        lambda: rtnl.delete_clsact(link.index),
    ]


@pytest.mark.parametrize(
    ("kind", "verdict", "steps"),
    [(ProgType.XDP, XDP_PASS, _xdp_steps), (ProgType.SCHED_CLS, TC_ACT_OK, _tc_steps)],
    ids=["xdp", "tc"],
)
@pytest.mark.usefixtures("_no_kernel_leak")
def test_fake_answers_as_the_kernel(
    kind: ProgType, verdict: int, steps: Callable[[Netlink, Interface, RawFd, RawFd], list[Step]]
) -> None:
    async def main() -> None:
        with veth_pair() as veth, returning(kind, verdict, "a") as a, returning(kind, verdict, "b") as b:
            programs = RawPrograms()
            ids = {fd.fileno(): programs.prog_info(fd).id for fd in (a, b)}
            fake = FakeRtnl(ids.__getitem__)
            pretended = fake.add_interface(veth.name)
            async with await Rtnl.open() as rtnl:
                real = await rtnl.interface(veth.name)
                kernel = await _outcomes(rtnl, real, steps(rtnl, real, a, b))
                assert await _outcomes(fake, pretended, steps(fake, pretended, a, b)) == kernel

    asyncio.run(main())


@pytest.mark.usefixtures("_no_kernel_leak")
def test_fake_refuses_what_a_link_a_qdisc_or_a_lost_interface_refuse() -> None:
    async def main() -> None:
        fake = FakeRtnl()
        with veth_pair() as veth, returning(ProgType.XDP, XDP_PASS) as prog:
            async with await Rtnl.open() as rtnl:
                real, pretended = await rtnl.interface(veth.name), fake.add_interface(veth.name)
                with xdp_link(prog, real.index):
                    fake.xdp_links.add(pretended.index)
                    assert await _refusal(rtnl.set_xdp(real.index, prog.fileno(), 0, NOTHING)) == await _refusal(
                        fake.set_xdp(pretended.index, 1, 0, NOTHING)
                    )
                tc("qdisc", "add", "dev", veth.name, "ingress")
                fake.qdiscs[pretended.index] = "ingress"
                assert (await _refusal(rtnl.ensure_clsact(real.index)))[:2] == (
                    await _refusal(fake.ensure_clsact(pretended.index))
                )[:2]
                ip("link", "del", veth.name)
                fake.remove_interface(veth.name)
                place = filter_at(real, Hook.TC_INGRESS, priority=1, handle=1)
                assert (await _refusal(rtnl.set_xdp(real.index, prog.fileno(), 0, NOTHING)))[:2] == (
                    await _refusal(fake.set_xdp(pretended.index, 1, 0, NOTHING))
                )[:2]
                assert (await _refusal(rtnl.ensure_clsact(real.index)))[:2] == (
                    await _refusal(fake.ensure_clsact(pretended.index))
                )[:2]
                assert (await rtnl.filters(real.index, place.hook)) == (await fake.filters(real.index, place.hook))
                assert await rtnl.interface_at(real.index) is await fake.interface_at(pretended.index) is None

    asyncio.run(main())


async def _refusal(request: Awaitable[object]) -> tuple[str, int, str]:
    with pytest.raises(AttachError) as caught:
        await request
    return caught.value.code, caught.value.errno, caught.value.extack
