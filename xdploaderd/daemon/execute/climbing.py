"""Attach in the best of several XDP modes that the driver takes: the kernel has no other way to ask."""

import errno
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from xdploaderd.daemon.plan.rungs import Put
from xdploaderd.daemon.plan.world import Place
from xdploaderd.errors import AttachError, HookBusyError, NoSuchInterfaceError

# These say nothing of the mode: another one would fare no better, or the way is only blocked.
_NOT_THE_MODE: Final = frozenset({errno.EPERM, errno.EACCES, errno.ENOMEM, errno.EBUSY, errno.EEXIST, errno.EBADF})


async def climb_down(place: Place, attach: Callable[[Place], Awaitable[None]]) -> Put:
    """Attach in the first of the place's modes that the driver takes. Raises as `attach` does for the last of them."""
    rungs, refused = place.rungs or (place.mode,), []
    for rung in rungs[:-1]:
        try:
            await attach(replace(place, mode=rung))
        except AttachError as error:
            if isinstance(error, HookBusyError | NoSuchInterfaceError) or error.errno in _NOT_THE_MODE:
                raise
            text = error.extack or os.strerror(error.errno).lower()
            refused.append(f"{rung} mode was refused with {place.conditions.partition(',')[0]}: {text}")
        else:
            return Put(refused="; ".join(refused), mode=rung)
    await attach(replace(place, mode=rungs[-1]))
    return Put(refused="; ".join(refused), mode=rungs[-1])
