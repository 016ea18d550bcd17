""".BTF.ext: function info, line info and CO-RE relocation records (libbpf btf.c, struct btf_ext_header)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum


class CoreReloKind(IntEnum):
    """enum bpf_core_relo_kind."""

    FIELD_BYTE_OFFSET = 0
    FIELD_BYTE_SIZE = 1
    FIELD_EXISTS = 2
    FIELD_SIGNED = 3
    FIELD_LSHIFT_U64 = 4
    FIELD_RSHIFT_U64 = 5
    TYPE_ID_LOCAL = 6
    TYPE_ID_TARGET = 7
    TYPE_EXISTS = 8
    TYPE_SIZE = 9
    ENUMVAL_EXISTS = 10
    ENUMVAL_VALUE = 11
    TYPE_MATCHES = 12


@dataclass(frozen=True, slots=True)
class CoreRelo:
    """struct bpf_core_relo; insn_off in bytes from the start of its section, kind as written (may be unknown)."""

    insn_off: int
    type_id: int
    access_str: str
    kind: int


@dataclass(frozen=True, slots=True)
class FuncInfo:
    """struct bpf_func_info; insn_off in bytes from the start of its section."""

    insn_off: int
    type_id: int


@dataclass(frozen=True, slots=True)
class LineInfo:
    """struct bpf_line_info; insn_off in bytes from the start of its section, line_col = line << 10 | column."""

    insn_off: int
    file_name_off: int
    line_off: int
    line_col: int


@dataclass(frozen=True, slots=True)
class BtfExt:
    """The three tables, by section name."""

    func_infos: Mapping[str, tuple[FuncInfo, ...]]
    line_infos: Mapping[str, tuple[LineInfo, ...]]
    core_relos: Mapping[str, tuple[CoreRelo, ...]]
