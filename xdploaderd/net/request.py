"""Blocking rtnetlink requests for commands that make a few and end: no event loop, no decoder.

Mirrors rtnl_talk of iproute2 lib/libnetlink.c, with strict checking and extended errors.
"""

import os
import socket
from contextlib import closing

from xdploaderd.errors import AttachError
from xdploaderd.net import messages
from xdploaderd.net.messages import Message

_SOL_NETLINK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK = 270, 11, 12
_RECV_BYTES = 65536  # the kernel's dumps come in pieces of at most 32 KiB
_SEQ = 1


def open_socket() -> socket.socket:
    """Return a bound rtnetlink socket of the thread's network namespace; the caller closes it."""
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    try:
        opened.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        opened.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)
        opened.bind((0, 0))
    except BaseException:
        opened.close()
        raise
    return opened


def raise_for_error(message: Message) -> None:
    """Raise AttachError for a message that tells of a failure; an acknowledgement is none."""
    if message.type not in (messages.NLMSG_ERROR, messages.NLMSG_DONE):
        return
    if errno := messages.parse_error(message.payload):
        extack = messages.parse_extack(message)
        raise AttachError(f"netlink request refused: {extack or os.strerror(errno)}", errno=errno, extack=extack)


def request(kind: int, payload: bytes, flags: int = 0) -> list[Message]:
    """Send one request, acknowledged, and return what answers it. Raises AttachError with errno and kernel's text."""
    return _exchange(kind, flags | messages.NLM_F_ACK, payload)


def dump(kind: int, payload: bytes) -> list[Message]:
    """Return all messages of a dump. Raises AttachError."""
    return _exchange(kind, messages.NLM_F_DUMP, payload)


def _exchange(kind: int, flags: int, payload: bytes) -> list[Message]:
    found: list[Message] = []
    with closing(open_socket()) as channel:
        channel.send(messages.pack_message(kind, flags, _SEQ, payload))
        while True:
            for message in messages.parse_messages(channel.recv(_RECV_BYTES)):
                raise_for_error(message)
                if message.type in (messages.NLMSG_ERROR, messages.NLMSG_DONE):
                    return found
                found.append(message)
