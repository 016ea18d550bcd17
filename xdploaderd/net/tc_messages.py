"""Filters and qdiscs as tc(8) asks for them: any place, classic bytecode or a program; and their dumps.

Mirrors include/uapi/linux/pkt_cls.h, pkt_sched.h and rtnetlink.h; net/sched/cls_bpf.c says which attributes are read.
"""

import struct
from dataclasses import dataclass

from xdploaderd.net.messages import (
    TC_H_INGRESS,
    TCMSG,
    attrs_of,
    pack_attr,
    string_of,
    u32_of,
)
from xdploaderd.net.tc_actions import Gact, pack_actions

TC_H_ROOT = 0xFFFFFFFF
TC_H_MIN_INGRESS, TC_H_MIN_EGRESS = 0xFFFFFFF2, 0xFFFFFFF3  # below TC_H_CLSACT
IFINDEX_BLOCK = -1  # TCM_IFINDEX_MAGIC_BLOCK: `parent` is the number of a shared block
SKIP_HW, SKIP_SW, IN_HW, NOT_IN_HW = 0x1, 0x2, 0x4, 0x8  # TCA_CLS_FLAGS_*
DIRECT_ACTION = 0x1  # TCA_BPF_FLAG_ACT_DIRECT
SOCK_FILTER = struct.Struct("=HBBI")  # struct sock_filter: code, jt, jf, k

_TCA_KIND, _TCA_OPTIONS, _TCA_CHAIN = 1, 2, 11
_ACT, _POLICE, _CLASSID, _OPS_LEN, _OPS, _FD, _NAME, _FLAGS, _FLAGS_GEN, _TAG, _ID = range(1, 12)  # TCA_BPF_*
_TCA_INGRESS_BLOCK, _TCA_EGRESS_BLOCK = 13, 14
_U16 = struct.Struct("=H")
_U32 = struct.Struct("=I")


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterPlace:
    """Where a filter is, struct tcmsg; zeros let the kernel choose. `protocol` in host order, as in if_ether.h."""

    ifindex: int
    parent: int = 0
    priority: int = 0
    protocol: int = 0
    handle: int = 0
    chain: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BpfFilter:
    """The options of a cls_bpf filter; None where an attribute is not there.

    `ops` is classic bytecode, 8 bytes for each instruction; a program is given by `fd` and shown by `prog_id`.
    `foreign` tells of a dump that it holds an action or a policer, which only tc(8) can print; `actions` are those of a
    request.
    """

    fd: int | None = None
    name: str | None = None
    ops: bytes | None = None
    classid: int | None = None
    actions: tuple[Gact, ...] = ()
    flags: int = 0
    flags_gen: int = 0
    prog_id: int | None = None
    tag: str = ""
    foreign: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownFilter:
    """One entry of a dump; each priority begins with one of handle 0. `bpf` None: without options, or another kind."""

    place: FilterPlace
    kind: str
    bpf: BpfFilter | None
    has_options: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownQdisc:
    """One qdisc of a dump."""

    ifindex: int
    handle: int
    parent: int
    refcount: int
    kind: str
    ingress_block: int
    egress_block: int


def pack_place(place: FilterPlace, kind: str = "", options: bytes | None = None) -> bytes:
    """Pack a filter request's payload; without `kind` it means filters of any."""
    info = place.priority << 16 | _swapped(place.protocol)
    parts = [TCMSG.pack(0, place.ifindex, place.handle, place.parent, info)]
    if place.chain is not None:
        parts.append(pack_attr(_TCA_CHAIN, _U32.pack(place.chain)))
    if kind:
        parts.append(pack_attr(_TCA_KIND, kind.encode() + b"\0"))
    if options is not None:
        parts.append(pack_attr(_TCA_OPTIONS, options))
    return b"".join(parts)


