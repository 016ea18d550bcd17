"""Rtnetlink messages as bytes: requests packed, links, filters and errors unpacked.

Mirrors include/uapi/linux/netlink.h, rtnetlink.h, if_link.h and pkt_cls.h. A dump of all links takes a thirtieth of the
time of a decoder that builds every attribute, because only what Interface holds is read here.
"""

import struct
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from xdploaderd.hooks import Hook, XdpMode
from xdploaderd.info import Interface, TcFilter
from xdploaderd.uapi.bpf import Ifindex, ProgId

NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWLINK, RTM_GETLINK = 16, 18
RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC = 36, 37, 38
RTM_NEWTFILTER, RTM_DELTFILTER, RTM_GETTFILTER = 44, 45, 46
NLM_F_REQUEST, NLM_F_ACK, NLM_F_ECHO, NLM_F_DUMP_INTR, NLM_F_DUMP = 0x1, 0x4, 0x8, 0x10, 0x300
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400  # of requests that make something

XDP_FLAGS_UPDATE_IF_NOEXIST = 0x1
XDP_FLAGS_SKB_MODE, XDP_FLAGS_DRV_MODE, XDP_FLAGS_HW_MODE, XDP_FLAGS_REPLACE = 0x2, 0x4, 0x8, 0x10
TC_H_INGRESS = 0xFFFFFFF1  # also TC_H_CLSACT
HOOK_PARENTS = {Hook.TC_INGRESS: 0xFFFFFFF2, Hook.TC_EGRESS: 0xFFFFFFF3}  # TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_*)

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_IFINFOMSG = struct.Struct("=BxHiII")
TCMSG = struct.Struct("=BxxxiIII")
_ATTR = struct.Struct("=HH")
_U32 = struct.Struct("=I")
_I32 = struct.Struct("=i")
_NLA_TYPE_MASK = 0x3FFF
_IFF_UP = 0x1
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINKINFO, _IFLA_EXT_MASK, _IFLA_XDP = 1, 3, 4, 18, 29, 43
_IFLA_PROP_LIST, _IFLA_ALT_IFNAME, _IFLA_INFO_KIND = 52, 53, 1
_LINK_ATTRS = frozenset({_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINKINFO, _IFLA_XDP, _IFLA_PROP_LIST})
_IFLA_XDP_FD, _IFLA_XDP_ATTACHED, _IFLA_XDP_FLAGS, _IFLA_XDP_PROG_ID = 1, 2, 3, 4
_XDP_SLOTS = {5: XdpMode.NATIVE, 6: XdpMode.SKB, 7: XdpMode.OFFLOAD}  # IFLA_XDP_{DRV,SKB,HW}_PROG_ID
_XDP_ATTACHED = {1: XdpMode.NATIVE, 2: XdpMode.SKB, 3: XdpMode.OFFLOAD}
_RTEXT_FILTER_SKIP_STATS = 0x8
_TCA_KIND, _TCA_OPTIONS = 1, 2
_TCA_BPF_CLASSID, _TCA_BPF_NAME, _TCA_BPF_FLAGS, _TCA_BPF_TAG, _TCA_BPF_ID = 3, 7, 8, 10, 11
_TCA_BPF_ACT, _TCA_BPF_POLICE, _TCA_BPF_FLAGS_GEN = 1, 2, 9
_TCA_BPF_FLAG_ACT_DIRECT = 0x1
_SKIP_FLAGS = 0x3  # TCA_CLS_FLAGS_SKIP_HW, TCA_CLS_FLAGS_SKIP_SW
_NLMSGERR_ATTR_MSG = 1
_IFNAMSIZ = 16


class Message(NamedTuple):
    """One netlink message without its header."""

    type: int
    flags: int
    seq: int
    payload: memoryview


def parse_messages(data: bytes) -> Iterator[Message]:
    """Split what one recv() returned; stops at a length that does not fit."""
    view = memoryview(data)
    while len(view) >= _HEADER.size:
        length, kind, flags, seq, _port = _HEADER.unpack_from(view)
        if not _HEADER.size <= length <= len(view):
            return
        yield Message(kind, flags, seq, view[_HEADER.size : length])
        view = view[_align(length) :]


def pack_message(kind: int, flags: int, seq: int, payload: bytes) -> bytes:
    """Put the header in front of a request's payload."""
    return _HEADER.pack(_HEADER.size + len(payload), kind, flags | NLM_F_REQUEST, seq, 0) + payload


