"""The generic action of tc, gact, as a filter's request has it: what becomes of a packet that the filter takes.

Mirrors include/uapi/linux/tc_act/tc_gact.h and the TCA_ACT_* part of include/uapi/linux/pkt_cls.h.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xdploaderd.net.messages import pack_attr

JUMP, GOTO_CHAIN = 1 << 28, 2 << 28  # TC_ACT_JUMP, TC_ACT_GOTO_CHAIN: the number is in the bits below
EXTENDED_MAX = (1 << 28) - 1  # TC_ACT_EXT_VAL_MASK
NETRAND, DETERM = 1, 2  # PGACT_*
RANDOM_MAX = 10_000
NO_PERCPU_STATS, ACTION_SKIP_HW, ACTION_SKIP_SW = 0x1, 0x2, 0x4  # TCA_ACT_FLAGS_*

_KIND, _OPTIONS, _COOKIE, _FLAGS, _HW_STATS = 1, 2, 6, 7, 8  # TCA_ACT_*
_PARMS, _PROB = 2, 3  # TCA_GACT_*
_NESTED = 0x8000  # NLA_F_NESTED
_GACT = struct.Struct("=IIiii")  # struct tc_gact: index, capab, action, refcnt, bindcnt
_GACT_PROB = struct.Struct("=HHi")  # struct tc_gact_p: ptype, pval, paction
_BITFIELD = struct.Struct("=II")  # struct nla_bitfield32: value, selector


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomChoice:
    """Another fate for some packets: for each of `value` by count (DETERM) or by chance (NETRAND)."""

    kind: int
    control: int
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gact:
    """One gact: `control` is a TC_ACT_*; `index` that of one that is there to be shared, 0 for one of its own."""

    control: int = 0
    index: int = 0
    random: RandomChoice | None = None
    cookie: bytes = b""
    hw_stats: int | None = None
    flags: int = 0


def pack_actions(actions: Sequence[Gact]) -> bytes:
    """Pack the list that TCA_BPF_ACT holds, in the order of tc(8)."""
    return b"".join(
        pack_attr(priority, b"".join(_attributes(action))) for priority, action in enumerate(actions, start=1)
    )


def _attributes(action: Gact) -> Iterator[bytes]:
    yield pack_attr(_KIND, b"gact\0")
    options = pack_attr(_PARMS, _GACT.pack(action.index, 0, action.control, 0, 0))
    if chance := action.random:
        options += pack_attr(_PROB, _GACT_PROB.pack(chance.kind, chance.value, chance.control))
    yield pack_attr(_OPTIONS | _NESTED, options)
    if action.cookie:
        yield pack_attr(_COOKIE, action.cookie)
    if action.hw_stats is not None:
        yield pack_attr(_HW_STATS, _BITFIELD.pack(action.hw_stats, action.hw_stats))
    if action.flags:
        yield pack_attr(_FLAGS, _BITFIELD.pack(action.flags, action.flags))
