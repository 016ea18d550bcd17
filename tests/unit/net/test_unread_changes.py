"""A change that the kernel made is made, also when nothing can be read behind it."""

import asyncio
import errno
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.daemon.fake_world import prog
from tests.fakes.rtnl import FakeRtnl
from xdploaderd.errors import AttachError
from xdploaderd.hooks import Hook, XdpMode
from xdploaderd.info import Interface, ProgInfo, TcFilter
from xdploaderd.net.tc import attach_tc, detach_tc, filter_at, replace_tc
from xdploaderd.net.xdp import attach_xdp, replace_xdp
from xdploaderd.uapi.bpf import Ifindex, ProgId


class BlindRtnl(FakeRtnl):
    """Reads fail from the next change on."""

    blind = False

    def _write(self, what: str) -> None:
        super()._write(what)
        self.blind = True

    def _see(self) -> None:
        if self.blind:
            raise AttachError("netlink dump failed: cannot allocate memory", errno=errno.ENOMEM)

    async def interface_at(self, index: Ifindex) -> Interface | None:
        self._see()
        return await super().interface_at(index)

    async def filters(self, index: Ifindex, hook: Hook) -> tuple[TcFilter, ...]:
        self._see()
        return await super().filters(index, hook)


class Descriptor:
    """A program whose id is its number."""

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        return self._number

    def close(self) -> None:
        """Nothing is open."""


class Programs:
    """Tells a program's id."""

    def prog_by_id(self, prog_id: ProgId, /) -> Descriptor:
        return Descriptor(prog_id)

    def prog_info(self, fd: Descriptor, /) -> ProgInfo:
        return prog(fd.fileno())


Change = Callable[[BlindRtnl, Interface], Coroutine[Any, Any, Any]]
OLD, NEW = Descriptor(7), Descriptor(8)


async def attached_xdp(rtnl: BlindRtnl, link: Interface) -> None:
    await attach_xdp(rtnl, Programs(), link, NEW, XdpMode.NATIVE)


async def replaced_xdp(rtnl: BlindRtnl, link: Interface) -> None:
    rtnl.put_xdp(link.name, 7)
    await replace_xdp(rtnl, Programs(), link, NEW, XdpMode.NATIVE, expected=OLD)


async def attached_tc(rtnl: BlindRtnl, link: Interface) -> None:
    place = filter_at(link, Hook.TC_INGRESS, priority=1, handle=1)
    found, made = await attach_tc(rtnl, Programs(), place, NEW)
    assert (found.prog_id, made) == (8, True)


async def replaced_tc(rtnl: BlindRtnl, link: Interface) -> None:
    place = filter_at(link, Hook.TC_INGRESS, priority=1, handle=1)
    await attach_tc(rtnl, Programs(), place, OLD)
    rtnl.blind = False
    assert (await replace_tc(rtnl, Programs(), place, NEW, expected=ProgId(7))).prog_id == 8


@pytest.mark.parametrize("change", [attached_xdp, replaced_xdp, attached_tc, replaced_tc])
def test_change_is_no_failure_when_the_look_behind_it_fails(change: Change) -> None:
    rtnl = BlindRtnl()
    asyncio.run(change(rtnl, rtnl.add_interface("eth0")))
    on_hooks = [number for link in rtnl.links.values() for _, number in link.xdp]
    assert [*on_hooks, *(found.prog_id for found in rtnl.tc.values())] == [8]


def test_filter_that_is_off_is_no_failure_when_clsact_cannot_be_looked_at() -> None:
    class Forgetful(FakeRtnl):
        failing = True

        async def has_filters(self, index: Ifindex) -> bool:
            if self.failing:
                self.failing = False
                raise AttachError("netlink dump failed: cannot allocate memory", errno=errno.ENOMEM)
            return await super().has_filters(index)

    async def main() -> None:
        rtnl = Forgetful()
        place = filter_at(rtnl.add_interface("eth0"), Hook.TC_INGRESS, priority=1, handle=1)
        await attach_tc(rtnl, Programs(), place, OLD)
        assert await detach_tc(rtnl, Programs(), place, expected=ProgId(7), remove_clsact=True)
        assert (rtnl.tc, rtnl.qdiscs) == ({}, {})

    asyncio.run(main())
