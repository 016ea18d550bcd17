"""What a kernel's own BTF says it knows: the UAPI's enumerations, members and functions it was built with.

The BTF of a kernel has enum bpf_map_type and its like complete, so that no kernel need run to be asked. A BTF without
them (one cut down for CO-RE, or a user's own) says nothing, which is told from "no".
"""

from collections.abc import Iterator
from dataclasses import dataclass

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import BtfKind, Composite, Enum
from xdploaderd.uapi.bpf import AttachType, BpfCmd, Feature, FeatureSet, Helper, MapFlags, MapType

ENUM_KINDS = frozenset({BtfKind.ENUM, BtfKind.ENUM64})
_PRIVATE = "__"  # __MAX_BPF_PROG_TYPE and its like
_FLAG_PREFIX = "BPF_F_"
_FIRST_MAP_FLAG = "BPF_F_NO_PREALLOC"  # of the anonymous enumeration of MAP_CREATE's flags
_FIRST_BTF_KIND = "BTF_KIND_UNKN"  # of an anonymous enumeration since Linux 5.16; macros before
_SYSCALLS = frozenset({"__x64_sys_bpf", "__arm64_sys_bpf", "__s390x_sys_bpf", "__riscv_sys_bpf"})
_KIND_FEATURES = {
    Feature.BTF_FLOAT: BtfKind.FLOAT,
    Feature.BTF_DECL_TAG: BtfKind.DECL_TAG,
    Feature.BTF_TYPE_TAG: BtfKind.TYPE_TAG,
    Feature.BTF_ENUM64: BtfKind.ENUM64,
}
# A kernel that has BTF of its own (5.4) has all of these.
_SINCE_BTF = (
    Feature.PROG_NAME,
    Feature.GLOBAL_DATA,
    Feature.BTF,
    Feature.BTF_FUNC,
    Feature.BTF_DATASEC,
    Feature.EXP_ATTACH_TYPE,
)
_KINDS_BEFORE_ENUM = frozenset(range(BtfKind.FLOAT))  # what kernels before 5.13 know


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """Numbers that a kernel knows; None where its BTF does not say. `map_flags` has all flags of MAP_CREATE."""

    map_types: frozenset[int] | None = None
    prog_types: frozenset[int] | None = None
    attach_types: frozenset[int] | None = None
    helpers: frozenset[int] | None = None
    commands: frozenset[int] | None = None
    map_flags: int | None = None
    btf_kinds: frozenset[int] | None = None
    xdp_frags: bool | None = None
    syscall_wrapper: bool | None = None


def enum_values(btf: Btf, name: str) -> frozenset[int] | None:
    """Return the values of a UAPI enumeration, its end marks left out; None when the BTF does not have it."""
    found = [btf.type_by_id(type_id) for type_id in btf.ids_by_name(name, ENUM_KINDS)]
    values = frozenset(
        number
        for known in found
        if isinstance(known, Enum)
        for enumerator, number in known.values
        if not enumerator.startswith(_PRIVATE)
    )
    return values or None


def read_abilities(btf: Btf) -> Abilities:
    """Return what the BTF of a vmlinux says of its kernel; BtfError for malformed types."""
    prog_types = enum_values(btf, "bpf_prog_type")
    if prog_types is None:
        return Abilities()
    helpers = enum_values(btf, "bpf_func_id")
    flags, kinds = _anonymous_enums(btf)
    return Abilities(
        map_types=enum_values(btf, "bpf_map_type"),
        prog_types=prog_types,
        attach_types=enum_values(btf, "bpf_attach_type"),
        helpers=helpers,
        commands=enum_values(btf, "bpf_cmd"),
        map_flags=flags,
        btf_kinds=kinds or _kinds_by_helpers(helpers),
        xdp_frags=_has_member(btf, "bpf_prog_aux", "xdp_has_frags"),
        syscall_wrapper=any(btf.ids_by_name(name, {BtfKind.FUNC}) for name in _SYSCALLS),
    )


def features_of(abilities: Abilities) -> tuple[FeatureSet, FeatureSet]:
    """Return the features a kernel has as far as that is known, and those of which nothing is: taken to be there."""
    told = _told(abilities)
    lacking = frozenset(feature for feature, there in told.items() if there is False)
    doubtful = frozenset(feature for feature in Feature if told.get(feature) is None)
    return frozenset(Feature) - lacking, doubtful


