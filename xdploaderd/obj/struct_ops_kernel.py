"""struct_ops maps for one kernel: its own layout of the structure (libbpf.c, bpf_map__init_kern_struct_ops).

The kernel wraps `struct NAME` into `struct bpf_struct_ops_NAME`, which is the map's value. Members are found by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.names import essential_name
from xdploaderd.btf.types import BtfKind, FuncProto, Member, Ref
from xdploaderd.errors import LoaderError, RelocationError, error_context
from xdploaderd.obj.ksyms import KernelType
from xdploaderd.obj.spec import MapSpec, ObjectSpec, TargetKernel
from xdploaderd.obj.struct_ops import check_program_types, is_struct_ops, members
from xdploaderd.printable import quoted

_WRAPPER = "bpf_struct_ops_"
_MAX_SIZE = 1 << 16  # bytes of a wrapper; the largest known has 2 KiB


@dataclass(frozen=True, slots=True)
class Operation:
    """What a program implements: member number `index` of the structure `type` of the kernel."""

    type: KernelType
    index: int


@dataclass(frozen=True, slots=True)
class StructOps:
    """Maps as the kernel wants them, what each of their programs implements, and why others have no place there."""

    maps: Mapping[str, MapSpec] = field(default_factory=dict)
    operations: Mapping[str, Operation] = field(default_factory=dict)
    errors: Mapping[str, LoaderError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _KernelStruct:
    """struct NAME of a kernel and the wrapper that holds it at byte `offset`."""

    btf: Btf
    module: str
    type_id: int
    wrapper_id: int
    wrapper_size: int
    offset: int

    @property
    def members(self) -> tuple[Member, ...]:
        return members(self.btf, self.type_id).members


def settle_struct_ops(obj: ObjectSpec, target: TargetKernel) -> StructOps:
    """Return the object's struct_ops maps for `target`; ObjectError for a map that holds a program of another type."""
    check_program_types(obj)
    maps: dict[str, MapSpec] = {}
    operations: dict[str, Operation] = {}
    errors: dict[str, LoaderError] = {}
    for name, spec in obj.maps.items():
        if not (is_struct_ops(spec) and spec.autocreate):
            continue
        try:
            with error_context(f"map {quoted(name)}"):
                if obj.btf is None:
                    raise RelocationError("is a struct_ops map, but the object has no BTF that tells its structure")
                kernel = _find(essential_name(obj.btf.name_of(spec.value_type_id)), target)
                maps[name], found = _settle(spec, obj.btf, kernel)
                _add(operations, found)
        except LoaderError as error:
            errors[name] = error
    return StructOps(maps, operations, errors)


def _add(operations: dict[str, Operation], found: Mapping[str, Operation]) -> None:
    for program, operation in found.items():
        if operations.setdefault(program, operation) != operation:
            raise RelocationError(f"program {quoted(program)} is another operation of another map already")


def _find(name: str, target: TargetKernel) -> _KernelStruct:
    for number, btf in enumerate(target.btfs):
        types = btf.ids_by_name(name, {BtfKind.STRUCT})
        if not types:
            continue
        wrappers = btf.ids_by_name(_WRAPPER + name, {BtfKind.STRUCT})
        if not wrappers:
            raise RelocationError(f"kernel's struct {quoted(name)} cannot be implemented by programs")
        wrapper = members(btf, wrappers[0])
        held = next((member for member in wrapper.members if member.type_id == types[0]), None)
        if held is None:
            raise RelocationError(f"kernel's struct '{_WRAPPER}{name}' holds no struct {quoted(name)}")
        if wrapper.size > _MAX_SIZE:
            raise RelocationError(
                f"kernel's struct '{_WRAPPER}{name}' has {wrapper.size} bytes, want at most {_MAX_SIZE}"
            )
        module = btf.name if number else ""
        return _KernelStruct(btf, module, types[0], wrappers[0], wrapper.size, held.bit_offset // 8)
    raise RelocationError(f"kernel has no struct {quoted(name)} in its BTF, which the map implements")


def _settle(spec: MapSpec, local: Btf, kernel: _KernelStruct) -> tuple[MapSpec, Mapping[str, Operation]]:
    value = bytearray(kernel.wrapper_size)
    slots: dict[int, str] = {}
    operations: dict[str, Operation] = {}
    theirs = {member.name: (number, member) for number, member in reversed(list(enumerate(kernel.members)))}
    for number, member in enumerate(members(local, spec.value_type_id).members):
        with error_context(f"member {quoted(member.name)}"):
            program = spec.slots.get(number)
            content = _content(spec, local, member)
            index, other = theirs.get(member.name, (-1, None))
            if other is None:
                _refuse_if_used(content, program)
                continue
            pointer = _check_alike(local, member, kernel.btf, other)
            at = kernel.offset + other.bit_offset // 8
            if at + kernel.btf.size_of(other.type_id) > kernel.wrapper_size:
                raise RelocationError(f"lies behind the {kernel.wrapper_size} bytes of the kernel's struct")
            if not pointer:
                value[at : at + len(content)] = _checked_size(content, kernel.btf, other)
            elif program is not None:
                _check_function(kernel.btf, other)
                slots[at] = program
                operations[program] = Operation(KernelType(kernel.type_id, kernel.module), index)
            elif any(content):
                raise RelocationError("points to something that is no program")
    settled = replace(
        spec,
        value_size=kernel.wrapper_size,
        value_type_id=0,
        contents=bytes(value),
        slots=slots,
        vmlinux_value_type_id=kernel.wrapper_id,
        value_module=kernel.module,
    )
    return settled, operations


def _content(spec: MapSpec, local: Btf, member: Member) -> bytes:
    start = member.bit_offset // 8
    return (spec.contents or b"")[start : start + local.size_of(member.type_id)]


def _refuse_if_used(content: bytes, program: str | None) -> None:
    if program is not None or any(content):
        raise RelocationError("kernel's struct has no such member, want it zero")


def _check_alike(local: Btf, ours: Member, kernel: Btf, theirs: Member) -> bool:
    """Return whether the member is a pointer; RelocationError when the two differ in kind, or are bit fields."""
    if ours.bitfield_size or theirs.bitfield_size:
        raise RelocationError("is a bit field, want a whole member")
    kinds = [btf.type_by_id(btf.skip_mods_and_typedefs(m.type_id)).kind for btf, m in ((local, ours), (kernel, theirs))]
    if kinds[0] is not kinds[1]:
        raise RelocationError(f"is a {kinds[0].name.lower()}, the kernel's is a {kinds[1].name.lower()}")
    return kinds[0] is BtfKind.PTR


def _checked_size(content: bytes, kernel: Btf, theirs: Member) -> bytes:
    size = kernel.size_of(theirs.type_id)
    if len(content) != size:
        raise RelocationError(f"has {len(content)} bytes, the kernel's has {size}")
    return content


def _check_function(kernel: Btf, theirs: Member) -> None:
    pointer = kernel.type_by_id(kernel.skip_mods_and_typedefs(theirs.type_id))
    pointee = pointer.type_id if isinstance(pointer, Ref) else 0
    target = kernel.type_by_id(kernel.skip_mods_and_typedefs(pointee))
    if not isinstance(target, FuncProto):
        raise RelocationError(f"the kernel's points to a {target.kind.name.lower()}, want a function")
