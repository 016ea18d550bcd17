"""BPF_OBJ_GET_INFO_BY_FD: the kernel's structures read and turned into the values of xdploaderd.info.

A kernel that knows a longer structure than ours fills our part, one that knows a shorter leaves the rest zero.
"""

import errno

from xdploaderd.info import BtfInfo, LinkInfo, MapInfo, ProgInfo
from xdploaderd.kernel.attr import (
    BpfBtfInfo,
    BpfLinkInfo,
    BpfMapInfo,
    BpfProgInfo,
    InfoAttr,
    make_buffer,
    make_u32s,
    pointer_of,
    size_of,
)
from xdploaderd.kernel.syscall import BpfSyscall
from xdploaderd.uapi.bpf import BpfCmd, BtfId, Ifindex, LinkId, MapId, ProgId

_UNNAMED_BTF_INFO = BpfBtfInfo.name.offset  # size of the structure before it had a name
_USUAL_MAPS = 16  # of a program
_NAME_MAX = 64  # MODULE_NAME_LEN: the longest name of a BTF


def _fill(call: BpfSyscall, fd: int, info: BpfMapInfo | BpfProgInfo | BpfLinkInfo | BpfBtfInfo, size: int) -> None:
    call(BpfCmd.OBJ_GET_INFO_BY_FD, InfoAttr(bpf_fd=fd, info_len=size, info=pointer_of(info)))


def read_map_info(call: BpfSyscall, fd: int) -> MapInfo:
    """Return the info of a map. Raises OSError."""
    raw = BpfMapInfo()
    _fill(call, fd, raw, size_of(raw))
    return MapInfo(
        id=MapId(raw.id),
        type=raw.type,
        key_size=raw.key_size,
        value_size=raw.value_size,
        max_entries=raw.max_entries,
        flags=raw.map_flags,
        name=raw.name.decode("ascii", "backslashreplace"),
        map_extra=raw.map_extra,
        btf_id=BtfId(raw.btf_id) if raw.btf_id else None,
        btf_key_type_id=raw.btf_key_type_id,
        btf_value_type_id=raw.btf_value_type_id,
    )


def read_prog_info(call: BpfSyscall, fd: int) -> ProgInfo:
    """Return the info of a program; asks a second time for the ids of many maps. Raises OSError."""
    map_ids = make_u32s((0,) * _USUAL_MAPS)
    raw = BpfProgInfo(nr_map_ids=len(map_ids), map_ids=pointer_of(map_ids))
    _fill(call, fd, raw, size_of(raw))
    if raw.nr_map_ids > len(map_ids):
        map_ids = make_u32s((0,) * raw.nr_map_ids)
        raw = BpfProgInfo(nr_map_ids=len(map_ids), map_ids=pointer_of(map_ids))
        _fill(call, fd, raw, size_of(raw))
    return ProgInfo(
        id=ProgId(raw.id),
        type=raw.type,
        name=raw.name.decode("ascii", "backslashreplace"),
        tag=bytes(raw.tag).hex(),
        map_ids=tuple(MapId(number) for number in map_ids[: raw.nr_map_ids]),
        btf_id=BtfId(raw.btf_id) if raw.btf_id else None,
        load_time_ns=raw.load_time,
        created_by_uid=raw.created_by_uid,
        jited=bool(raw.jited_prog_len),
    )


def read_link_info(call: BpfSyscall, fd: int) -> LinkInfo:
    """Return the info of a link on an interface. Raises OSError."""
    raw = BpfLinkInfo()
    _fill(call, fd, raw, size_of(raw))
    return LinkInfo(
        id=LinkId(raw.id),
        type=raw.type,
        prog_id=ProgId(raw.prog_id),
        ifindex=Ifindex(raw.tcx.ifindex),
        attach_type=raw.tcx.attach_type,
    )


def read_btf_info(call: BpfSyscall, fd: int) -> BtfInfo:
    """Return the info of a BTF. Raises OSError."""
    try:
        return read_named_btf_info(call, fd)
    except OSError as error:
        if error.errno != errno.E2BIG:
            raise
    raw = BpfBtfInfo()  # a kernel that knows no names of BTFs shows none but its users' own
    _fill(call, fd, raw, _UNNAMED_BTF_INFO)
    return BtfInfo(id=BtfId(raw.id), name="", size=raw.btf_size, kernel=False)


def read_named_btf_info(call: BpfSyscall, fd: int) -> BtfInfo:
    """Return the info of a BTF. Raises OSError, E2BIG where BTFs have no names (before Linux 5.11)."""
    name = make_buffer(_NAME_MAX)
    raw = BpfBtfInfo(name=pointer_of(name), name_len=len(name))
    _fill(call, fd, raw, size_of(raw))
    return BtfInfo(
        id=BtfId(raw.id),
        name=name.value.decode("ascii", "backslashreplace"),
        size=raw.btf_size,
        kernel=bool(raw.kernel_btf),
    )


def read_btf_raw(call: BpfSyscall, fd: int) -> bytes:
    """Return the bytes of a BTF. Raises OSError."""
    buffer = make_buffer(read_btf_info(call, fd).size)
    raw = BpfBtfInfo(btf=pointer_of(buffer), btf_size=len(buffer))
    _fill(call, fd, raw, _UNNAMED_BTF_INFO)
    return buffer.raw