def _told(abilities: Abilities) -> dict[Feature, bool | None]:
    if abilities.prog_types is None:
        return {}
    kinds = abilities.btf_kinds
    return {
        **dict.fromkeys(_SINCE_BTF, True),
        **{feature: None if kinds is None else kind in kinds for feature, kind in _KIND_FEATURES.items()},
        Feature.BTF_GLOBAL_FUNC: _knows(abilities.helpers, Helper.probe_read_kernel),  # 5.5; global functions: 5.6
        Feature.BTF_QMARK_DATASEC: _knows(abilities.map_types, MapType.ARENA),  # both of 6.9
        Feature.ARRAY_MMAP: None if abilities.map_flags is None else bool(abilities.map_flags & MapFlags.MMAPABLE),
        Feature.PROBE_READ_KERN: _knows(abilities.helpers, Helper.probe_read_kernel),
        Feature.PROG_BIND_MAP: _knows(abilities.commands, BpfCmd.PROG_BIND_MAP),
        Feature.MODULE_BTF: _knows(abilities.helpers, Helper.task_storage_get),  # both of 5.11
        Feature.BPF_COOKIE: _knows(abilities.helpers, Helper.get_attach_cookie),
        Feature.SYSCALL_WRAPPER: abilities.syscall_wrapper,
        Feature.MEMCG_ACCOUNT: _knows(abilities.helpers, Helper.ktime_get_coarse_ns),
        Feature.XDP_LINK: _knows(abilities.attach_types, AttachType.XDP),
        Feature.XDP_FRAGS: abilities.xdp_frags,
        Feature.TCX: _knows(abilities.attach_types, AttachType.TCX_INGRESS),
    }


def _knows(known: frozenset[int] | None, number: int) -> bool | None:
    return None if known is None else number in known


def _anonymous_enums(btf: Btf) -> tuple[int | None, frozenset[int] | None]:
    """Return all map flags together and the BTF kinds, from enumerations that have no name."""
    flags: int | None = None
    kinds: frozenset[int] | None = None
    for enum in _unnamed(btf):
        first = enum.values[0][0] if enum.values else ""
        if first == _FIRST_MAP_FLAG:
            flags = 0
            for name, value in enum.values:
                flags |= value if name.startswith(_FLAG_PREFIX) else 0
        elif first == _FIRST_BTF_KIND:
            kinds = frozenset(value for name, value in enum.values if name not in {"NR_BTF_KINDS", "BTF_KIND_MAX"})
        if flags is not None and kinds is not None:
            break
    return flags, kinds


def _unnamed(btf: Btf) -> Iterator[Enum]:
    for type_id in range(1, len(btf)):
        if btf.kind_of(type_id) in ENUM_KINDS and not btf.name_of(type_id):
            found = btf.type_by_id(type_id)
            if isinstance(found, Enum):
                yield found


def _kinds_by_helpers(helpers: frozenset[int] | None) -> frozenset[int] | None:
    """Return the kinds of a kernel before 5.16, which names them nowhere: FLOAT came with a helper of 5.13."""
    if helpers is None:
        return None
    return _KINDS_BEFORE_ENUM | ({BtfKind.FLOAT} if Helper.for_each_map_elem in helpers else frozenset())


def _has_member(btf: Btf, struct: str, member: str) -> bool | None:
    found = [btf.type_by_id(type_id) for type_id in btf.ids_by_name(struct, {BtfKind.STRUCT})]
    composites = [each for each in found if isinstance(each, Composite) and each.members]
    if not composites:
        return None
    return any(_in_members(btf, each, member, depth=0) for each in composites)


def _in_members(btf: Btf, composite: Composite, name: str, *, depth: int) -> bool:
    """Tell whether a struct has a member, in its unnamed members too (7.2 groups them)."""
    for member in composite.members:
        if member.name == name:
            return True
        if not member.name and depth < 4:  # noqa: PLR2004 - the kernel nests two
            inner = btf.type_by_id(btf.skip_mods_and_typedefs(member.type_id))
            if isinstance(inner, Composite) and _in_members(btf, inner, name, depth=depth + 1):
                return True
    return False
