"""The D-Bus object org.xdploaderd1: the same service as on the control socket, for root, with a signal for each change.

The bus policy config/org.xdploaderd1.conf keeps others out; the caller's uid is asked of the bus all the same, since a
policy may be edited. Mirrors the D-Bus Specification, "Message Bus Messages".
"""

import asyncio
import contextvars
import json
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Final, NoReturn, TypeVar

from dbus_fast import BusType, Message, MessageType, NameFlag, RequestNameReply, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusSignature
from dbus_fast.errors import AuthError, DBusError, InvalidAddressError
from dbus_fast.service import ServiceInterface, dbus_method, dbus_signal

from xdploaderd.control.api import Loader
from xdploaderd.daemon.caller import Caller, caller
from xdploaderd.daemon.requests import AttachRequest
from xdploaderd.errors import LoaderError, NotAuthorizedError, UsageError
from xdploaderd.printable import printable, quoted

log = logging.getLogger(__name__)

BUS_NAME: Final = "org.xdploaderd1"
OBJECT_PATH: Final = "/org/xdploaderd1"
INTERFACE: Final = "org.xdploaderd1.Manager"
ERROR_PREFIX: Final = "org.xdploaderd1.Error."
RETRY_SECONDS: Final = 10.0

_BUS_ERRORS = (OSError, EOFError, AuthError, DBusError, InvalidAddressError)
_sender: contextvars.ContextVar[str] = contextvars.ContextVar("sender")
_TAKES_DESCRIPTORS = (OBJECT_PATH, INTERFACE, "AttachObject", "a{sv}a{sv}")
_FD_OPTIONS = ("object", "program")
_OPTIONS: Mapping[str, type] = {"permanent": bool, "force": bool, "object": int, "program": int, "confirm": int}
_APPLY_OPTIONS: Mapping[str, type] = {"partial": bool, "confirm": int}

Properties = dict[str, Variant]
PropertiesType = Annotated[Properties, DBusSignature("a{sv}")]
ListType = Annotated[list[Properties], DBusSignature("aa{sv}")]
SecondsType = Annotated[int, DBusSignature("u")]
NameType = Annotated[str, DBusSignature("s")]
TextType = Annotated[str, DBusSignature("s")]
T = TypeVar("T")


def to_properties(fields: Mapping[str, Any]) -> Properties:
    """Return JSON fields as a{sv}: s, b, u, as, and aa{sv} for attachments."""
    return {name: _variant(name, value) for name, value in fields.items()}


def _variant(name: str, value: Any) -> Variant:
    match value:
        case bool():
            return Variant("b", value)
        case int():
            return Variant("u", value)
        case list() if name in ("attachments", "orphans"):
            return Variant("aa{sv}", [to_properties(item) for item in value])
        case list():
            return Variant("as", [printable(item) for item in value])
        case _:
            return Variant("s", printable(str(value)))


class _Manager(ServiceInterface):
    """org.xdploaderd1.Manager."""

    def __init__(self, service: Loader, bus: MessageBus, authorized_uids: frozenset[int]) -> None:
        super().__init__(INTERFACE)
        self._service = service
        self._bus = bus
        self._authorized_uids = authorized_uids

    @dbus_method()
    async def ListAttachments(self) -> ListType:
        attachments = await self._guarded(self._service.list)
        return [to_properties(attachment.to_json()) for attachment in attachments]

    @dbus_method()
    async def Attach(self, name: NameType) -> PropertiesType:
        return to_properties((await self._guarded(lambda: self._service.attach(name))).to_json())

    @dbus_method()
    async def AttachOnTrial(self, name: NameType, seconds: SecondsType) -> PropertiesType:
        """Attach, and undo it after so many seconds unless Confirm is called."""
        return to_properties((await self._guarded(lambda: self._service.attach(name, confirm=seconds))).to_json())

    @dbus_method()
    async def DetachOnTrial(self, name: NameType, seconds: SecondsType) -> PropertiesType:
        """Detach, and undo it after so many seconds unless Confirm is called."""
        return to_properties((await self._guarded(lambda: self._service.detach(name, confirm=seconds))).to_json())

    @dbus_method()
    async def AttachObject(self, entry: PropertiesType, options: PropertiesType) -> PropertiesType:
        """Options: permanent b, force b, object h (an open file, for a path in the entry), program h (to take over),
        confirm u (undo it after so many seconds).
        """
        given = _plain(options)
        try:
            status = await self._guarded(lambda: self._service.attach_object(_request(_plain(entry), given)))
        finally:
            for fd in {value.value for key, value in options.items() if key in _FD_OPTIONS and value.signature == "h"}:
                os.close(fd)
        return to_properties(status.to_json())

    @dbus_method()
    async def Forget(self, name: NameType) -> PropertiesType:
        """Detach, and end an entry that AttachObject made, a permanent one too."""
        return to_properties((await self._guarded(lambda: self._service.detach(name, permanent=True))).to_json())

    @dbus_method()
    async def Detach(self, name: NameType) -> PropertiesType:
        return to_properties((await self._guarded(lambda: self._service.detach(name))).to_json())

    @dbus_method()
    async def CoreLog(self, name: NameType) -> TextType:
        """The record as JSON text, as `xdploaderctl core-log --json` has it."""
        return json.dumps(await self._guarded(lambda: self._service.core_log(name)))

    @dbus_method()
    async def Reload(self) -> PropertiesType:
        return to_properties((await self._guarded(self._service.reload)).to_json())

    @dbus_method()
    async def Apply(self, options: PropertiesType) -> PropertiesType:
        """Reload with options: partial b, every entry by itself; confirm u, roll back after so many seconds."""
        given = _plain(options)
        return to_properties((await self._guarded(lambda: self._service.reload(**_apply_options(given)))).to_json())

    @dbus_method()
    async def Confirm(self) -> PropertiesType:
        """Let the configuration that waits to be confirmed stay in force."""
        return to_properties((await self._guarded(self._service.confirm)).to_json())

    @dbus_method()
    async def RollBack(self) -> PropertiesType:
        """Roll back now what waits to be confirmed."""
        return to_properties((await self._guarded(self._service.roll_back)).to_json())

    @dbus_method()
    async def Sweep(self, name: NameType) -> PropertiesType:
        """Detach and unpin an orphan now; with an empty name all."""
        return to_properties((await self._guarded(lambda: self._service.sweep(name))).to_json())

    @dbus_method()
    async def Status(self) -> PropertiesType:
        return to_properties((await self._guarded(self._service.status)).to_json())

    @dbus_signal()
    def AttachmentChanged(self, attachment: Properties) -> PropertiesType:
        return attachment

    async def _guarded(self, call: Callable[[], Awaitable[T]]) -> T:
        try:
            await self._authorize(_sender.get())
            return await call()
        except LoaderError as error:
            raise DBusError(ERROR_PREFIX + error.code, printable(str(error))) from error
        except asyncio.CancelledError:
            raise DBusError(ERROR_PREFIX + LoaderError.code, "the daemon stops") from None
        except Exception as error:
            log.exception("a call failed by a fault of the daemon")
            text = "internal error of the daemon; its log says more"
            raise DBusError(ERROR_PREFIX + LoaderError.code, text) from error

    async def _authorize(self, sender: str) -> None:
        who = await _credentials_of(self._bus, sender)
        if who.uid not in self._authorized_uids:
            raise NotAuthorizedError(f"user {who.uid} may not call the daemon, only root")
        caller.set(who)


