"""The daemon on D-Bus as org.xdploaderd1: the same service as on the control socket, with a signal for each change.

The bus policy config/org.xdploaderd1.conf keeps others than root out; the caller's uid is asked of the bus all the
same, since a policy may be edited. Mirrors the D-Bus Specification, "Message Bus Messages".
"""

import asyncio
import logging
from typing import Final, NoReturn

from dbus_fast import BusType, NameFlag, RequestNameReply
from dbus_fast.aio import MessageBus
from dbus_fast.errors import AuthError, DBusError, InvalidAddressError

from xdploaderd.control.api import Loader
from xdploaderd.control.dbus_object import ERROR_PREFIX, OBJECT_PATH, Manager, remember_sender
from xdploaderd.control.dbus_values import to_properties

log = logging.getLogger(__name__)

BUS_NAME: Final = "org.xdploaderd1"
RETRY_SECONDS: Final = 10.0

_BUS_ERRORS = (OSError, EOFError, AuthError, DBusError, InvalidAddressError)


class DbusServer:
    """Keeps the daemon on the bus at `address` (the system bus by default), through restarts of the bus."""

    def __init__(
        self, service: Loader, *, address: str | None = None, authorized_uids: frozenset[int] = frozenset({0})
    ) -> None:
        self._service = service
        self._address = address
        self._authorized_uids = authorized_uids

    async def run(self) -> NoReturn:
        """Serve until cancelled; without a bus one line is logged and the bus is tried again from time to time."""
        told = False
        while True:
            try:
                await self._serve()
                told = False
            except _BUS_ERRORS as error:
                if not told:
                    log.warning("not on D-Bus, the control socket serves alone: %s", error)
                told = True
            await asyncio.sleep(RETRY_SECONDS)

    async def _serve(self) -> None:
        """Stay on the bus until it goes away."""
        bus = MessageBus(bus_address=self._address, bus_type=BusType.SYSTEM, negotiate_unix_fd=True)
        await bus.connect()
        try:
            manager = Manager(self._service, bus, self._authorized_uids)
            bus.add_message_handler(remember_sender)
            bus.export(OBJECT_PATH, manager)
            reply = await bus.request_name(BUS_NAME, NameFlag.DO_NOT_QUEUE)
            if reply is not RequestNameReply.PRIMARY_OWNER:
                raise DBusError(ERROR_PREFIX + "Locked", f"another process has the name {BUS_NAME}")
            log.debug("on D-Bus as %s", BUS_NAME)
            await self._signal_until_gone(bus, manager)
        finally:
            bus.disconnect()

    async def _signal_until_gone(self, bus: MessageBus, manager: Manager) -> None:
        signals = asyncio.create_task(self._signal_changes(manager))
        gone = asyncio.ensure_future(bus.wait_for_disconnect())  # type: ignore[no-untyped-call]  # dbus-fast's
        try:
            await asyncio.wait({signals, gone}, return_when=asyncio.FIRST_COMPLETED)
            for done in (task for task in (signals, gone) if task.done()):
                done.result()
        finally:
            for task in (signals, gone):
                task.cancel()
            await asyncio.gather(signals, gone, return_exceptions=True)
        log.warning("the bus went away; it is tried again every %g s", RETRY_SECONDS)

    async def _signal_changes(self, manager: Manager) -> None:
        async for attachment in self._service.changes():
            manager.AttachmentChanged(to_properties(attachment.to_json()))
