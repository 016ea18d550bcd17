"""Interfaces by name, and changes of their XDP slots, as `ip` asks for them."""

import errno

from xdploaderd.errors import AttachError, NoSuchInterfaceError
from xdploaderd.hooks import XdpMode
from xdploaderd.info import Interface
from xdploaderd.net import messages
from xdploaderd.net.request import request
from xdploaderd.net.xdp import MODE_FLAGS
from xdploaderd.printable import quoted


def find_interface(name: str) -> Interface:
    """Return the interface of that name or alternative name in this network namespace. Raises NoSuchInterfaceError."""
    try:
        answers = request(messages.RTM_GETLINK, messages.pack_link_get(name=name))
    except AttachError as error:
        if error.errno == errno.ENODEV:
            raise NoSuchInterfaceError(f"no interface {quoted(name)}", fields={"interface": name}) from error
        raise
    return messages.parse_link(answers[0].payload)


def set_xdp(interface: Interface, fd: int, mode: XdpMode, *, force: bool) -> None:
    """Put a program into the slot of a mode, or with -1 empty it; a taken slot is left alone unless `force`.

    Raises AttachError with errno and the kernel's text.
    """
    flags = MODE_FLAGS[mode] | (0 if force else messages.XDP_FLAGS_UPDATE_IF_NOEXIST)
    try:
        request(messages.RTM_NEWLINK, messages.pack_xdp_set(interface.index, fd, flags))
    except AttachError as error:
        error.message = f"xdp hook of {quoted(interface.name)}: {error.message}"
        raise
