"""Names and numbers of include/uapi/linux/bpf.h, and identifier types.

The enumerations come from bpf_enums.py (generated); flags and pseudo registers, which the header defines as macros or
anonymous enumerations, are written here.
"""

from enum import IntEnum, IntFlag, StrEnum
from typing import NewType

from xdploaderd.uapi.bpf_enums import AttachType, BpfCmd, Helper, MapType, ProgType

__all__ = [
    "BPF_FS_MAGIC",
    "BPF_OBJ_NAME_LEN",
    "PSEUDO_CALL",
    "PSEUDO_KFUNC_CALL",
    "AttachType",
    "BpfCmd",
    "BtfId",
    "Feature",
    "FeatureSet",
    "Helper",
    "Ifindex",
    "LinkId",
    "MapFlags",
    "MapId",
    "MapType",
    "ProgFlags",
    "ProgId",
    "ProgType",
    "PseudoSrc",
    "enum_name",
]

MapId = NewType("MapId", int)
ProgId = NewType("ProgId", int)
LinkId = NewType("LinkId", int)
BtfId = NewType("BtfId", int)
Ifindex = NewType("Ifindex", int)

BPF_OBJ_NAME_LEN = 16  # with the final NUL
BPF_FS_MAGIC = 0xCAFE4A11  # include/uapi/linux/magic.h


class PseudoSrc(IntEnum):
    """BPF_PSEUDO_*: meaning of src_reg in a two-slot load (0x18) or, for the second group, a call (0x85)."""

    MAP_FD = 1
    MAP_VALUE = 2
    BTF_ID = 3
    FUNC = 4
    MAP_IDX = 5
    MAP_IDX_VALUE = 6


PSEUDO_CALL = 1
PSEUDO_KFUNC_CALL = 2


class MapFlags(IntFlag):
    """BPF_F_* of MAP_CREATE."""

    NO_PREALLOC = 0x1
    NO_COMMON_LRU = 0x2
    NUMA_NODE = 0x4
    RDONLY = 0x8
    WRONLY = 0x10
    ZERO_SEED = 0x40
    RDONLY_PROG = 0x80
    WRONLY_PROG = 0x100
    CLONE = 0x200
    MMAPABLE = 0x400
    PRESERVE_ELEMS = 0x800
    INNER_MAP = 0x1000
    LINK = 0x2000
    VTYPE_BTF_OBJ_FD = 0x8000


class ProgFlags(IntFlag):
    """BPF_F_* of PROG_LOAD."""

    STRICT_ALIGNMENT = 0x1
    ANY_ALIGNMENT = 0x2
    SLEEPABLE = 0x10
    XDP_HAS_FRAGS = 0x20
    XDP_DEV_BOUND_ONLY = 0x40


class Feature(StrEnum):
    """What a kernel can do, as far as loading depends on it (libbpf features.c)."""

    PROG_NAME = "prog_name"
    GLOBAL_DATA = "global_data"
    BTF = "btf"
    BTF_FUNC = "btf_func"
    BTF_GLOBAL_FUNC = "btf_global_func"
    BTF_DATASEC = "btf_datasec"
    BTF_QMARK_DATASEC = "btf_qmark_datasec"
    BTF_FLOAT = "btf_float"
    BTF_DECL_TAG = "btf_decl_tag"
    BTF_TYPE_TAG = "btf_type_tag"
    BTF_ENUM64 = "btf_enum64"
    ARRAY_MMAP = "array_mmap"
    EXP_ATTACH_TYPE = "exp_attach_type"
    PROBE_READ_KERN = "probe_read_kern"
    PROG_BIND_MAP = "prog_bind_map"
    MODULE_BTF = "module_btf"
    ARG_CTX_TAG = "arg_ctx_tag"
    BPF_COOKIE = "bpf_cookie"
    SYSCALL_WRAPPER = "syscall_wrapper"
    MEMCG_ACCOUNT = "memcg_account"
    XDP_LINK = "xdp_link"
    XDP_FRAGS = "xdp_frags"
    TCX = "tcx"


FeatureSet = frozenset[Feature]


def enum_name(kind: type[IntEnum], value: int) -> str:
    """Return the UAPI's lower-case name of `value`, or `type NUMBER` for one newer than the header known here."""
    try:
        return kind(value).name.lower()
    except ValueError:
        return f"type {value}"