def pack_link_dump() -> bytes:
    """RTM_GETLINK for all interfaces, without their counters."""
    return pack_link_get()


def pack_link_get(*, index: int = 0, name: str = "") -> bytes:
    """RTM_GETLINK for one interface, by index or by name; an alternative name may be longer than IFNAMSIZ."""
    payload = _IFINFOMSG.pack(0, 0, index, 0, 0) + pack_attr(_IFLA_EXT_MASK, _U32.pack(_RTEXT_FILTER_SKIP_STATS))
    if name:
        raw = name.encode(errors="surrogateescape") + b"\0"
        payload += pack_attr(_IFLA_IFNAME if len(raw) <= _IFNAMSIZ else _IFLA_ALT_IFNAME, raw)
    return payload


def pack_xdp_set(index: Ifindex, fd: int, flags: int) -> bytes:
    """RTM_NEWLINK as `ip` sends it: puts a program into an XDP slot, or with -1 takes off whatever is there."""
    attrs = pack_attr(_IFLA_XDP_FD, _I32.pack(fd)) + (pack_attr(_IFLA_XDP_FLAGS, _U32.pack(flags)) if flags else b"")
    return _IFINFOMSG.pack(0, 0, index, 0, 0) + pack_attr(_IFLA_XDP, attrs)


def pack_qdisc_get(index: Ifindex) -> bytes:
    """RTM_GETQDISC for whatever sits at the place that clsact and ingress share."""
    return TCMSG.pack(0, index, 0, TC_H_INGRESS, 0)


def pack_filter_dump(index: Ifindex, hook: Hook) -> bytes:
    """RTM_GETTFILTER for all filters of one direction of clsact."""
    return TCMSG.pack(0, index, 0, HOOK_PARENTS[hook], 0)


def parse_error(payload: memoryview) -> int:
    """Return the errno of NLMSG_ERROR or NLMSG_DONE; 0 is an acknowledgement."""
    return -int(_I32.unpack_from(payload)[0]) if len(payload) >= _I32.size else 0


def parse_extack(message: Message) -> str:
    """Return the kernel's text behind an error; empty where there is none."""
    if not message.flags & NLM_F_ACK_TLVS or len(message.payload) < 4 + _HEADER.size:
        return ""
    (original,) = struct.unpack_from("=I", message.payload, 4)
    skip = 4 + (_HEADER.size if message.flags & NLM_F_CAPPED else _align(original))
    return string_of(dict(attrs_of(message.payload, skip)).get(_NLMSGERR_ATTR_MSG, memoryview(b"")))


def parse_link(payload: memoryview) -> Interface:
    """Decode RTM_NEWLINK, as far as Interface goes."""
    _family, _type, index, flags, _change = _IFINFOMSG.unpack_from(payload)
    attrs = dict(attrs_of(payload, _IFINFOMSG.size, _LINK_ATTRS))
    nothing = memoryview(b"")
    return Interface(
        index=Ifindex(index),
        name=string_of(attrs.get(_IFLA_IFNAME, nothing)),
        mac=bytes(attrs.get(_IFLA_ADDRESS, nothing)).hex(":"),
        mtu=u32_of(attrs.get(_IFLA_MTU)),
        up=bool(flags & _IFF_UP),
        altnames=tuple(
            string_of(v) for kind, v in attrs_of(attrs.get(_IFLA_PROP_LIST, nothing)) if kind == _IFLA_ALT_IFNAME
        ),
        kind=string_of(dict(attrs_of(attrs.get(_IFLA_LINKINFO, nothing))).get(_IFLA_INFO_KIND, nothing)),
        xdp=_parse_xdp(attrs[_IFLA_XDP]) if _IFLA_XDP in attrs else (),
    )


@dataclass(frozen=True, slots=True)
class LinkMessage:
    """RTM_NEWLINK with all its attributes, for what Interface does not hold; `type` is the ARPHRD_ number."""

    index: int
    type: int
    flags: int
    attrs: Mapping[int, memoryview]
    payload: memoryview

    def number(self, kind: int) -> int:
        """Return an attribute of one or four bytes; 0 where there is none."""
        return int.from_bytes(self.attrs.get(kind, b"")[:4], sys.byteorder)

    def text(self, kind: int) -> str:
        """Return an attribute that is text; empty where there is none."""
        return string_of(self.attrs.get(kind, memoryview(b"")))


