"""What the control socket offers: the methods of org.xdploaderd.Loader, as peers are told of them by introspection."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import aclosing
from typing import Any, TypedDict

from asyncvarlink import FileDescriptor, TypedVarlinkErrorReply, VarlinkInterface, varlinkmethod

from xdploaderd.control import wire
from xdploaderd.control.api import Loader
from xdploaderd.control.varlink import ERROR_FIELDS, INTERFACE, error_classes
from xdploaderd.daemon.service.requests import AttachRequest
from xdploaderd.errors import LoaderError, UsageError


def _declared_error(code: str) -> type[TypedVarlinkErrorReply]:
    fields: dict[str, Any] = {name: kind | None for name, kind in ERROR_FIELDS.get(code, {}).items()}
    parameters = TypedDict(f"{code}Parameters", {"message": str, **fields})  # type: ignore[misc]  # from the table
    namespace = {"name": f"{INTERFACE}.{code}", "__annotations__": {"parameters": parameters}}
    return type(code, (TypedVarlinkErrorReply,), namespace)


def _declared_errors() -> Sequence[type[TypedVarlinkErrorReply]]:
    return [_declared_error(code) for code in sorted({cls.code for cls in error_classes()})]


class LoaderInterface(VarlinkInterface, name=INTERFACE):
    """The loader of XDP and tc BPF programs. Every error has a message for people; its name is for programs."""

    errors = _declared_errors()

    def __init__(self, service: Loader) -> None:
        self._service = service

    @varlinkmethod(return_parameter="status", return_type=wire.Status)
    async def Status(self) -> Any:
        """Tell how the daemon and every attachment stand; degraded when not all is as wanted."""
        return await _answer(self._service.status())

    @varlinkmethod(return_parameter="attachments", return_type=list[wire.Attachment])
    async def List(self) -> Any:
        """List the configured attachments: hook is xdp, tc-ingress or tc-egress; state is attached, detached, idle,
        waiting, foreign or failed. An entry for several interfaces has one for each, NAME@IFNAME.
        """
        return await _answer(self._service.list())

    @varlinkmethod(return_parameter="attachments", return_type=list[wire.Attachment], delay_generator=False)
    async def Monitor(self) -> AsyncIterator[Any]:
        """Answer with every attachment at once, and from then on with those that became others, for as long as the
        caller listens; to be called with `more`. An attachment that ends comes with the state gone. Whoever reads
        slowly misses states in between, and never the newest.
        """
        async with aclosing(self._service.monitor()) as states:
            async for changed in states:
                yield wire.to_wire(changed)

    @varlinkmethod(return_parameter="attachment", return_type=wire.Attachment)
    async def Attach(self, *, name: str, confirm: int | None = None) -> Any:
        """Attach a configured attachment now, after Detach or a failure. After confirm seconds that is undone, unless
        Confirm is called before; so it is with AttachObject and Detach.
        """
        return await _answer(self._service.attach(name, confirm=_seconds(confirm)))

    @varlinkmethod(return_parameter="attachment", return_type=wire.Attachment, allow_foreign=True)
    async def AttachObject(
        self,
        *,
        entry: Any,
        permanent: bool | None = None,
        force: bool | None = None,
        descriptor: FileDescriptor | None = None,
        program: FileDescriptor | None = None,
        confirm: int | None = None,
    ) -> Any:
        """Attach a program that no file configures: entry has the keys of one attachment of xdploaderd.yaml(5).
        Name and program may be left out: INTERFACE-HOOK, and the only program for the hook. The object is read at the
        path `object`, or from the open file whose index among the descriptors sent is `descriptor`; its bytes are kept
        then, and `object` only names them. The attachment lasts until Detach or reboot, and with permanent for good.
        With force a program of somebody else is replaced. With `program`, the index of an open BPF program, the program
        that runs there already is taken over as it is, if it is the object's.
        """
        if not isinstance(entry, dict):
            raise UsageError("entry is no object, wanted the keys of an attachment")
        request = AttachRequest(
            entry=entry,
            permanent=bool(permanent),
            force=bool(force),
            descriptor=None if descriptor is None else descriptor.fileno(),
            program=None if program is None else program.fileno(),
            confirm=_seconds(confirm),
        )
        return await _answer(self._service.attach_object(request))

    @varlinkmethod(return_parameter="attachment", return_type=wire.Attachment)
    async def Detach(self, *, name: str, permanent: bool | None = None, confirm: int | None = None) -> Any:
        """Detach our program and keep it off until Attach or reboot; one that AttachObject made is forgotten,
        and with permanent one that it made permanent.
        """
        return await _answer(self._service.detach(name, permanent=bool(permanent), confirm=_seconds(confirm)))

    @varlinkmethod(return_parameter="status", return_type=wire.Status)
    async def Reload(self, *, partial: bool | None = None, confirm: int | None = None) -> Any:
        """Read the configuration anew and carry it out as one change: where any of it cannot be, nothing is changed.
        With partial every entry is carried out by itself. After confirm seconds all is rolled back, unless Confirm
        is called before.
        """
        return await _answer(self._service.reload(partial=bool(partial), confirm=_seconds(confirm)))

    @varlinkmethod(return_parameter="status", return_type=wire.Status)
    async def Confirm(self) -> Any:
        """Let what waits to be confirmed stay in force."""
        return await _answer(self._service.confirm())

    @varlinkmethod(return_parameter="status", return_type=wire.Status)
    async def RollBack(self) -> Any:
        """Roll back now what waits to be confirmed."""
        return await _answer(self._service.roll_back())

    @varlinkmethod(return_parameter="status", return_type=wire.Status)
    async def Sweep(self, *, name: str | None = None) -> Any:
        """Detach and unpin now what is pinned as ours and no entry wants: one orphan of the status, or all but those
        on protected interfaces.
        """
        return await _answer(self._service.sweep(name or ""))

    @varlinkmethod(return_parameter="actions", return_type=list[wire.Action])
    async def Plan(self) -> Any:
        """Tell what Reload would do, and do nothing: action is attach, replace, detach, rename, repair, wait or refuse.
        A refusal that blocks keeps the whole configuration from being applied; what wants to be confirmed takes Reload
        with confirm. Of an object that is to be loaded there is told what becomes of its maps: action is create, reuse,
        keep, share, recreate, migrate or refuse, entries is how many one is made with, lost how many go with the
        map that it takes the place of. What the verifier will say is not known.
        """
        return await _answer(self._service.plan())

    @varlinkmethod(return_parameter="maps", return_type=list[wire.MapOf])
    async def Maps(self, *, name: str) -> Any:
        """List the maps of the program that an attachment has in force, with their pins."""
        return await _answer(self._service.maps(name))

    @varlinkmethod(return_parameter="descriptor", return_type=FileDescriptor)
    async def OpenMap(self, *, name: str, map: str, write: bool | None = None) -> Any:
        """Open a map of the program that an attachment has in force, by its name or id; descriptor is the index of the
        one that is sent along. Without write the map can only be read by it.
        """
        return FileDescriptor(await _answer(self._service.open_map(name, map, write=bool(write))), should_close=True)

    @varlinkmethod(return_parameter="core_log", return_type=list[Any], allow_foreign=True)
    async def CoreLog(self, *, name: str) -> Any:
        """Tell how each CO-RE relocation of an attachment's program came about, as core-log.schema.json has it."""
        return await _answer(self._service.core_log(name))


def _seconds(confirm: int | None) -> int:
    """Return the seconds to confirm in. JSON's true, which Python counts as 1, is no number of them."""
    if isinstance(confirm, bool):
        raise UsageError("confirm is true or false, want seconds")
    return confirm or 0


async def _answer(value: Awaitable[Any]) -> Any:
    try:
        return wire.to_wire(await value)
    except asyncio.CancelledError:
        raise LoaderError("the daemon stops") from None  # the call's own task is cancelled by nobody else
