"""Error hierarchy: a stable code, an exit status, data fields and the place, outermost first.

    LoaderError                     Failed                exit 70
    ├─ UsageError                   Usage                 64
    │  └─ OverrideError             OverrideRefused
    ├─ ConfigError                  InvalidConfig         78
    ├─ FileError                    FileUnreadable        66
    ├─ ObjectError                  InvalidObject         65
    │  ├─ WrongDialectError         WrongDialect          (leads to the other reader)
    │  ├─ BtfError                  InvalidBtf
    │  ├─ NoBtfError                NoBtf
    │  ├─ NoSuchProgramError        NoSuchProgram
    │  └─ LimitError                LimitExceeded
    ├─ RelocationError              RelocationFailed      65
    │  ├─ CoreRelocationError       CoreRelocationFailed
    │  └─ UnknownFactError          FactUnknown           (the kernel's file is not at hand)
    ├─ KernelError                  KernelRefused         71
    │  └─ VerifierError             VerifierRejected
    ├─ FeatureMissingError          NotSupportedByKernel  69
    ├─ PinError                     PinFailed             73
    │  └─ PinMismatchError          PinMismatch
    ├─ AttachError                  AttachFailed          71
    │  ├─ NoSuchInterfaceError      NoSuchInterface       66
    │  ├─ HookBusyError             HookBusy              75
    │  ├─ LinkChangedError          LinkChanged           75    (EPERM: another program is behind the link)
    │  ├─ LinkGoneError             LinkGone              71    (ENOLINK: detached, or its interface is gone)
    │  ├─ StaleOrderError           StaleOrder            75    (ESTALE: others changed the hook meanwhile)
    │  └─ GapNeededError            GapNeeded             71
    ├─ NoSuchAttachmentError        NoSuchAttachment      66
    ├─ NoCoreLogError               NoCoreLog             66
    ├─ NoSuchMapError               NoSuchMap             66
    ├─ NoSuchEntryError             NoSuchEntry           66
    ├─ NotAuthorizedError           NotAuthorized         77
    ├─ LockedError                  Locked                75
    └─ UnreachableError             DaemonUnreachable     69

The code is part of the interface: Varlink `org.xdploaderd.Loader.<code>`, D-Bus `org.xdploaderd1.Error.<code>`,
journal field ERROR_CODE, `code` in --json output.
"""

from __future__ import annotations

import errno as errno_module

TYPE_CHECKING = False  # these take longer to import than all that a command does with this module
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import ClassVar

_OBJECT = "object "  # how places begin that name an object file
JsonField = str | int | bool | None | list[str]


