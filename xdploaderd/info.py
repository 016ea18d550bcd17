"""Kernel objects as observed: values after struct bpf_map_info, bpf_prog_info and bpf_link_info; no I/O."""

from dataclasses import dataclass

from xdploaderd.hooks import Hook, XdpMode
from xdploaderd.uapi.bpf import BtfId, Ifindex, LinkId, MapId, ProgId


@dataclass(frozen=True, slots=True, kw_only=True)
class MapInfo:
    """struct bpf_map_info, as far as used; sizes in bytes. `type` may be newer than MapType."""

    id: MapId
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    name: str
    map_extra: int = 0
    btf_id: BtfId | None = None
    btf_key_type_id: int = 0
    btf_value_type_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgInfo:
    """struct bpf_prog_info, as far as used; `tag` is 16 hex digits, `load_time_ns` counts from boot."""

    id: ProgId
    type: int
    name: str
    tag: str
    map_ids: tuple[MapId, ...] = ()
    btf_id: BtfId | None = None
    load_time_ns: int = 0
    created_by_uid: int = 0
    jited: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BtfInfo:
    """struct bpf_btf_info; size in bytes, `kernel` for vmlinux and modules, whose name it is then."""

    id: BtfId
    name: str
    size: int
    kernel: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkInfo:
    """struct bpf_link_info for XDP and TCX; ifindex 0: the interface is gone."""

    id: LinkId
    type: int
    prog_id: ProgId
    ifindex: Ifindex
    attach_type: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The programs of a TCX hook in the order they run, with the link of each (0: none); `revision` counts changes."""

    revision: int = 0
    progs: tuple[ProgId, ...] = ()
    links: tuple[LinkId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """A network interface as RTM_GETLINK shows it, with the programs on its XDP slots.

    `kind` is that of a virtual one (veth, vlan); `driver` is empty unless it was asked for.
    `features` are what net.features tells, where somebody asked.
    """

    index: Ifindex
    name: str
    mac: str = ""
    mtu: int = 0
    up: bool = False
    altnames: tuple[str, ...] = ()
    kind: str = ""
    driver: str = ""
    xdp: tuple[tuple[XdpMode, ProgId], ...] = ()
    features: str = ""

    def xdp_prog(self, mode: XdpMode) -> ProgId | None:
        """Return the program in that mode's slot; for UNSPECIFIED whichever there is."""
        for slot, prog_id in self.xdp:
            if mode in (slot, XdpMode.UNSPECIFIED):
                return prog_id
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class TcFilter:
    """A cls_bpf filter on clsact (tc-bpf(8)); prog_id None for classic BPF bytecode.

    `plain`: it has nothing besides what is told here, such as actions of its own.
    """

    ifindex: Ifindex
    hook: Hook
    priority: int
    handle: int
    protocol: int
    prog_id: ProgId | None
    name: str = ""
    tag: str = ""
    direct_action: bool = False
    classid: int = 0
    plain: bool = True

    @property
    def decides(self) -> bool:
        """Whether the program's own verdict is the filter's: not without direct-action, nor for hardware alone."""
        return self.direct_action and self.plain
