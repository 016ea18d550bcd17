"""Who listens to attachments, and what each pass of the loop tells them."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace

from xdploaderd.daemon.loop import events
from xdploaderd.daemon.loop.reconcile import Picture, Reconciler
from xdploaderd.daemon.loop.report import attachment_statuses
from xdploaderd.daemon.loop.subscription import Subscription
from xdploaderd.daemon.plan.actions import Refuse
from xdploaderd.daemon.plan.status import AttachmentStatus, State


class News:
    """Hears of every pass, and passes on what has become another; a refusal is logged when it is a new one."""

    def __init__(self, reconciler: Reconciler) -> None:
        self.known: Mapping[str, AttachmentStatus] = {}  # as of the last pass
        self._reconciler = reconciler
        self._subscribers: set[Subscription] = set()
        self._refused: dict[str, str] = {}
        self._changed = asyncio.Event()
        reconciler.on_pass = self._publish

    async def changes(self) -> AsyncGenerator[AttachmentStatus, None]:
        """Yield the status of an attachment each time it becomes another, from now on; GONE when it ends.

        Whoever is slow misses states in between, and never the newest one.
        """
        async with aclosing(self.monitor()) as states:
            await anext(states)
            async for changed in states:
                for status in changed:
                    yield status

    async def monitor(self) -> AsyncGenerator[tuple[AttachmentStatus, ...], None]:
        """Yield the status of every attachment, then those that became others, as changes() does."""
        subscription = Subscription()
        self._subscribers.add(subscription)
        try:
            yield attachment_statuses(self._reconciler.picture)
            while True:
                yield await subscription.take()
        finally:
            self._subscribers.discard(subscription)

    async def changed(self) -> None:
        """Wait until attachments are others than at the last call; for one caller."""
        await self._changed.wait()
        self._changed.clear()

    def _publish(self, picture: Picture) -> None:
        for refusal in (a for a in picture.actions if isinstance(a, Refuse)):
            if self._refused.get(refusal.name) != str(refusal.error):
                events.log_refusal(refusal)
        self._refused = {a.name: str(a.error) for a in picture.actions if isinstance(a, Refuse)}
        statuses = {status.name: status for status in attachment_statuses(picture)}
        changed = [status for name, status in statuses.items() if self.known.get(name) != status]
        gone = [replace(was, state=State.GONE, reason="") for name, was in self.known.items() if name not in statuses]
        if statuses != self.known:
            self._changed.set()
        self.known = statuses
        for subscription in self._subscribers:
            subscription.put((*gone, *changed))
