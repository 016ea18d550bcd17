"""Which interfaces went since the last look: a netlink socket that takes RTM_DELLINK alone, and is read when asked.

An interface may be back before anybody looks, and with the index that it had: the kernel gives it again to one that
returns from another network namespace, without its filters, and to one that is made with an index of choice.
Mirrors net/core/dev.c (__dev_change_net_namespace) and include/uapi/linux/filter.h.
"""

import errno
import socket
import struct
from array import array
from collections.abc import Iterator
from typing import Final

from xdploaderd.net.door import RESYNC
from xdploaderd.net.events import RTM_DELLINK, widen
from xdploaderd.net.messages import parse_messages
from xdploaderd.uapi.bpf import Ifindex

_LINKS: Final = 1 << 0  # RTNLGRP_LINK
_SO_ATTACH_FILTER = 26
_RECV_BYTES = 1 << 16
_HEAD = struct.Struct("=4xi")  # ifinfomsg
_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter: code, jump if true, jump if false, operand
_LOAD_HALF, _LOAD_BYTE, _JUMP_EQUAL, _RETURN = 0x28, 0x30, 0x15, 0x06
_TYPE_AT, _FAMILY_AT = 4, 16  # nlmsg_type, ifi_family; a bridge tells of its ports as AF_BRIDGE
_AS_LOADED = int.from_bytes(struct.pack("=H", RTM_DELLINK))  # classic BPF loads big-endian
_FILTER: Final = (
    (_LOAD_HALF, 0, 0, _TYPE_AT),
    (_JUMP_EQUAL, 0, 3, _AS_LOADED),
    (_LOAD_BYTE, 0, 0, _FAMILY_AT),
    (_JUMP_EQUAL, 0, 1, socket.AF_UNSPEC),
    (_RETURN, 0, 0, 0xFFFFFFFF),
    (_RETURN, 0, 0, 0),
)


class Departures:
    """Owns its socket, which belongs to the namespace of the thread that opened it. Raises OSError when it is made."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        try:
            self._socket.setblocking(False)
            _attach_filter(self._socket)
            widen(self._socket)
            self._socket.bind((0, _LINKS))
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        """Close the socket; a second call does nothing."""
        self._socket.close()

    def take(self) -> frozenset[Ifindex]:
        """Return the indexes of the interfaces that went since the last call; RESYNC among them: maybe any other too.

        Whoever reads the interfaces first, and calls this then, knows of every one that went before.
        """
        return frozenset(self._indexes())

    def _indexes(self) -> Iterator[Ifindex]:
        while True:
            try:
                data = self._socket.recv(_RECV_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                yield RESYNC
                if error.errno != errno.ENOBUFS:
                    return
                continue
            for message in parse_messages(data):
                if message.type == RTM_DELLINK and len(message.payload) >= _HEAD.size:
                    (index,) = _HEAD.unpack_from(message.payload)
                    yield Ifindex(index)


def _attach_filter(events: socket.socket) -> None:
    code = array("B", b"".join(_INSTRUCTION.pack(*instruction) for instruction in _FILTER))
    events.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(_FILTER), code.buffer_info()[0]))
