"""Structures of bpf(2): arms of `union bpf_attr`, `struct bpf_*_info` (include/uapi/linux/bpf.h).

Each structure ends where the commands used here end: the kernel takes the rest of the union as zero. `UAPI_ARM` names
the arm of the union, for the test that compares the offsets with the running kernel's BTF; empty: an unnamed one.
"""

import ctypes
from ctypes import Structure, Union, c_char, c_char_p, c_int32, c_uint8, c_uint32, c_uint64, c_void_p

NAME_LEN = 16


class BpfAttr(Structure):
    """One arm of `union bpf_attr`."""

    UAPI_ARM = ""


class MapCreateAttr(BpfAttr):
    """BPF_MAP_CREATE."""

    _fields_ = [
        ("map_type", c_uint32),
        ("key_size", c_uint32),
        ("value_size", c_uint32),
        ("max_entries", c_uint32),
        ("map_flags", c_uint32),
        ("inner_map_fd", c_uint32),
        ("numa_node", c_uint32),
        ("map_name", c_char * NAME_LEN),
        ("map_ifindex", c_uint32),
        ("btf_fd", c_uint32),
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
        ("btf_vmlinux_value_type_id", c_uint32),
        ("map_extra", c_uint64),
        ("value_type_btf_obj_fd", c_int32),
        ("map_token_fd", c_int32),
    ]


class _ValueOrNextKey(Union):
    _fields_ = [("value", c_uint64), ("next_key", c_uint64)]


class MapElemAttr(BpfAttr):
    """BPF_MAP_*_ELEM, BPF_MAP_GET_NEXT_KEY, and BPF_MAP_FREEZE, which reads map_fd only."""

    _anonymous_ = ("_value",)
    _fields_ = [("map_fd", c_uint32), ("key", c_uint64), ("_value", _ValueOrNextKey), ("flags", c_uint64)]


class MapBatchAttr(BpfAttr):
    """BPF_MAP_LOOKUP_BATCH and BPF_MAP_UPDATE_BATCH; the kernel writes how many elements it did to `count`."""

    UAPI_ARM = "batch"
    _fields_ = [
        ("in_batch", c_uint64),
        ("out_batch", c_uint64),
        ("keys", c_uint64),
        ("values", c_uint64),
        ("count", c_uint32),
        ("map_fd", c_uint32),
        ("elem_flags", c_uint64),
        ("flags", c_uint64),
    ]


class ProgLoadAttr(BpfAttr):
    """BPF_PROG_LOAD."""

    _fields_ = [
        ("prog_type", c_uint32),
        ("insn_cnt", c_uint32),
        ("insns", c_uint64),
        ("license", c_uint64),
        ("log_level", c_uint32),
        ("log_size", c_uint32),
        ("log_buf", c_uint64),
        ("kern_version", c_uint32),
        ("prog_flags", c_uint32),
        ("prog_name", c_char * NAME_LEN),
        ("prog_ifindex", c_uint32),
        ("expected_attach_type", c_uint32),
        ("prog_btf_fd", c_uint32),
        ("func_info_rec_size", c_uint32),
        ("func_info", c_uint64),
        ("func_info_cnt", c_uint32),
        ("line_info_rec_size", c_uint32),
        ("line_info", c_uint64),
        ("line_info_cnt", c_uint32),
        ("attach_btf_id", c_uint32),
        ("attach_btf_obj_fd", c_uint32),
        ("core_relo_cnt", c_uint32),
        ("fd_array", c_uint64),
        ("core_relos", c_uint64),
        ("core_relo_rec_size", c_uint32),
        ("log_true_size", c_uint32),
    ]


class ObjAttr(BpfAttr):
    """BPF_OBJ_PIN and BPF_OBJ_GET."""

    _fields_ = [("pathname", c_uint64), ("bpf_fd", c_uint32), ("file_flags", c_uint32)]


class ProgRunAttr(BpfAttr):
    """BPF_PROG_RUN (BPF_PROG_TEST_RUN)."""

    UAPI_ARM = "test"
    _fields_ = [
        ("prog_fd", c_uint32),
        ("retval", c_uint32),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("data_in", c_uint64),
        ("data_out", c_uint64),
        ("repeat", c_uint32),
        ("duration", c_uint32),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("ctx_in", c_uint64),
        ("ctx_out", c_uint64),
    ]


class IdAttr(BpfAttr):
    """BPF_*_GET_NEXT_ID and BPF_*_GET_FD_BY_ID."""

    _fields_ = [("start_id", c_uint32), ("next_id", c_uint32), ("open_flags", c_uint32)]


class InfoAttr(BpfAttr):
    """BPF_OBJ_GET_INFO_BY_FD."""

    UAPI_ARM = "info"
    _fields_ = [("bpf_fd", c_uint32), ("info_len", c_uint32), ("info", c_uint64)]


class BtfLoadAttr(BpfAttr):
    """BPF_BTF_LOAD."""

    _fields_ = [
        ("btf", c_uint64),
        ("btf_log_buf", c_uint64),
        ("btf_size", c_uint32),
        ("btf_log_size", c_uint32),
        ("btf_log_level", c_uint32),
        ("btf_log_true_size", c_uint32),
    ]


class _TcxOrder(Structure):
    _fields_ = [("relative_fd", c_uint32), ("expected_revision", c_uint64)]