def parse_link_message(payload: memoryview) -> LinkMessage:
    """Take RTM_NEWLINK apart."""
    _family, kind, index, flags, _change = _IFINFOMSG.unpack_from(payload)
    return LinkMessage(index, kind, flags, dict(attrs_of(payload, _IFINFOMSG.size)), payload)


def _parse_xdp(nest: memoryview) -> tuple[tuple[XdpMode, ProgId], ...]:
    attrs = dict(attrs_of(nest))
    slots = tuple((mode, ProgId(u32_of(attrs[kind]))) for kind, mode in _XDP_SLOTS.items() if kind in attrs)
    attached = attrs.get(_IFLA_XDP_ATTACHED, b"\0")[0]
    if not slots and attached in _XDP_ATTACHED and _IFLA_XDP_PROG_ID in attrs:
        return ((_XDP_ATTACHED[attached], ProgId(u32_of(attrs[_IFLA_XDP_PROG_ID]))),)  # before Linux 4.19
    return slots


def parse_qdisc_kind(payload: memoryview) -> str:
    """Return the kind of an RTM_NEWQDISC, such as clsact or ingress."""
    return string_of(dict(attrs_of(payload, TCMSG.size)).get(_TCA_KIND, memoryview(b"")))


class FilterEntry(NamedTuple):
    """What every filter has, of whatever kind; `bpf` for cls_bpf."""

    kind: str
    handle: int
    bpf: TcFilter | None


def parse_filter(payload: memoryview, hook: Hook) -> FilterEntry:
    """Decode RTM_NEWTFILTER; each priority begins with an entry of handle 0 that is no filter."""
    _family, index, handle, _parent, info = TCMSG.unpack_from(payload)
    attrs = dict(attrs_of(payload, TCMSG.size))
    kind = string_of(attrs.get(_TCA_KIND, memoryview(b"")))
    if kind != "bpf" or handle == 0 or _TCA_OPTIONS not in attrs:
        return FilterEntry(kind, handle, None)
    options = dict(attrs_of(attrs[_TCA_OPTIONS]))
    bpf = TcFilter(
        ifindex=Ifindex(index),
        hook=hook,
        priority=info >> 16,
        handle=handle,
        protocol=struct.unpack(">H", struct.pack("=H", info & 0xFFFF))[0],
        prog_id=ProgId(u32_of(options[_TCA_BPF_ID])) if _TCA_BPF_ID in options else None,
        name=string_of(options.get(_TCA_BPF_NAME, memoryview(b""))),
        tag=bytes(options.get(_TCA_BPF_TAG, b"")).hex(),
        direct_action=bool(u32_of(options.get(_TCA_BPF_FLAGS)) & _TCA_BPF_FLAG_ACT_DIRECT),
        classid=u32_of(options.get(_TCA_BPF_CLASSID)),
        plain=_TCA_BPF_ACT not in options
        and _TCA_BPF_POLICE not in options
        and not u32_of(options.get(_TCA_BPF_FLAGS_GEN)) & _SKIP_FLAGS,
    )
    return FilterEntry(kind, handle, bpf)


def attrs_of(
    view: memoryview, start: int = 0, wanted: frozenset[int] | None = None
) -> Iterator[tuple[int, memoryview]]:
    """Yield the attributes from `start` on, or only the wanted ones: a link has fifty, of which six are read."""
    end = len(view)
    while end - start >= _ATTR.size:
        length, kind = _ATTR.unpack_from(view, start)
        if not _ATTR.size <= length <= end - start:
            return
        kind &= _NLA_TYPE_MASK
        if wanted is None or kind in wanted:
            yield kind, view[start + _ATTR.size : start + length]
        start += _align(length)


def pack_attr(kind: int, value: bytes) -> bytes:
    """Put the header of an attribute in front of its value, and padding behind it."""
    length = _ATTR.size + len(value)
    return _ATTR.pack(length, kind) + value + bytes(_align(length) - length)


def _align(length: int) -> int:
    return (length + 3) & ~3


def string_of(value: memoryview) -> str:
    """Return an attribute's text, up to its NUL."""
    return bytes(value).split(b"\0", 1)[0].decode(errors="backslashreplace")


def u32_of(value: memoryview | None) -> int:
    """Return an attribute's number; 0 for one that is missing or cut."""
    return int(_U32.unpack_from(value)[0]) if value is not None and len(value) >= _U32.size else 0
