"""What G3 lets fail: the errnos of each kind of call, and the cases that come of them."""

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.campaigns.errno_operations import MORE, OPERATIONS, Operation
from tests.campaigns.seams import Call

ALL: Mapping[str, Operation] = {**OPERATIONS, **MORE}
_COMMON = (errno.EPERM, errno.ENOMEM, errno.EINTR)
_FILE = (errno.EIO, errno.ENOSPC, errno.EROFS)
# What else each call may end with. Not here is what would be a lie about the world: ENOENT for a pin that is there,
# ENODEV for an interface that is there.
ERRNOS: Mapping[str, Sequence[int]] = {
    "bpf MAP_CREATE": (errno.EINVAL, errno.E2BIG, errno.EMFILE),
    "bpf PROG_LOAD": (errno.EINVAL, errno.E2BIG, errno.EAGAIN, errno.EACCES, errno.EMFILE, errno.ENOSPC),
    "bpf BTF_LOAD": (errno.EINVAL, errno.E2BIG, errno.EMFILE),
    "bpf OBJ_PIN": (errno.EEXIST, errno.EINVAL, errno.EIO, errno.ENOSPC),
    "bpf OBJ_GET": (errno.EACCES, errno.EMFILE, errno.EIO),
    "bpf MAP_UPDATE_ELEM": (errno.E2BIG, errno.EBUSY, errno.EINVAL),
    "bpf MAP_UPDATE_BATCH": (errno.E2BIG, errno.EBUSY),
    "bpf LINK_CREATE": (errno.EINVAL, errno.EBUSY, errno.EEXIST, errno.ENODEV, errno.EOPNOTSUPP, errno.ENOSPC),
    "bpf LINK_UPDATE": (errno.EINVAL, errno.EBUSY, errno.ENOLINK),
    "bpf LINK_DETACH": (errno.EINVAL, errno.EBUSY),
    "bpf MAP_FREEZE": (errno.EBUSY,),
    "rtnl link-set": (errno.EBUSY, errno.EEXIST, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSPC),
    "rtnl clsact-add": (errno.EBUSY, errno.EINVAL, errno.ENODEV),
    "rtnl clsact-del": (errno.EBUSY, errno.EINVAL),
    "rtnl add-filter": (errno.EEXIST, errno.EINVAL, errno.ENOSPC, errno.EBUSY, errno.EAGAIN),
    "rtnl replace-filter": (errno.EINVAL, errno.ENOSPC, errno.EBUSY, errno.EAGAIN),
    "rtnl del-filter": (errno.EINVAL, errno.EBUSY),
    "ask RTM_GETLINK": (errno.ENOBUFS,),
    "ask RTM_GETQDISC": (errno.ENOBUFS,),
    "ask RTM_GETTFILTER": (errno.ENOBUFS,),
    **{f"file {name}": _FILE for name in ("mkdir", "rmdir", "rename", "replace", "unlink", "fsync", "chmod")},
    "file open": (*_FILE, errno.EMFILE),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One errno of one call of an operation."""

    operation: str
    call: Call
    code: int

    @property
    def failure(self) -> str:
        """What fails, and how."""
        return f"{self.call} with {errno.errorcode[self.code]}"

    def __str__(self) -> str:
        return f"{self.operation}: {self.failure}"


def codes_of(call: Call, operation: Operation) -> Sequence[int]:
    """Return the errnos that a call of the operation is to fail with."""
    if call.kind == "bpf OBJ_GET" and operation.others:
        return errno.ENOMEM, errno.EINTR, errno.EMFILE, errno.EIO
    if call.kind.startswith("bpf"):
        return *_COMMON, *ERRNOS.get(call.kind, (errno.EINVAL,))
    return *_COMMON[:2], *ERRNOS[call.kind]
