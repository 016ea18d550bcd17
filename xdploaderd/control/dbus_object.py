"""What D-Bus offers: the methods and the signal of org.xdploaderd1.Manager, for whom the bus knows to be root."""

import asyncio
import contextvars
import json
import logging
import os
from collections.abc import Awaitable, Callable
from typing import Annotated, Final, TypeVar

from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusSignature
from dbus_fast.errors import DBusError
from dbus_fast.service import ServiceInterface, dbus_method, dbus_signal

from xdploaderd.control.api import Loader
from xdploaderd.control.dbus_values import (
    FD_OPTIONS,
    Properties,
    apply_options,
    attach_request,
    to_plain,
    to_properties,
)
from xdploaderd.daemon.service.caller import Caller, caller
from xdploaderd.errors import LoaderError, NotAuthorizedError
from xdploaderd.printable import printable

log = logging.getLogger(__name__)

OBJECT_PATH: Final = "/org/xdploaderd1"
INTERFACE: Final = "org.xdploaderd1.Manager"
ERROR_PREFIX: Final = "org.xdploaderd1.Error."

_sender: contextvars.ContextVar[str] = contextvars.ContextVar("sender")
_TAKES_DESCRIPTORS = (OBJECT_PATH, INTERFACE, "AttachObject", "a{sv}a{sv}")

PropertiesType = Annotated[Properties, DBusSignature("a{sv}")]
ListType = Annotated[list[Properties], DBusSignature("aa{sv}")]
SecondsType = Annotated[int, DBusSignature("u")]
NameType = Annotated[str, DBusSignature("s")]
TextType = Annotated[str, DBusSignature("s")]
FlagType = Annotated[bool, DBusSignature("b")]
DescriptorType = Annotated[int, DBusSignature("h")]
T = TypeVar("T")


class _Given(int):
    """A descriptor to send: closed when nothing refers to it any more, that is when its message was sent or is lost."""

    def __del__(self) -> None:
        os.close(self)


class Manager(ServiceInterface):
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
        given = to_plain(options)
        try:
            status = await self._guarded(lambda: self._service.attach_object(attach_request(to_plain(entry), given)))
        finally:
            for fd in {value.value for key, value in options.items() if key in FD_OPTIONS and value.signature == "h"}:
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
        given = to_plain(options)
        return to_properties((await self._guarded(lambda: self._service.reload(**apply_options(given)))).to_json())

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
        """Detach and unpin an orphan now; with an empty name all but those on protected interfaces."""
        return to_properties((await self._guarded(lambda: self._service.sweep(name))).to_json())

    @dbus_method()
    async def Status(self) -> PropertiesType:
        return to_properties((await self._guarded(self._service.status)).to_json())

    @dbus_method()
    async def Plan(self) -> ListType:
        """What Reload would do, as `xdploaderctl plan --json` has it; nothing is done."""
        return [to_properties(action.to_json()) for action in await self._guarded(self._service.plan)]

    @dbus_method()
    async def Maps(self, name: NameType) -> ListType:
        """The maps of the program that an attachment has in force, with their pins."""
        return [to_properties(one.to_json()) for one in await self._guarded(lambda: self._service.maps(name))]

    @dbus_method()
    async def OpenMap(self, name: NameType, map_name: NameType, write: FlagType) -> DescriptorType:
        """A descriptor of one of these maps, by its name or id; without `write` the map can only be read by it."""
        return _Given(await self._guarded(lambda: self._service.open_map(name, map_name, write=write)))

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


def remember_sender(message: Message) -> None:
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
    interface = message.interface or INTERFACE  # which a call may leave out
    call = (message.path, interface, message.member, message.signature)
    if message.message_type is not MessageType.METHOD_CALL or call != _TAKES_DESCRIPTORS:
        return frozenset()
    given = (message.body[1].get(key) for key in FD_OPTIONS)
    return frozenset(value.value for value in given if value is not None and value.signature == "h")
