"""Links to be restored are looked at between events; nothing else is."""

import asyncio
from dataclasses import replace

from tests.daemon.fake_world import FakeWishes, FakeWorld, entry, want
from xdploaderd.daemon.loop.link_watch import watch_links
from xdploaderd.daemon.loop.reconcile import Reconciler
from xdploaderd.hooks import AttachKind, OnForeign
from xdploaderd.info import LinkInfo
from xdploaderd.uapi.bpf import Ifindex, LinkId, ProgId

LINK = LinkInfo(id=LinkId(7), type=6, prog_id=ProgId(5), ifindex=Ifindex(1))


async def snapshots_after_detach(kind: AttachKind, policy: OnForeign) -> int:
    """Return how many looks at the world follow when a link is dead that lived at the last one."""
    world, config = FakeWorld("eth0"), entry(attach=kind, on_foreign=policy)
    world.owned["edge"] = replace(world.add_owned(config, 5), links=(LINK,))
    wish = replace(want(config), missing="not now")  # nothing is done about it: looks alone are counted
    reconciler = Reconciler(FakeWishes(wish), world, world)
    tasks = [asyncio.create_task(reconciler.run()), asyncio.create_task(watch_links(reconciler, 0.005))]
    await reconciler.settled()
    await asyncio.sleep(0.02)
    before = world.snapshots
    world.owned["edge"] = replace(world.owned["edge"], links=(replace(LINK, ifindex=Ifindex(0)),))
    await asyncio.sleep(0.03)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return world.snapshots - before


def test_link_to_be_restored_is_looked_at_once_when_it_became_another() -> None:
    assert asyncio.run(snapshots_after_detach(AttachKind.LINK, OnForeign.RESTORE)) == 1


def test_links_that_are_reported_and_what_is_no_link_are_not_looked_at() -> None:
    assert asyncio.run(snapshots_after_detach(AttachKind.LINK, OnForeign.REPORT)) == 0
    assert asyncio.run(snapshots_after_detach(AttachKind.NETLINK, OnForeign.RESTORE)) == 0