def pack_bpf(wanted: BpfFilter) -> bytes:
    """Pack the options of a cls_bpf filter, in the order of tc(8)."""
    parts: list[tuple[int, bytes]] = []
    if wanted.classid is not None:
        parts.append((_CLASSID, _U32.pack(wanted.classid)))
    if wanted.actions:
        parts.append((_ACT, pack_actions(wanted.actions)))
    if wanted.fd is not None:
        parts += [(_FD, _U32.pack(wanted.fd)), (_NAME, (wanted.name or "").encode("utf-8", "surrogateescape") + b"\0")]
    if wanted.ops is not None:
        parts += [(_OPS_LEN, _U16.pack(len(wanted.ops) // SOCK_FILTER.size)), (_OPS, wanted.ops)]
    if wanted.flags_gen:
        parts.append((_FLAGS_GEN, _U32.pack(wanted.flags_gen)))
    if wanted.flags:
        parts.append((_FLAGS, _U32.pack(wanted.flags)))
    return b"".join(pack_attr(kind, value) for kind, value in parts)


def pack_ingress_qdisc(ifindex: int, kind: str) -> bytes:
    """Pack a request about clsact or ingress, which share one place."""
    place = TCMSG.pack(0, ifindex, TC_H_INGRESS & 0xFFFF0000, TC_H_INGRESS, 0)
    return place + pack_attr(_TCA_KIND, kind.encode() + b"\0")


def pack_qdisc_dump(ifindex: int) -> bytes:
    """Pack a request for the qdiscs of an interface; 0 for those of all."""
    return TCMSG.pack(0, ifindex, 0, 0, 0)


def parse_shown_filter(payload: memoryview) -> ShownFilter:
    """Decode RTM_NEWTFILTER."""
    _family, index, handle, parent, info = TCMSG.unpack_from(payload)
    attrs = dict(attrs_of(payload, TCMSG.size))
    kind = string_of(attrs.get(_TCA_KIND, memoryview(b"")))
    place = FilterPlace(
        ifindex=index,
        parent=parent,
        priority=info >> 16,
        protocol=_swapped(info & 0xFFFF),
        handle=handle,
        chain=u32_of(attrs[_TCA_CHAIN]) if _TCA_CHAIN in attrs else None,
    )
    bpf = _parse_bpf(attrs[_TCA_OPTIONS]) if kind == "bpf" and _TCA_OPTIONS in attrs else None
    return ShownFilter(place=place, kind=kind, bpf=bpf, has_options=_TCA_OPTIONS in attrs)


def _parse_bpf(options: memoryview) -> BpfFilter:
    attrs = dict(attrs_of(options))
    return BpfFilter(
        name=string_of(attrs[_NAME]) if _NAME in attrs else None,
        ops=bytes(attrs[_OPS]) if _OPS in attrs and _OPS_LEN in attrs else None,
        classid=u32_of(attrs[_CLASSID]) if _CLASSID in attrs else None,
        flags=u32_of(attrs.get(_FLAGS)),
        flags_gen=u32_of(attrs.get(_FLAGS_GEN)),
        prog_id=u32_of(attrs[_ID]) if _ID in attrs else None,
        tag=bytes(attrs.get(_TAG, b"")).hex(),
        foreign=_ACT in attrs or _POLICE in attrs,
    )


def parse_shown_qdisc(payload: memoryview) -> ShownQdisc:
    """Decode RTM_NEWQDISC."""
    _family, index, handle, parent, info = TCMSG.unpack_from(payload)
    attrs = dict(attrs_of(payload, TCMSG.size))
    return ShownQdisc(
        ifindex=index,
        handle=handle,
        parent=parent,
        refcount=info,
        kind=string_of(attrs.get(_TCA_KIND, memoryview(b""))),
        ingress_block=u32_of(attrs.get(_TCA_INGRESS_BLOCK)),
        egress_block=u32_of(attrs.get(_TCA_EGRESS_BLOCK)),
    )


def _swapped(protocol: int) -> int:
    """Return a protocol in the other byte order than host's: the kernel keeps it in network order."""
    return int(struct.unpack(">H", struct.pack("=H", protocol))[0])
