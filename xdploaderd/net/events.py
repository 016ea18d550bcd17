"""A netlink socket of its own for events: which interface changed, in its links or in the filters of its clsact.

Only a message's kind, interface and parent are read, so that a storm of changes costs little; whoever is told reads the
rest anew. Mirrors include/uapi/linux/rtnetlink.h (RTNLGRP_*) and net/sched/cls_api.c.
"""

import asyncio
import errno
import socket
import struct
from collections.abc import AsyncGenerator, Iterator
from typing import Final

from xdploaderd.errors import AttachError
from xdploaderd.net.door import RESYNC
from xdploaderd.net.messages import RTM_NEWLINK, RTM_NEWQDISC, RTM_NEWTFILTER, parse_messages
from xdploaderd.uapi.bpf import Ifindex

RTM_DELLINK, RTM_DELQDISC, RTM_DELTFILTER = 17, 37, 45
GROUPS: Final = 1 << 0 | 1 << 3  # RTNLGRP_LINK, RTNLGRP_TC
BUFFER_BYTES: Final = 2 << 20  # some thousand events
_SO_RCVBUFFORCE = 33
_RECV_BYTES = 1 << 16
_LINKS = frozenset({RTM_NEWLINK, RTM_DELLINK})
_TC = frozenset({RTM_NEWQDISC, RTM_DELQDISC, RTM_NEWTFILTER, RTM_DELTFILTER})
_HEAD = struct.Struct("=4xi")  # ifinfomsg and tcmsg have the interface at the same place
_PARENT = struct.Struct("=12xI")
_INGRESS_MAJOR, _ROOT = 0xFFFF0000, 0xFFFFFFFF  # of clsact and ingress; TC_H_ROOT


async def interface_events() -> AsyncGenerator[Ifindex, None]:
    """Yield the index of each interface that something happened to; RESYNC first, and when events were lost (ENOBUFS).

    Raises AttachError when the socket fails otherwise.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as events:
        events.setblocking(False)
        widen(events)
        events.bind((0, GROUPS))
        yield RESYNC
        while True:
            try:
                data = await asyncio.get_running_loop().sock_recv(events, _RECV_BYTES)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise AttachError(f"no more events of interfaces: {error}", errno=error.errno or 0) from error
                yield RESYNC
                continue
            for index in _indexes(data):
                yield index
            await asyncio.sleep(0)  # in a storm there is always something to read: let the others have their turn


def _indexes(data: bytes) -> Iterator[Ifindex]:
    """Yield the interfaces of one datagram, each once."""
    seen: set[int] = set()
    for message in parse_messages(data):
        if len(message.payload) < _HEAD.size or not _matters(message.type, message.payload):
            continue
        (index,) = _HEAD.unpack_from(message.payload)
        if index not in seen:
            seen.add(index)
            yield Ifindex(index)


def _matters(kind: int, payload: memoryview) -> bool:
    if kind in _LINKS:
        return True
    if kind not in _TC or len(payload) < _PARENT.size:
        return False
    (parent,) = _PARENT.unpack_from(payload)
    return bool(_INGRESS_MAJOR <= parent < _ROOT)


def widen(events: socket.socket) -> None:
    """Ask for a large buffer, past the system's limit where CAP_NET_ADMIN allows it."""
    try:
        events.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, BUFFER_BYTES)
    except OSError:
        events.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
