"""Netlink events become passes: the first ones at once, and a storm of them one pass at a time with rests between.

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

from xdploaderd.daemon.loop.reconcile import Reconciler
from xdploaderd.errors import LoaderError
from xdploaderd.uapi.bpf import Ifindex

log = logging.getLogger(__name__)

Events = Callable[[], AsyncGenerator[Ifindex, None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rests:
    """Seconds: between two passes as long as the last one took, within these bounds; and after the events failed.

    `saved`: how much of that rest may be had in advance, by quiet times before: an interface that is made anew is
    two or three events, and not a storm.
    """

    shortest: float = 0.01
    longest: float = 0.25
    saved: float = 0.5
    retry: float = 5.0


class Saved:
    """What is left of the rest that was had before it was needed."""

    def __init__(self, rests: Rests) -> None:
        self._rests = rests
        self._left = rests.saved

    def rest_after(self, took: float, *, quiet: float) -> float:
        """Return how long to rest after a pass that took so long and followed so much quiet time."""
        rests = self._rests
        self._left = max(min(self._left + quiet, rests.saved) - took, -rests.longest)
        return max(-self._left, rests.shortest)


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
    saved, ended = Saved(rests), time.monotonic()
    while True:
        await happened.wait()
        happened.clear()
        quiet, began = time.monotonic() - ended, time.monotonic()
        await reconciler.settled()
        ended = time.monotonic()
        await asyncio.sleep(saved.rest_after(ended - began, quiet=quiet))
