"""Reading interfaces and watching their changes on the real kernel."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.netns import Veth, add_veth, ip, veth_pair
from xdploaderd.errors import NoSuchInterfaceError
from xdploaderd.net.door import RESYNC
from xdploaderd.net.rtnl import Rtnl
from xdploaderd.uapi.bpf import Ifindex

pytestmark = pytest.mark.kernel


@pytest.fixture
def veth(_no_kernel_leak: None) -> Iterator[Veth]:
    with veth_pair() as pair:
        yield pair


def test_interfaces_are_those_of_ip_link(veth: Veth) -> None:
    async def main() -> None:
        ip("link", "property", "add", "dev", veth.name, "altname", "a-name-longer-than-sixteen-bytes")
        async with await Rtnl.open() as rtnl:
            ours = {i.index: i for i in await rtnl.interfaces()}
            shown = json.loads(ip("-d", "-j", "link"))
            assert {link["ifindex"] for link in shown} == set(ours)
            for link in shown:
                found = ours[link["ifindex"]]
                assert (found.name, found.mac, found.mtu) == (link["ifname"], link["address"], link["mtu"])
                assert found.up == ("UP" in link["flags"])
                assert found.altnames == tuple(link.get("altnames", ()))
                assert found.kind == link.get("linkinfo", {}).get("info_kind", "")
            by_name = await rtnl.interface(veth.name)
            assert by_name == ours[by_name.index] == await rtnl.interface_at(by_name.index)
            assert await rtnl.interface("a-name-longer-than-sixteen-bytes") == by_name

    asyncio.run(main())


@pytest.mark.parametrize("name", ["veth1", "x" * 200, "a/b", "", "é"])
def test_unknown_name_is_an_error_that_tells_near_names(veth: Veth, name: str) -> None:
    async def main() -> None:
        async with await Rtnl.open() as rtnl:
            with pytest.raises(NoSuchInterfaceError) as caught:
                await rtnl.interface(name)
            assert caught.value.fields["near"] == (["veth0"] if name == "veth1" else [])
            assert caught.value.fields["interface"] == name

    asyncio.run(main())


async def _until(changes: AsyncIterator[Ifindex], index: Ifindex) -> bool:
    async for changed in changes:
        if changed == index:
            return True
    return False


def test_changes_tell_of_every_interface_made_and_removed_after_resync(veth: Veth) -> None:
    async def main() -> None:
        async with await Rtnl.open() as rtnl:
            changes = rtnl.changes()
            assert await anext(changes) == RESYNC
            first = await rtnl.interface(veth.name)
            for _ in range(3):
                ip("link", "del", veth.name)
                assert await asyncio.wait_for(_until(changes, first.index), 2)
                add_veth(veth.name, veth.peer, veth.namespace)
                first = await rtnl.interface(veth.name)
                assert await asyncio.wait_for(_until(changes, first.index), 2)
            await changes.aclose()

    asyncio.run(main())


def test_lost_events_give_a_resync_and_the_stream_goes_on(veth: Veth) -> None:
    async def main() -> None:
        async with await Rtnl.open() as rtnl:
            changes = rtnl.changes()
            assert await anext(changes) == RESYNC
            lines = "".join(f"link set {veth.name} alias {number}\n" for number in range(4000))
            ip("-batch", "-", text=lines)  # blocks the loop: nobody reads meanwhile
            assert await asyncio.wait_for(_until(changes, RESYNC), 5)
            index = (await rtnl.interface(veth.name)).index
            ip("link", "set", veth.name, "alias", "last")
            assert await asyncio.wait_for(_until(changes, index), 2)
            await changes.aclose()

    asyncio.run(main())
