"""Links that others detach: no netlink event tells it, so that those to be restored are looked at twice a second.

LINK_DETACH takes a program off an XDP or TCX hook without a word to anybody (net/core/dev.c, bpf_xdp_link_detach;
kernel/bpf/tcx.c, tcx_link_detach), and a link that is closed or updated does likewise. A look costs three bpf(2) calls
for each link, which only read; without an entry that has both `attach: link` and `on_foreign: restore` there is none.
"""

import asyncio
from typing import NoReturn

from xdploaderd.daemon.loop.reconcile import Picture, Reconciler
from xdploaderd.errors import LoaderError
from xdploaderd.hooks import AttachKind, OnForeign
from xdploaderd.info import LinkInfo

PERIOD = 0.5  # seconds


async def watch_links(reconciler: Reconciler, period: float = PERIOD) -> NoReturn:
    """Have the reconciler look when a link to be restored is not what it was at its last look, for ever."""
    while True:
        known = links_to_restore(reconciler.picture)
        if not known:
            reconciler.passed.clear()
            await reconciler.passed.wait()
            continue
        await asyncio.sleep(period)
        known = links_to_restore(reconciler.picture)
        if await _are_others(reconciler, known):
            await reconciler.settled()


async def _are_others(reconciler: Reconciler, known: dict[str, tuple[LinkInfo, ...]]) -> bool:
    try:
        return await reconciler.links_of(tuple(known)) != known
    except LoaderError:  # the pass will tell it
        return True


def links_to_restore(picture: Picture) -> dict[str, tuple[LinkInfo, ...]]:
    """Return the links as they were of the entries that want them restored."""
    names = (
        want.config.name
        for want in picture.wanted
        if want.config.attach is AttachKind.LINK and want.config.on_foreign is OnForeign.RESTORE
    )
    found = ((name, picture.observed.owned[name].links) for name in names if name in picture.observed.owned)
    return {name: links for name, links in found if links}
