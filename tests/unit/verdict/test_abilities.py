"""What a kernel's BTF says it knows."""

from tests.builders.btf import U32, bits, btf_of, member, struct
from tests.builders.kernel_types import enum
from xdploaderd.uapi.bpf import Feature, MapFlags
from xdploaderd.verdict.abilities import Abilities, enum_values, features_of, read_abilities

PROG_TYPES = enum("bpf_prog_type", ("BPF_PROG_TYPE_UNSPEC", 0), ("BPF_PROG_TYPE_XDP", 6), ("__MAX_BPF_PROG_TYPE", 7))
FLAGS = enum("", ("BPF_F_NO_PREALLOC", 1), ("BPF_F_MMAPABLE", 1024))
KINDS = enum("", ("BTF_KIND_UNKN", 0), ("BTF_KIND_FLOAT", 16), ("NR_BTF_KINDS", 17), ("BTF_KIND_MAX", 16))


def test_marks_of_the_end_are_no_values() -> None:
    assert enum_values(btf_of(PROG_TYPES), "bpf_prog_type") == frozenset({0, 6})


def test_enumeration_that_is_not_there_says_nothing() -> None:
    assert enum_values(btf_of(U32), "bpf_prog_type") is None
    assert read_abilities(btf_of(U32)) == Abilities()


def test_types_that_are_no_kernels_leave_every_feature_in_doubt() -> None:
    present, doubtful = features_of(Abilities())
    assert present == doubtful == frozenset(Feature)


def test_flags_and_kinds_come_from_enumerations_without_a_name() -> None:
    abilities = read_abilities(btf_of(U32, PROG_TYPES, FLAGS, KINDS))
    assert abilities.prog_types == frozenset({0, 6})
    assert abilities.map_flags == 1 | MapFlags.MMAPABLE
    assert abilities.btf_kinds == frozenset({0, 16})
    present, doubtful = features_of(abilities)
    assert {Feature.BTF_FLOAT, Feature.ARRAY_MMAP, Feature.BTF} <= present - doubtful
    assert not {Feature.BTF_ENUM64, Feature.BTF_DECL_TAG} & present
    assert Feature.TCX in doubtful


def test_members_tell_of_fragments_in_unnamed_structs_too() -> None:
    inner = struct("", 4, bits("xdp_has_frags", 1, 3, 1), kflag=True)
    assert read_abilities(btf_of(U32, PROG_TYPES, inner, struct("bpf_prog_aux", 8, member("", 3)))).xdp_frags is True
    assert read_abilities(btf_of(U32, PROG_TYPES, struct("bpf_prog_aux", 8, member("id", 1)))).xdp_frags is False
    assert read_abilities(btf_of(U32, PROG_TYPES)).xdp_frags is None
