"""Changes of attachments for one listener: the newest state of each is kept until it is taken, however slow he is."""

import asyncio
from collections.abc import Iterable

from xdploaderd.daemon.plan.status import AttachmentStatus


class Subscription:
    """What has become another since the last take(), each attachment once; bounded by the attachments there are."""

    def __init__(self) -> None:
        self._changed: dict[str, AttachmentStatus] = {}
        self._any = asyncio.Event()

    def put(self, statuses: Iterable[AttachmentStatus]) -> None:
        """Add changes, the newest last."""
        for status in statuses:
            self._changed.pop(status.name, None)
            self._changed[status.name] = status
            self._any.set()

    async def take(self) -> tuple[AttachmentStatus, ...]:
        """Wait for a change, and return all there are."""
        await self._any.wait()
        self._any.clear()
        changed = tuple(self._changed.values())
        self._changed.clear()
        return changed