class LoaderError(Exception):
    """What the user is told: what is wrong, then what was wanted; `place` says where, outermost first."""

    code: ClassVar[str] = "Failed"
    exit_status: ClassVar[int] = 70

    def __init__(self, message: str, *, fields: Mapping[str, JsonField] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.place: tuple[str, ...] = ()
        self.fields: dict[str, JsonField] = dict(fields or {})

    def __str__(self) -> str:
        return ": ".join((*self.place, self.message))

    def to_json(self) -> dict[str, JsonField]:
        """Return the error as one flat object: code, message (with its place) and the data fields."""
        return {"code": self.code, "message": str(self), **self.fields}


class UsageError(LoaderError):
    """The request itself makes no sense: an argument is missing, doubled or contradicts another."""

    code = "Usage"
    exit_status = 64


class OverrideError(UsageError):
    """An object cannot take what is set in it: no such variable or map (`near`: names like it), or no such value."""

    code = "OverrideRefused"

    def __init__(self, message: str, *, near: Sequence[str] = ()) -> None:
        super().__init__(message, fields={"near": list(near)})


class ConfigError(LoaderError):
    """A configuration text is refused; the place is FILE:LINE:COLUMN."""

    code = "InvalidConfig"
    exit_status = 78


class FileError(LoaderError):
    """A file named by the user cannot be read."""

    code = "FileUnreadable"
    exit_status = 66


class ObjectError(LoaderError):
    """An object file is not one that can be loaded."""

    code = "InvalidObject"
    exit_status = 65


class WrongDialectError(ObjectError):
    """This reader does not take objects of that dialect; the other reader may."""

    code = "WrongDialect"


class BtfError(ObjectError):
    """BTF or .BTF.ext bytes are malformed."""

    code = "InvalidBtf"


class NoBtfError(ObjectError):
    """A kernel's file is what it should be, but holds no BTF: that kernel was built without."""

    code = "NoBtf"


class NoSuchProgramError(ObjectError):
    """The object has no program of that name or section."""

    code = "NoSuchProgram"


class LimitError(ObjectError):
    """An object asks for more than the configured limits allow."""

    code = "LimitExceeded"


class RelocationError(LoaderError):
    """An ELF relocation cannot be applied."""

    code = "RelocationFailed"
    exit_status = 65


class CoreRelocationError(RelocationError):
    """A CO-RE relocation is malformed, ambiguous or cannot be written into its instruction."""

    code = "CoreRelocationFailed"


class UnknownFactError(RelocationError):
    """A value depends on a fact of the kernel that nobody here knows: its configuration, symbols or version."""

    code = "FactUnknown"


class KernelError(LoaderError):
    """A system call was refused: `operation` (such as BPF_MAP_CREATE) and `errno`."""

    code = "KernelRefused"
    exit_status = 71

    def __init__(self, message: str, *, operation: str, errno: int) -> None:
        name = errno_module.errorcode.get(errno, str(errno))
        super().__init__(f"{message} ({operation}: {name})", fields={"operation": operation, "errno": name})
        self.operation = operation
        self.errno = errno


class VerifierError(KernelError):
    """The verifier refused a program; `log` is its whole text, one string a line."""

    code = "VerifierRejected"

    def __init__(self, message: str, *, errno: int, log: Sequence[str]) -> None:
        super().__init__(message, operation="BPF_PROG_LOAD", errno=errno)
        self.log = tuple(log)
        self.fields["log"] = list(log)


class FeatureMissingError(LoaderError):
    """The running kernel is too old, or built without what is asked for; `feature`, and `since`: its first release."""

    code = "NotSupportedByKernel"
    exit_status = 69

    def __init__(self, message: str, *, feature: str, since: str = "") -> None:
        super().__init__(message, fields={"feature": feature, "since": since})
        self.feature = feature


class PinError(LoaderError):
    """A pin path cannot be used: not on a BPF file system, of a foreign kind, not permitted."""

    code = "PinFailed"
    exit_status = 73


class PinMismatchError(PinError):
    """A pinned map differs from the object's; `differences` has one line for each field: wanted, found."""

    code = "PinMismatch"

    def __init__(self, message: str, *, path: str, differences: Sequence[str]) -> None:
        super().__init__(message, fields={"path": path, "differences": list(differences)})
        self.differences = tuple(differences)


class AttachError(LoaderError):
    """The kernel refused to attach or detach; the message carries its extack text.

    `errno` is 0 and `extack` empty where the refusal is our own.
    """

    code = "AttachFailed"
    exit_status = 71

    def __init__(
        self, message: str, *, errno: int = 0, extack: str = "", fields: Mapping[str, JsonField] | None = None
    ) -> None:
        kernel = {"errno": errno_module.errorcode.get(errno, str(errno)), "extack": extack} if errno else {}
        super().__init__(message, fields={**kernel, **(fields or {})})
        self.errno = errno
        self.extack = extack


class NoSuchInterfaceError(AttachError):
    """No interface of that name in this network namespace."""

    code = "NoSuchInterface"
    exit_status = 66


class HookBusyError(AttachError):
    """Somebody else's program is on the hook; `prog_id` and `prog_name` say whose."""

    code = "HookBusy"
    exit_status = 75

    def __init__(self, message: str, *, prog_id: int, prog_name: str, errno: int = 0, extack: str = "") -> None:
        busy: dict[str, JsonField] = {"prog_id": prog_id, "prog_name": prog_name}
        super().__init__(message, errno=errno, extack=extack, fields=busy)
        self.prog_id = prog_id
        self.prog_name = prog_name


class LinkChangedError(AttachError):
    """A bpf_link holds another program than the one to be replaced or taken off."""

    code = "LinkChanged"
    exit_status = 75


class LinkGoneError(AttachError):
    """A bpf_link is dead: somebody detached it, or its interface is gone."""

    code = "LinkGone"


class StaleOrderError(AttachError):
    """Others changed the programs of a TCX hook each time that ours was about to be put among them."""

    code = "StaleOrder"
    exit_status = 75


class GapNeededError(AttachError):
    """The kernel cannot make the change without a moment with no program, and the entry does not allow that."""

    code = "GapNeeded"


class NoSuchAttachmentError(LoaderError):
    """No attachment of that name is configured."""

    code = "NoSuchAttachment"
    exit_status = 66


class NoSuchMapError(LoaderError):
    """A program has no map of that name, or none that may be opened."""

    code = "NoSuchMap"
    exit_status = 66


class NoSuchEntryError(LoaderError):
    """A map has no entry with that key."""

    code = "NoSuchEntry"
    exit_status = 66


class NoCoreLogError(LoaderError):
    """The daemon has no CO-RE record of a program."""

    code = "NoCoreLog"
    exit_status = 66


class NotAuthorizedError(LoaderError):
    """The caller may not do that."""

    code = "NotAuthorized"
    exit_status = 77


class LockedError(LoaderError):
    """Another daemon or a direct attach holds the lock."""

    code = "Locked"
    exit_status = 75


class UnreachableError(LoaderError):
    """No daemon answers on the control socket."""

    code = "DaemonUnreachable"
    exit_status = 69


class error_context:
    """Put `place` in front of every LoaderError that leaves the block, so that inner code need not know where it is.

    A place that takes work to describe is given as a function, called only when there is an error. A class, not a
    generator: blocks are entered for every record of an object, and a generator costs ten times as much.
    """

    __slots__ = ("_place",)

    def __init__(self, place: str | Callable[[], str]) -> None:
        self._place = place

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, LoaderError):
            place = self._place if isinstance(self._place, str) else self._place()
            inner = error.place
            if place.startswith(_OBJECT) and inner and inner[0].startswith(_OBJECT):
                inner = inner[1:]  # an object is named once, by whoever knows most of where it is
            error.place = (place, *inner)
