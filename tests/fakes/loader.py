"""A daemon's service in memory, for the front-ends."""

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from xdploaderd.daemon.plan.status import AttachedMap, AttachmentStatus, DaemonStatus, PlannedAction, PlannedMap, State
from xdploaderd.daemon.service.caller import Caller, caller
from xdploaderd.daemon.service.requests import AttachRequest
from xdploaderd.errors import NoSuchAttachmentError
from xdploaderd.hooks import Hook, XdpMode

EDGE = AttachmentStatus(
    name="edge",
    interface="eth0",
    hook=Hook.XDP,
    object="/usr/lib/fw.o",
    program="xdp_pass",
    mode=XdpMode.NATIVE,
    state=State.ATTACHED,
    ifindex=2,
    prog_id=7,
    prog_name="xdp_pass",
    pins=("/sys/fs/bpf/xdploaderd/edge/prog",),
)

CORE_LOG = [{"program": "xdp_pass", "kind": "byte_off", "new_value": 2**64 - 1, "target": None, "candidates": []}]


PLANNED = PlannedAction(
    action="replace",
    name="edge",
    interface="eth0",
    hook=Hook.XDP,
    reason="object changed",
    maps=(PlannedMap(name="frames", action="migrate", pin="", entries=4, lost=0, reason="max entries"),),
)


class FakeLoader:
    """A control.api.Loader with one attachment; `error` is raised by the next call, `gate` holds calls back."""

    def __init__(self) -> None:
        self.attachments = {"edge": EDGE}
        self.calls: list[str] = []
        self.requests: list[AttachRequest] = []
        self.callers: list[Caller] = []
        self.objects: list[bytes] = []
        self.error: Exception | None = None
        self.gate: asyncio.Event | None = None
        self._queues: list[asyncio.Queue[AttachmentStatus]] = []

    async def _called(self, what: str) -> None:
        self.calls.append(what)
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    async def list(self) -> tuple[AttachmentStatus, ...]:
        await self._called("list")
        return tuple(self.attachments.values())

    async def status(self) -> DaemonStatus:
        await self._called("status")
        return self._status()

    def _status(self) -> DaemonStatus:
        return DaemonStatus(
            version="1",
            pid=42,
            degraded=False,
            config="/etc/xdploaderd/xdploaderd.yaml",
            pinning="/etc/libbpf/pinning.conf",
            config_error="",
            attachments=tuple(self.attachments.values()),
        )

    async def _set(self, name: str, state: State) -> AttachmentStatus:
        if name not in self.attachments:
            raise NoSuchAttachmentError(f"no attachment named '{name}'")
        self.attachments[name] = replace(self.attachments[name], state=state)
        for queue in self._queues:
            queue.put_nowait(self.attachments[name])
        return self.attachments[name]

    async def attach(self, name: str, *, confirm: int = 0) -> AttachmentStatus:
        await self._called(f"attach {name}{f' for {confirm} s' if confirm else ''}")
        return await self._set(name, State.ATTACHED)

    async def attach_object(self, request: AttachRequest) -> AttachmentStatus:
        await self._called("attach-object")
        self.requests.append(request)
        self.callers.append(caller.get())
        if request.descriptor is not None:
            self.objects.append(os.pread(request.descriptor, 1 << 16, 0))
        return EDGE

    async def detach(self, name: str, *, permanent: bool = False, confirm: int = 0) -> AttachmentStatus:
        until = " for good" if permanent else f" for {confirm} s" if confirm else ""
        await self._called(f"detach {name}{until}")
        return await self._set(name, State.DETACHED)

    async def reload(self, *, partial: bool = False, confirm: int = 0) -> DaemonStatus:
        await self._called("reload" + " --partial" * partial + (f" --confirm {confirm}" if confirm else ""))
        return self._status()

    async def confirm(self) -> DaemonStatus:
        await self._called("confirm")
        return self._status()

    async def roll_back(self) -> DaemonStatus:
        await self._called("roll-back")
        return self._status()

    async def sweep(self, name: str = "") -> DaemonStatus:
        await self._called(f"sweep {name}".rstrip())
        return self._status()

    async def plan(self) -> tuple[PlannedAction, ...]:
        await self._called("plan")
        return (PLANNED,)

    async def maps(self, name: str) -> tuple[AttachedMap, ...]:
        await self._called(f"maps {name}")
        sizes = {"key_size": 4, "value_size": 8, "max_entries": 1}
        return (AttachedMap(name="frames", id=7, type="array", pin="", **sizes),)

    async def open_map(self, name: str, map_name: str, *, write: bool = False) -> int:
        await self._called(f"open-map {name} {map_name}{' to write' if write else ''}")
        return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)

    async def core_log(self, name: str) -> Sequence[Mapping[str, Any]]:
        await self._called(f"core-log {name}")
        return CORE_LOG

    async def monitor(self) -> AsyncGenerator[tuple[AttachmentStatus, ...], None]:
        yield tuple(self.attachments.values())
        async with aclosing(self.changes()) as changes:
            async for status in changes:
                yield (status,)

    @property
    def listeners(self) -> int:
        """How many are told of changes."""
        return len(self._queues)

    async def changes(self) -> AsyncGenerator[AttachmentStatus, None]:
        queue: asyncio.Queue[AttachmentStatus] = asyncio.Queue()
        self._queues.append(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._queues.remove(queue)
