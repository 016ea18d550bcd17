"""The netlink message that changes an XDP slot, for each mode."""

import struct

import pytest

from xdploaderd.front import links
from xdploaderd.hooks import XdpMode
from xdploaderd.info import Interface
from xdploaderd.uapi.bpf import Ifindex


@pytest.mark.parametrize(
    ("mode", "flags"),
    [(XdpMode.UNSPECIFIED, 1), (XdpMode.SKB, 3), (XdpMode.NATIVE, 5), (XdpMode.OFFLOAD, 9)],
)
@pytest.mark.parametrize("force", [False, True])
def test_flags_are_those_of_ip(monkeypatch: pytest.MonkeyPatch, mode: XdpMode, flags: int, force: bool) -> None:
    sent: list[tuple[int, bytes]] = []
    monkeypatch.setattr(links, "request", lambda kind, payload: sent.append((kind, payload)))
    links.set_xdp(Interface(index=Ifindex(7), name="eth0"), 5, mode, force=force)
    ((kind, payload),) = sent
    wanted = flags & ~1 if force else flags
    fd = struct.pack("=HHi", 8, 1, 5)
    attrs = fd + (struct.pack("=HHI", 8, 3, wanted) if wanted else b"")
    assert kind == 16
    assert payload == struct.pack("=BxHiII", 0, 0, 7, 0, 0) + struct.pack("=HH", 4 + len(attrs), 43) + attrs
