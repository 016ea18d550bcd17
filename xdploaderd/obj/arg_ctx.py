"""Parameters tagged `arg:ctx`: kernels before 6.8 know a context by its type's name alone (libbpf.c, fixup_func_info).

Each program gets its own copy of a tagged function's BTF, in which the parameter points to the context struct of the
program's type; its func_info names the copy.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from xdploaderd.btf.build import encode_types
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import BtfKind, BtfType, Composite, DeclTag, Func, FuncProto, Int, Linkage, Ref, Void
from xdploaderd.obj.spec import PreparedProgram
from xdploaderd.uapi.bpf import ProgType

CTX_TAG = "arg:ctx"
_FUNC_INFO = struct.Struct("=II")
_SK_BUFF = frozenset(
    {
        ProgType.CGROUP_SKB,
        ProgType.FLOW_DISSECTOR,
        ProgType.LWT_IN,
        ProgType.LWT_OUT,
        ProgType.LWT_XMIT,
        ProgType.LWT_SEG6LOCAL,
        ProgType.SCHED_ACT,
        ProgType.SCHED_CLS,
        ProgType.SK_SKB,
        ProgType.SOCKET_FILTER,
    }
)
_CONTEXTS = {
    **dict.fromkeys(_SK_BUFF, "__sk_buff"),
    ProgType.CGROUP_DEVICE: "bpf_cgroup_dev_ctx",
    ProgType.CGROUP_SOCK: "bpf_sock",
    ProgType.CGROUP_SOCK_ADDR: "bpf_sock_addr",
    ProgType.CGROUP_SOCKOPT: "bpf_sockopt",
    ProgType.CGROUP_SYSCTL: "bpf_sysctl",
    ProgType.KPROBE: "bpf_user_pt_regs_t",
    ProgType.NETFILTER: "bpf_nf_ctx",
    ProgType.PERF_EVENT: "bpf_perf_event_data",
    ProgType.RAW_TRACEPOINT: "bpf_raw_tracepoint_args",
    ProgType.RAW_TRACEPOINT_WRITABLE: "bpf_raw_tracepoint_args",
    ProgType.SK_LOOKUP: "bpf_sk_lookup",
    ProgType.SK_MSG: "sk_msg_md",
    ProgType.SK_REUSEPORT: "sk_reuseport_md",
    ProgType.SOCK_OPS: "bpf_sock_ops",
    ProgType.XDP: "xdp_md",
}
_RAW_TRACEPOINTS = frozenset({ProgType.RAW_TRACEPOINT, ProgType.RAW_TRACEPOINT_WRITABLE})
_REGISTERS = {ProgType.KPROBE: "pt_regs", ProgType.PERF_EVENT: "pt_regs"}
_U64_SIZE = 8


def has_ctx_tags(btf: Btf | None) -> bool:
    """Tell whether a parameter of a function may be tagged as the context."""
    return btf is not None and CTX_TAG.encode() in btf.strings


def with_contexts(
    btf: Btf, programs: Mapping[str, PreparedProgram], uploaded: bytes, *, tags: bool
) -> tuple[bytes, Mapping[str, PreparedProgram]]:
    """Return the BTF for the kernel with the copies added, and the programs that name them.

    `btf` is the object's, `uploaded` what the kernel was to get, of the same ids; `tags`: the kernel takes tags.
    """
    parsed = Btf.parse(uploaded, name=btf.name)
    copies = _Copies(parsed, tags=tags)
    wanted = tuple(_tagged(btf))
    changed = {name: _program(btf, program, wanted, copies) for name, program in programs.items()}
    if not copies.added:
        return uploaded, programs
    types = [*(btf_type for _, btf_type in parsed.types()), *copies.added]
    return encode_types(types, byteorder=parsed.byteorder, strings=parsed.strings), changed


@dataclass(slots=True)
class _Copies:
    """The types that are added to the end."""

    btf: Btf
    tags: bool
    added: list[BtfType] = field(default_factory=list)

    def add(self, btf_type: BtfType) -> int:
        self.added.append(btf_type)
        return len(self.btf) + len(self.added) - 1

    def copy(self, function: Func) -> int:
        """Return the id of a copy of a function, which has a copy of its prototype."""
        proto = self.btf.type_by_id(function.type_id)
        return self.add(function._replace(type_id=self.add(proto)))

    def set_parameter(self, function_id: int, index: int, type_id: int) -> None:
        """Give a parameter of a copied function another type, and tag it."""
        at = function_id - len(self.btf) - 1  # the prototype stands before its function
        proto = self.added[at]
        if isinstance(proto, FuncProto):
            params = list(proto.params)
            params[index] = (params[index][0], type_id)
            self.added[at] = proto._replace(params=tuple(params))
        if self.tags:
            self.add(DeclTag(CTX_TAG, function_id, index))


def _tagged(btf: Btf) -> Iterator[tuple[int, int]]:
    """Yield (id of a global function, number of a parameter) of every tag, in order."""
    for _, tag in btf.types():
        if isinstance(tag, DeclTag) and tag.name == CTX_TAG and 0 <= tag.type_id < len(btf):
            function = btf.type_by_id(tag.type_id)
            if isinstance(function, Func) and function.linkage == Linkage.GLOBAL:
                proto = btf.type_by_id(function.type_id)
                if isinstance(proto, FuncProto) and 0 <= tag.component < len(proto.params):
                    yield tag.type_id, tag.component


def _program(
    btf: Btf, program: PreparedProgram, wanted: tuple[tuple[int, int], ...], copies: _Copies
) -> PreparedProgram:
    kind = program.spec.type
    context = _CONTEXTS.get(kind) if kind is not None else None
    records = list(_FUNC_INFO.iter_unpack(program.func_info))
    used = {type_id: number for number, (_, type_id) in reversed(list(enumerate(records)))}
    pointer, copied = 0, dict[int, int]()
    for function_id, index in wanted:
        function = btf.type_by_id(function_id)
        proto = btf.type_by_id(function.type_id) if isinstance(function, Func) else function
        if not (context and kind and function_id in used and isinstance(function, Func)):
            continue
        if not (isinstance(proto, FuncProto) and _needs_other_type(btf, kind, context, proto.params[index][1])):
            continue
        if function_id not in copied:
            copied[function_id] = copies.copy(function)
        if not pointer:
            pointer = copies.add(Ref(BtfKind.PTR, "", copies.add(Composite(BtfKind.STRUCT, context, 0, ()))))
        copies.set_parameter(copied[function_id], index, pointer)
    for function_id, copy in copied.items():
        records[used[function_id]] = (records[used[function_id]][0], copy)
    return replace(program, func_info=b"".join(_FUNC_INFO.pack(*record) for record in records)) if copied else program


def _needs_other_type(btf: Btf, kind: ProgType, context: str, type_id: int) -> bool:
    """Tell whether the verifier would not take a parameter of that type for the context, and may be told otherwise."""
    pointer = btf.type_by_id(btf.skip_mods_and_typedefs(type_id))
    if not isinstance(pointer, Ref) or pointer.kind is not BtfKind.PTR:
        return False
    pointee = btf.type_by_id(btf.skip_mods_and_typedefs(pointer.type_id))
    if isinstance(pointee, Void):
        return True
    if isinstance(pointee, Composite) and pointee.kind is BtfKind.STRUCT:
        return pointee.name == _REGISTERS.get(kind) and not _is_named(btf, pointer.type_id, context)
    return kind in _RAW_TRACEPOINTS and isinstance(pointee, Int) and pointee.size == _U64_SIZE


def _is_named(btf: Btf, type_id: int, name: str) -> bool:
    """Tell whether a type is that typedef, whatever qualifiers stand before it."""
    found = btf.type_by_id(type_id)
    for _ in range(len(btf)):
        if not isinstance(found, Ref) or found.kind not in (BtfKind.CONST, BtfKind.VOLATILE, BtfKind.RESTRICT):
            break
        found = btf.type_by_id(found.type_id)
    return found.kind is BtfKind.TYPEDEF and found.name == name
