"""The directories of attachments below ROOT/xdploaderd: NAME, or NAME@IFNAME with %XX for what bpffs may refuse.

bpffs has no names with a dot (kernel/bpf/inode.c, bpf_lookup), and interfaces do.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

# Of an attachment: 15 bytes of an interface, each shown as \\xNN at worst.
NAME: Final = re.compile(r"[a-z0-9-]{1,63}(@.{1,60})?", re.DOTALL)
_PLAIN: Final = re.compile(rb"[A-Za-z0-9_:@-]")


def file_name(name: str) -> str:
    """Return the directory of an attachment: its name, with the bytes of interfaces that bpffs may refuse as %XX."""
    raw = (bytes((byte,)) for byte in name.encode(errors="surrogateescape"))
    return "".join(byte.decode() if _PLAIN.match(byte) else f"%{byte[0]:02x}" for byte in raw)


def pin_name(map_name: str) -> str:
    """Return what a map is pinned as beside a program."""
    return map_name.replace(".", "_")


def name_in(directory: str) -> str | None:
    """Return the attachment that has this directory; None where the name is none that file_name() gives."""
    name = unquote_to_bytes(directory).decode(errors="surrogateescape")
    return name if NAME.fullmatch(name) and file_name(name) == directory else None
