"""Which features a device has switched on, such as LRO, which some drivers do not run beside XDP.

Mirrors ETHTOOL_GFEATURES of include/uapi/linux/ethtool.h; rtnetlink tells that they changed, and not which they are.
"""

import array
import fcntl
import socket
import struct
import sys

_SIOCETHTOOL, _ETHTOOL_GFEATURES = 0x8946, 0x3A
_BLOCKS = 4  # of 32 features each; the kernel has two, and tells of no more than are asked for
_HEAD = struct.Struct("=II")
_BLOCK = struct.Struct("=IIII")  # available, requested, active, never_changed
_IFREQ = struct.Struct("16sP16x")


def active_features(name: str) -> str:
    """Return the active features of an interface as hex digits; empty where they cannot be told."""
    buffer = array.array("B", _HEAD.pack(_ETHTOOL_GFEATURES, _BLOCKS) + bytes(_BLOCKS * _BLOCK.size))
    address, _ = buffer.buffer_info()
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asker:
            fcntl.ioctl(asker, _SIOCETHTOOL, _IFREQ.pack(name.encode(errors="surrogateescape"), address))
    except OSError:
        return ""
    _, count = _HEAD.unpack_from(buffer)
    blocks = [_BLOCK.unpack_from(buffer, _HEAD.size + number * _BLOCK.size) for number in range(min(count, _BLOCKS))]
    active = b"".join(block[2].to_bytes(4, sys.byteorder) for block in blocks)
    return f"{int.from_bytes(active, sys.byteorder):x}"
