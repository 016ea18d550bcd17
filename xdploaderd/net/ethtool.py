"""The driver of an interface, as `ethtool -i` tells it; netlink does not.

Mirrors include/uapi/linux/ethtool.h (ETHTOOL_GDRVINFO, struct ethtool_drvinfo) and sockios.h. Any socket takes the
ioctl, so the netlink one that is open anyhow does.
"""

import array
import fcntl
import socket
import struct

_SIOCETHTOOL, _ETHTOOL_GDRVINFO = 0x8946, 3
_DRVINFO_BYTES = 196
_DRIVER = slice(4, 36)
_IFREQ = struct.Struct("=16sQ16x")  # ifr_name, ifr_data; struct ifreq has 40 bytes on 64 bit machines
_IFNAMSIZ = 16


def driver_of(channel: socket.socket, name: str) -> str:
    """Return the driver's name, '' where the interface is gone or tells none."""
    raw = name.encode(errors="surrogateescape")
    if len(raw) >= _IFNAMSIZ:
        return ""
    info = array.array("B", struct.pack("=I", _ETHTOOL_GDRVINFO) + bytes(_DRVINFO_BYTES - 4))
    address, _ = info.buffer_info()
    try:
        fcntl.ioctl(channel, _SIOCETHTOOL, _IFREQ.pack(raw, address))
    except OSError:
        return ""
    return info.tobytes()[_DRIVER].split(b"\0", 1)[0].decode(errors="backslashreplace")