async def _credentials_of(bus: MessageBus, sender: str) -> Caller:
    """Ask the bus whose connection a unique name is."""
    question = Message(
        destination="org.freedesktop.DBus",
        path="/org/freedesktop/DBus",
        interface="org.freedesktop.DBus",
        member="GetConnectionCredentials",
        signature="s",
        body=[sender],
    )
    reply = await bus.call(question)
    if reply.message_type is not MessageType.METHOD_RETURN:
        raise NotAuthorizedError("the bus does not tell who calls")
    uid = reply.body[0].get("UnixUserID")
    if uid is None:
        raise NotAuthorizedError("the bus does not tell who calls")
    pid = reply.body[0].get("ProcessID")
    return Caller("d-bus", int(uid.value), int(pid.value) if pid is not None else 0)


def _plain(value: Any) -> Any:
    """Return what a variant holds, all the way down."""
    match value:
        case Variant():
            return _plain(value.value)
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case _:
            return value


def _request(entry: Mapping[str, Any], options: Mapping[str, Any]) -> AttachRequest:
    for name, value in options.items():
        if type(value) is not _OPTIONS.get(name):
            raise UsageError(
                f"option {quoted(name)} is unknown or of another type, want permanent b, force b, object h, program h,"
                " confirm u"
            )
    return AttachRequest(
        entry=entry,
        permanent=options.get("permanent", False),
        force=options.get("force", False),
        descriptor=options.get("object"),
        program=options.get("program"),
        confirm=options.get("confirm", 0),
    )


def _apply_options(options: Mapping[str, Any]) -> Mapping[str, Any]:
    for name, value in options.items():
        if type(value) is not _APPLY_OPTIONS.get(name):
            raise UsageError(f"option {quoted(name)} is unknown or of another type, want partial b, confirm u")
    return options


def _remember_sender(message: Message) -> None:
    """Keep the caller's unique name for the task that dbus-fast makes for the call: methods are not told of it.

    Descriptors that no method will close are closed here.
    """
    _sender.set(message.sender or "")
    taken = _taken_descriptors(message)
    for index, fd in enumerate(message.unix_fds):
        if index not in taken:
            os.close(fd)


def _taken_descriptors(message: Message) -> frozenset[int]:
    """Return the indexes of the descriptors that AttachObject is going to close."""
    call = (message.path, message.interface, message.member, message.signature)
    if message.message_type is not MessageType.METHOD_CALL or call != _TAKES_DESCRIPTORS:
        return frozenset()
    given = (message.body[1].get(key) for key in _FD_OPTIONS)
    return frozenset(value.value for value in given if value is not None and value.signature == "h")


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
            manager = _Manager(self._service, bus, self._authorized_uids)
            bus.add_message_handler(_remember_sender)
            bus.export(OBJECT_PATH, manager)
            reply = await bus.request_name(BUS_NAME, NameFlag.DO_NOT_QUEUE)
            if reply is not RequestNameReply.PRIMARY_OWNER:
                raise DBusError(ERROR_PREFIX + "Locked", f"another process has the name {BUS_NAME}")
            log.debug("on D-Bus as %s", BUS_NAME)
            await self._signal_until_gone(bus, manager)
        finally:
            bus.disconnect()

    async def _signal_until_gone(self, bus: MessageBus, manager: _Manager) -> None:
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

    async def _signal_changes(self, manager: _Manager) -> None:
        async for attachment in self._service.changes():
            manager.AttachmentChanged(to_properties(attachment.to_json()))
