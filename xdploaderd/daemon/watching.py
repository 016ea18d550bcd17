"""Netlink events become passes: the first one at once, and a storm of them one pass at a time with rests between.

A pass costs a dump of all links and a look at every pin, so that passing at each event of a storm would leave no time
for anybody else. A request asks the reconciler by itself and waits for no rest.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import NoReturn

from xdploaderd.daemon.reconcile import Reconciler
from xdploaderd.errors import LoaderError
from xdploaderd.uapi.bpf import Ifindex

log = logging.getLogger(__name__)

Events = Callable[[], AsyncGenerator[Ifindex, None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rests:
    """Seconds: between two passes as long as the last one took, within these bounds; and after the events failed."""

    shortest: float = 0.01
    longest: float = 0.25
    retry: float = 5.0


async def watch(events: Events, reconciler: Reconciler, rests: Rests = Rests()) -> NoReturn:
    """Have the reconciler look after each event, for ever; while events fail its periodic look has to do."""
    happened = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(_listen(events, happened, rests))
        await _look_after(happened, reconciler, rests)


async def _listen(events: Events, happened: asyncio.Event, rests: Rests) -> NoReturn:
    while True:
        try:
            async with aclosing(events()) as changes:
                async for _ in changes:
                    happened.set()
        except LoaderError as error:
            log.error("%s; trying again in %g s", error, rests.retry, extra={"ERROR_CODE": error.code})
        await asyncio.sleep(rests.retry)


async def _look_after(happened: asyncio.Event, reconciler: Reconciler, rests: Rests) -> NoReturn:
    while True:
        await happened.wait()
        happened.clear()
        began = time.monotonic()
        await reconciler.settled()
        await asyncio.sleep(min(max(time.monotonic() - began, rests.shortest), rests.longest))