class LinkCreateAttr(BpfAttr):
    """BPF_LINK_CREATE on an interface; `tcx` is without meaning for XDP."""

    UAPI_ARM = "link_create"
    _fields_ = [
        ("prog_fd", c_uint32),
        ("target_ifindex", c_uint32),
        ("attach_type", c_uint32),
        ("flags", c_uint32),
        ("tcx", _TcxOrder),
    ]


class ProgQueryAttr(BpfAttr):
    """BPF_PROG_QUERY of a hook that takes several programs."""

    UAPI_ARM = "query"
    _fields_ = [
        ("target_ifindex", c_uint32),
        ("attach_type", c_uint32),
        ("query_flags", c_uint32),
        ("attach_flags", c_uint32),
        ("prog_ids", c_uint64),
        ("count", c_uint32),
        ("prog_attach_flags", c_uint64),
        ("link_ids", c_uint64),
        ("link_attach_flags", c_uint64),
        ("revision", c_uint64),
    ]


class LinkUpdateAttr(BpfAttr):
    """BPF_LINK_UPDATE."""

    UAPI_ARM = "link_update"
    _fields_ = [("link_fd", c_uint32), ("new_prog_fd", c_uint32), ("flags", c_uint32), ("old_prog_fd", c_uint32)]


class LinkDetachAttr(BpfAttr):
    """BPF_LINK_DETACH."""

    UAPI_ARM = "link_detach"
    _fields_ = [("link_fd", c_uint32)]


class ProgBindMapAttr(BpfAttr):
    """BPF_PROG_BIND_MAP."""

    UAPI_ARM = "prog_bind_map"
    _fields_ = [("prog_fd", c_uint32), ("map_fd", c_uint32), ("flags", c_uint32)]


class BpfMapInfo(Structure):
    """struct bpf_map_info."""

    _fields_ = [
        ("type", c_uint32),
        ("id", c_uint32),
        ("key_size", c_uint32),
        ("value_size", c_uint32),
        ("max_entries", c_uint32),
        ("map_flags", c_uint32),
        ("name", c_char * NAME_LEN),
        ("ifindex", c_uint32),
        ("btf_vmlinux_value_type_id", c_uint32),
        ("netns_dev", c_uint64),
        ("netns_ino", c_uint64),
        ("btf_id", c_uint32),
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
        ("btf_vmlinux_id", c_uint32),
        ("map_extra", c_uint64),
    ]


class BpfProgInfo(Structure):
    """struct bpf_prog_info up to btf_id."""

    _fields_ = [
        ("type", c_uint32),
        ("id", c_uint32),
        ("tag", c_uint8 * 8),
        ("jited_prog_len", c_uint32),
        ("xlated_prog_len", c_uint32),
        ("jited_prog_insns", c_uint64),
        ("xlated_prog_insns", c_uint64),
        ("load_time", c_uint64),
        ("created_by_uid", c_uint32),
        ("nr_map_ids", c_uint32),
        ("map_ids", c_uint64),
        ("name", c_char * NAME_LEN),
        ("ifindex", c_uint32),
        ("gpl_compatible", c_uint32, 1),
        ("netns_dev", c_uint64),
        ("netns_ino", c_uint64),
        ("nr_jited_ksyms", c_uint32),
        ("nr_jited_func_lens", c_uint32),
        ("jited_ksyms", c_uint64),
        ("jited_func_lens", c_uint64),
        ("btf_id", c_uint32),
    ]


class BpfBtfInfo(Structure):
    """struct bpf_btf_info."""

    _fields_ = [
        ("btf", c_uint64),
        ("btf_size", c_uint32),
        ("id", c_uint32),
        ("name", c_uint64),
        ("name_len", c_uint32),
        ("kernel_btf", c_uint32),
    ]


class _LinkTcx(Structure):
    _fields_ = [("ifindex", c_uint32), ("attach_type", c_uint32)]


class _LinkTarget(Union):
    _fields_ = [("tcx", _LinkTcx), ("_align", c_uint64 * 4)]


class BpfLinkInfo(Structure):
    """struct bpf_link_info; XDP links use the first member of `tcx` alone."""

    _anonymous_ = ("_target",)
    _fields_ = [("type", c_uint32), ("id", c_uint32), ("prog_id", c_uint32), ("_target", _LinkTarget)]


def pointer_to(data: bytes | None) -> int:
    """Return the address of immutable bytes, 0 for none or empty; the caller keeps them alive during the call."""
    if not data:
        return 0
    return c_void_p.from_buffer(c_char_p(data)).value or 0  # the pointer's own bytes: a cast takes twice as long


def pointer_of(buffer: "ctypes.Array[ctypes.c_char] | ctypes.Array[ctypes.c_uint32] | Structure") -> int:
    """Return the address of a ctypes object that the kernel is to fill."""
    return ctypes.addressof(buffer)


def make_buffer(size: int) -> "ctypes.Array[ctypes.c_char]":
    """Return `size` zeroed bytes for the kernel to fill."""
    return ctypes.create_string_buffer(size)


def make_u32s(values: "tuple[int, ...]") -> "ctypes.Array[ctypes.c_uint32]":
    """Return an array of __u32 (fd_array, map_ids)."""
    return (ctypes.c_uint32 * len(values))(*values)


def size_of(structure: Structure) -> int:
    """Return the size of a structure in bytes."""
    return ctypes.sizeof(structure)
