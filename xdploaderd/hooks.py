"""Hooks of an interface and the modes of XDP: the words of the configuration, the command line and the API."""

from enum import StrEnum


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
