"""Hooks of an interface and the modes of XDP: the words of the configuration, the command line and the API."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class OnForeign(StrEnum):
    """What is done when somebody else takes our program off its hook, or puts another in its place."""

    REPORT = "report"
    RESTORE = "restore"
    YIELD = "yield"


class MapSharing(StrEnum):
    """Whether entries that name one program get the very same program, with its maps, or each its own."""

    SHARED = "shared"
    PER_INTERFACE = "per-interface"


class AttachKind(StrEnum):
    """How a program is put on a hook: what every other tool can see and change, or a pinned bpf_link."""

    NETLINK = "netlink"
    LINK = "link"


class Where(StrEnum):
    """Where among the programs of a TCX hook one runs, by itself or beside another."""

    FIRST = "first"
    LAST = "last"
    BEFORE = "before"
    AFTER = "after"


class OnMismatch(StrEnum):
    """What is done when a pinned map differs from the object's."""

    REFUSE = "refuse"
    RECREATE = "recreate"  # a new map, empty, takes the pin over
    MIGRATE = "migrate"  # likewise, with a copy of the entries


ETH_P_ALL: Final = 0x0003
# Names that tc(8) has for protocols (include/uapi/linux/if_ether.h); any other is written as a number.
PROTOCOLS: Final[Mapping[str, int]] = {
    "all": ETH_P_ALL,
    "ip": 0x0800,
    "arp": 0x0806,
    "802.1q": 0x8100,
    "ipv6": 0x86DD,
    "mpls_uc": 0x8847,
    "mpls_mc": 0x8848,
    "ppp_disc": 0x8863,
    "ppp_ses": 0x8864,
    "802.1ad": 0x88A8,
    "lldp": 0x88CC,
}


def protocol_name(number: int) -> str:
    """Return a protocol as it is written in an entry."""
    return next((name for name, known in PROTOCOLS.items() if known == number), f"{number:#06x}")


class Hook(StrEnum):
    """Where on an interface a program runs."""

    XDP = "xdp"
    TC_INGRESS = "tc-ingress"
    TC_EGRESS = "tc-egress"


class XdpMode(StrEnum):
    """How XDP is run; UNSPECIFIED lets the kernel choose (native where the driver can, else skb)."""

    NATIVE = "native"
    SKB = "skb"
    OFFLOAD = "offload"
    UNSPECIFIED = "unspecified"
