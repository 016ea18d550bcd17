"""Candidates, matching, values of all kinds, ambiguity and the record of a decision."""

import pytest

from tests.builders.btf import CHAR, S32, U8, U32, U64, bits, btf_of, member, ptr, split_btf, struct, typedef, union
from tests.builders.core import decide
from tests.support.decision_lines import format_decision
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.ext import CoreRelo, CoreReloKind
from xdploaderd.btf.types import Array, BtfKind, BtfType, Composite, Enum, Fwd, Int, Ref
from xdploaderd.errors import CoreRelocationError
from xdploaderd.relo_core import resolve
from xdploaderd.relo_core.budget import Budget
from xdploaderd.relo_core.decision import CoreDecision
from xdploaderd.relo_core.resolve import CorePlace, CoreResolver

K = CoreReloKind


def new_value(local: Btf, target: Btf, kind: CoreReloKind, type_id: int, access: str = "0") -> int | None:
    """Return the value written, None for poison."""
    decision = decide(local, [target], kind, type_id, access)
    return None if decision.value.poison else decision.value.new


LOCAL = btf_of(
    S32,
    U32,
    struct("s", 16, member("a", 1), member("b", 2, 8), member("gone", 2, 12)),
    struct("missing", 4, member("x", 1)),
    Enum(BtfKind.ENUM, "e", 4, False, (("V", 1), ("GONE", 2))),
    typedef("t", 1),
)
TARGET = btf_of(
    S32,
    U64,
    struct("s", 64, member("b", 2, 40), member("a", 1, 8)),
    Enum(BtfKind.ENUM, "e", 4, True, (("FIRST", 0), ("V", 7))),
    typedef("t", 2),
    name="vmlinux",
)
STRUCT, MISSING, ENUM, TYPEDEF = 3, 4, 5, 6


@pytest.mark.parametrize(
    ("kind", "type_id", "access", "value"),
    [
        (K.FIELD_BYTE_OFFSET, STRUCT, "0:1", 40),
        (K.FIELD_BYTE_OFFSET, STRUCT, "2:0", 136),
        (K.FIELD_BYTE_SIZE, STRUCT, "0:1", 8),
        (K.FIELD_BYTE_SIZE, STRUCT, "0", 64),
        (K.FIELD_EXISTS, STRUCT, "0:1", 1),
        (K.FIELD_SIGNED, STRUCT, "0:0", 1),
        (K.FIELD_SIGNED, STRUCT, "0:1", 0),
        (K.FIELD_LSHIFT_U64, STRUCT, "0:0", 32),
        (K.FIELD_RSHIFT_U64, STRUCT, "0:0", 32),
        (K.FIELD_RSHIFT_U64, STRUCT, "0:1", 0),
        (K.TYPE_ID_LOCAL, STRUCT, "0", STRUCT),
        (K.TYPE_ID_TARGET, TYPEDEF, "0", 5),
        (K.TYPE_EXISTS, STRUCT, "0", 1),
        (K.TYPE_SIZE, STRUCT, "0", 64),
        (K.TYPE_SIZE, TYPEDEF, "0", 8),
        (K.ENUMVAL_EXISTS, ENUM, "0", 1),
        (K.ENUMVAL_VALUE, ENUM, "0", 7),
        (K.TYPE_MATCHES, ENUM, "0", 0),
        # nothing there
        (K.FIELD_BYTE_OFFSET, STRUCT, "0:2", None),
        (K.FIELD_BYTE_SIZE, STRUCT, "0:2", None),
        (K.FIELD_EXISTS, STRUCT, "0:2", 0),
        (K.FIELD_SIGNED, STRUCT, "0:2", None),
        (K.FIELD_LSHIFT_U64, STRUCT, "0:2", None),
        (K.FIELD_RSHIFT_U64, STRUCT, "0:2", None),
        (K.FIELD_BYTE_OFFSET, MISSING, "0:0", None),
        (K.FIELD_EXISTS, MISSING, "0:0", 0),
        (K.TYPE_ID_LOCAL, MISSING, "0", MISSING),
        (K.TYPE_ID_TARGET, MISSING, "0", 0),
        (K.TYPE_EXISTS, MISSING, "0", 0),
        (K.TYPE_SIZE, MISSING, "0", 0),
        (K.TYPE_MATCHES, MISSING, "0", 0),
        (K.ENUMVAL_EXISTS, ENUM, "1", 0),
        (K.ENUMVAL_VALUE, ENUM, "1", None),
    ],
)
def test_every_kind_has_its_value_and_its_answer_when_absent(
    kind: CoreReloKind, type_id: int, access: str, value: int | None
) -> None:
    assert new_value(LOCAL, TARGET, kind, type_id, access) == value


BITS_LOCAL = btf_of(
    U32, U64, struct("bf", 8, bits("x", 1, 0, 5), bits("y", 1, 5, 27), bits("z", 2, 32, 30), kflag=True)
)
BITS_TARGET = btf_of(
    U32, U64, struct("bf", 24, bits("x", 1, 32, 5), bits("y", 1, 37, 27), bits("z", 2, 64, 30), kflag=True)
)


@pytest.mark.parametrize(("kind", "value"), [(K.FIELD_LSHIFT_U64, 0xFFFFFFF8), (K.FIELD_RSHIFT_U64, 0xFFFFFFF8)])
def test_shifts_of_a_field_of_over_64_bits_are_counted_in_32_bits(kind: K, value: int) -> None:
    local = btf_of(U8, Array(1, 1, 8), struct("s", 8, member("a", 2)))
    target = btf_of(U8, Array(1, 1, 9), struct("s", 9, member("a", 2)))
    assert decide(local, [target], kind, 3, "0:0").value.new == value


@pytest.mark.parametrize(
    ("field", "offset", "size", "lshift", "rshift"), [(0, 4, 4, 59, 59), (1, 4, 4, 32, 37), (2, 8, 8, 34, 34)]
)
def test_bit_fields_are_read_from_the_aligned_bytes_of_their_type(
    field: int, offset: int, size: int, lshift: int, rshift: int
) -> None:
    kinds = (K.FIELD_BYTE_OFFSET, K.FIELD_BYTE_SIZE, K.FIELD_LSHIFT_U64, K.FIELD_RSHIFT_U64)
    got = tuple(new_value(BITS_LOCAL, BITS_TARGET, kind, 3, f"0:{field}") for kind in kinds)
    assert got == (offset, size, lshift, rshift)


def test_bit_field_over_two_words_is_read_by_a_wider_load() -> None:
    packed = btf_of(
        U32, U64, struct("bf", 8, bits("x", 1, 30, 5), bits("y", 1, 35, 5), bits("z", 2, 40, 1), kflag=True)
    )
    assert new_value(BITS_LOCAL, packed, K.FIELD_BYTE_SIZE, 3, "0:0") == 8
    assert new_value(BITS_LOCAL, packed, K.FIELD_LSHIFT_U64, 3, "0:0") == 64 - 35
    assert new_value(BITS_LOCAL, packed, K.FIELD_BYTE_OFFSET, 3, "0:1") == 4


def test_bit_field_that_no_load_can_read_is_refused() -> None:
    packed = btf_of(U32, U64, struct("bf", 16, bits("z", 2, 3, 63), kflag=True))
    with pytest.raises(CoreRelocationError, match="cannot be read by one load"):
        decide(BITS_LOCAL, [packed], K.FIELD_BYTE_OFFSET, 3, "0:2")


@pytest.mark.parametrize("base", [ptr(0), struct("odd", 4), Int("zero", 0, 0, 0, 0)])
def test_bit_field_of_a_type_that_is_no_number_is_refused(base: BtfType) -> None:
    target = btf_of(base, struct("bf", 16, bits("z", 1, 3, 5), kflag=True))
    local = btf_of(base, struct("bf", 16, bits("z", 1, 3, 5), kflag=True))
    with pytest.raises(CoreRelocationError, match="want an int or enum"):
        decide(local, [target], K.FIELD_BYTE_OFFSET, 2, "0:0")


def test_left_shift_of_a_big_endian_object_counts_from_the_other_end() -> None:
    types: tuple[BtfType, ...] = (U32, struct("bf", 4, bits("x", 1, 3, 5), kflag=True))
    big = btf_of(*types, byteorder="big")
    assert new_value(big, big, K.FIELD_LSHIFT_U64, 2, "0:0") == (8 - 4) * 8 + 3


def offset_in(*target: BtfType, access: str = "0:0", local: tuple[BtfType, ...] = ()) -> int | None:
    """Offset of field `a` of struct s, the last type of the target."""
    blob = btf_of(*(local or (S32, struct("s", 4, member("a", 1)))))
    return new_value(blob, btf_of(*target), K.FIELD_BYTE_OFFSET, len(blob) - 1, access)


def test_member_is_found_in_anonymous_structs_and_unions() -> None:
    inner = union("", 8, member("b", 1), member("a", 1))
    assert (
        offset_in(S32, inner, struct("", 16, member("c", 1), member("", 2, 8)), struct("s", 32, member("", 3, 8))) == 16
    )


def test_anonymous_member_here_may_be_plain_there() -> None:
    local = (S32, union("", 4, member("a", 1)), struct("s", 4, member("", 2)))
    assert offset_in(S32, struct("s", 8, member("a", 1, 4)), local=local, access="0:0:0") == 4


def test_struct_may_be_a_union_below_the_root_only() -> None:
    local = (S32, struct("in", 4, member("a", 1)), struct("s", 4, member("in", 2)))
    assert (
        offset_in(S32, union("in", 4, member("a", 1)), struct("s", 8, member("in", 2, 4)), local=local, access="0:0:0")
        == 4
    )
    assert offset_in(S32, union("s", 4, member("a", 1))) is None


@pytest.mark.parametrize(
    "other", [ptr(0), Enum(BtfKind.ENUM, "e", 4, False, ()), Array(1, 1, 1), Fwd("f", union=False)]
)
def test_member_of_another_kind_does_not_match(other: BtfType) -> None:
    decision = decide(LOCAL, [btf_of(S32, other, struct("s", 8, member("a", 2)))], K.FIELD_EXISTS, STRUCT, "0:0")
    assert decision.value.new == 0
    assert decision.candidates[0].mismatch == "its member 'a' is of another kind"


def test_array_index_has_to_be_inside_the_target_unless_it_is_flexible() -> None:
    local = (S32, Array(1, 1, 8), struct("s", 32, member("a", 2)))
    for nelems, offset in ((8, 32), (4, None), (0, 32)):
        target = (S32, Array(1, 1, nelems), struct("s", 64, member("z", 1), member("a", 2, 12)))
        assert offset_in(*target, local=local, access="0:0:5") == offset
    not_last = (S32, Array(1, 1, 0), struct("s", 64, member("a", 2), member("z", 1)))
    assert offset_in(*not_last, local=local, access="0:0:5") is None
    assert offset_in(S32, struct("s", 4, member("a", 1)), local=local, access="0:0:5") is None


def test_offset_of_an_array_element_uses_the_targets_element_size() -> None:
    local = (S32, Array(1, 1, 8), struct("s", 32, member("a", 2)))
    assert offset_in(U64, Array(1, 1, 8), struct("s", 64, member("a", 2)), local=local, access="0:0:5") == 40


def test_signedness_of_an_array_element_cannot_be_asked() -> None:
    local = btf_of(S32, Array(1, 1, 8), struct("s", 32, member("a", 2)))
    with pytest.raises(CoreRelocationError, match="signed cannot be asked of an array element"):
        decide(local, [local], K.FIELD_SIGNED, 3, "0:0:1")


def test_enumerator_is_found_by_its_essential_name() -> None:
    local = btf_of(Enum(BtfKind.ENUM, "e___mine", 4, False, (("E_C___mine", 1),)))
    target = btf_of(Enum(BtfKind.ENUM64, "e", 8, False, (("E_B", 3), ("E_C___x", 1 << 40), ("E_C", 5))))
    assert new_value(local, target, K.ENUMVAL_VALUE, 1) == 1 << 40


def test_unsigned_enumerators_are_sign_extended_as_libbpf_reads_them() -> None:
    target = btf_of(Enum(BtfKind.ENUM, "e", 4, False, (("V", -1),)))
    assert new_value(LOCAL, target, K.ENUMVAL_VALUE, ENUM) == (1 << 64) - 1


FLAVORS = btf_of(
    S32, struct("s", 4, member("a", 1)), struct("s___v2", 8, member("b", 1), member("a", 1, 4)), struct("s____no", 4)
)


def test_candidates_are_all_flavors_whatever_flavor_the_local_type_is() -> None:
    for name in ("s", "s___v2", "s___other"):
        local = btf_of(S32, struct(name, 4, member("b", 1)))
        decision = decide(local, [FLAVORS], K.FIELD_BYTE_OFFSET, 2, "0:0")
        assert [c.spec.type_id for c in decision.candidates] == [2, 3]
        assert decision.target is not None
        assert decision.target.type_id == 3


@pytest.mark.parametrize("kind", [K.FIELD_BYTE_OFFSET, K.FIELD_BYTE_SIZE, K.FIELD_EXISTS])
def test_matching_candidates_with_other_offsets_are_ambiguous_for_every_field_kind(kind: CoreReloKind) -> None:
    local = btf_of(S32, struct("s", 4, member("a", 1)))
    with pytest.raises(CoreRelocationError, match="bit offsets 0 and 32") as caught:
        decide(local, [FLAVORS], kind, 2, "0:0")
    assert caught.value.fields["candidates"]


def test_candidates_have_to_agree_on_the_value() -> None:
    local = btf_of(S32, struct("s", 4, member("a", 1)))
    with pytest.raises(CoreRelocationError, match="values 2 and 3"):
        decide(local, [FLAVORS], K.TYPE_ID_TARGET, 2)
    with pytest.raises(CoreRelocationError, match="values 4 and 8"):
        decide(local, [FLAVORS], K.TYPE_SIZE, 2)
    assert new_value(local, btf_of(struct("s", 8), struct("s___v2", 8)), K.TYPE_SIZE, 2) == 8
    assert new_value(local, FLAVORS, K.TYPE_EXISTS, 2) == 1


def test_candidates_that_matched_once_are_the_only_ones_later() -> None:
    local = btf_of(S32, struct("pr", 8, member("a", 1), member("only1", 1, 4)))
    target = btf_of(
        S32,
        struct("pr", 8, member("a", 1), member("only1", 1, 4)),
        struct("pr___2", 8, member("b", 1), member("a", 1, 4)),
    )

    def run(*accesses: str) -> list[CoreDecision]:
        resolver = CoreResolver(local, [target])
        relos = [CoreRelo(0, 2, access, K.FIELD_BYTE_OFFSET) for access in accesses]
        return [resolver.resolve(r, CorePlace("p", "xdp", n, n)) for n, r in enumerate(relos)]

    assert [decision.value.new for decision in run("0:1", "0:0")] == [4, 0]
    with pytest.raises(CoreRelocationError, match="disagree"):
        run("0:0", "0:1")


def test_equal_records_are_decided_alike_and_keep_their_own_places() -> None:
    resolver = CoreResolver(LOCAL, [FLAVORS])
    relo = CoreRelo(0, STRUCT, "0:1", K.FIELD_EXISTS)
    first, second, third = (resolver.resolve(relo, CorePlace("p", "xdp", n, n + 5)) for n in range(3))
    assert (first.number, first.insn_idx, third.number, third.insn_idx) == (0, 5, 2, 7)
    assert [len(decision.candidates) for decision in (first, second, third)] == [2, 1, 1]  # cut down, as in libbpf
    assert first.value == second.value == third.value
    assert second.target == third.target


def test_candidates_stay_when_none_matched() -> None:
    resolver = CoreResolver(LOCAL, [TARGET])
    gone = resolver.resolve(CoreRelo(0, STRUCT, "0:2", K.FIELD_EXISTS), CorePlace("p", "xdp", 0, 0))
    there = resolver.resolve(CoreRelo(0, STRUCT, "0:1", K.FIELD_EXISTS), CorePlace("p", "xdp", 1, 0))
    assert (gone.value.new, there.value.new) == (0, 1)


def test_modules_are_searched_only_when_vmlinux_has_no_candidate() -> None:
    module = split_btf(TARGET, struct("s", 4, member("a", 1)), struct("missing", 32, member("x", 1, 16)), name="nf_nat")
    other = split_btf(TARGET, struct("missing___x", 32, member("x", 1, 16)), name="other")
    in_vmlinux = decide(LOCAL, [TARGET, module], K.FIELD_BYTE_OFFSET, STRUCT, "0:0")
    assert [c.spec.btf for c in in_vmlinux.candidates] == ["vmlinux"]
    in_module = decide(LOCAL, [TARGET, module, other], K.FIELD_BYTE_OFFSET, MISSING, "0:0")
    assert [(c.spec.btf, c.spec.type_id) for c in in_module.candidates] == [("nf_nat", 7), ("other", 6)]
    assert in_module.value.new == 16
    assert new_value(LOCAL, TARGET, K.FIELD_BYTE_OFFSET, MISSING, "0:0") is None


def test_record_on_an_anonymous_type_is_refused_but_for_its_local_id() -> None:
    local = btf_of(S32, struct("", 4, member("a", 1)))
    assert new_value(local, TARGET, K.TYPE_ID_LOCAL, 2) == 2
    with pytest.raises(CoreRelocationError, match="has no name"):
        decide(local, [TARGET], K.TYPE_EXISTS, 2)


def test_nothing_but_local_ids_is_resolved_without_a_target() -> None:
    assert decide(LOCAL, [], K.TYPE_ID_LOCAL, STRUCT).value.new == STRUCT
    with pytest.raises(CoreRelocationError, match="no kernel BTF"):
        decide(LOCAL, [], K.TYPE_EXISTS, STRUCT)


def test_malformed_target_types_are_core_errors_that_name_the_record() -> None:
    broken = btf_of(S32, typedef("loop", 2), Array(2, 2, 1), struct("s", 8, member("a", 1), member("b", 2)))
    with pytest.raises(CoreRelocationError, match=r"^CO-RE relo #0 at insn #0: BTF 'test'"):
        decide(LOCAL, [broken], K.FIELD_BYTE_OFFSET, STRUCT, "0:1")
    with pytest.raises(CoreRelocationError, match="kind 13"):
        decide(LOCAL, [TARGET], 13, STRUCT, "0:1")


def test_endless_anonymous_nesting_of_a_target_is_refused() -> None:
    endless = btf_of(
        Composite(BtfKind.STRUCT, "s", 4, struct("", 4, member("", 2)).members), struct("", 4, member("", 2))
    )
    with pytest.raises(CoreRelocationError, match="anonymous members are nested"):
        decide(LOCAL, [endless], K.FIELD_EXISTS, STRUCT, "0:0")


def test_doubling_anonymous_nesting_of_a_target_ends_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve, "Budget", lambda: Budget(1000))
    doubling = btf_of(
        S32,
        *(struct("", 4, member("", level), member("", level)) for level in range(1, 40)),
        struct("s", 4, member("", 40)),
    )
    with pytest.raises(CoreRelocationError, match="steps"):
        decide(LOCAL, [doubling], K.FIELD_EXISTS, STRUCT, "0:0")


def test_decision_tells_both_specs_every_candidate_and_the_outcome() -> None:
    local = btf_of(S32, struct("s___old", 4, member("b", 1)))
    assert format_decision(decide(local, [FLAVORS], K.FIELD_BYTE_OFFSET, 2, "0:0")) == (
        "prog 'p': relo #0: <byte_off> [2] struct s___old.b (0:0 @ offset 0)",
        "prog 'p': relo #0: non-matching candidate #0 <byte_off> [2] struct s (0 @ offset 0) in test: "
        "it has no member 'b'",
        "prog 'p': relo #0: matching candidate #1 <byte_off> [3] struct s___v2.b (0:0 @ offset 0) in test",
        "prog 'p': relo #0: insn #0: 0 => 0",
    )
    assert format_decision(decide(LOCAL, [TARGET], K.FIELD_SIGNED, MISSING, "0:0"))[-1].endswith(
        "insn #0 poisoned: no candidate matches"
    )


def test_typedefs_match_typedefs_only() -> None:
    local = btf_of(CHAR, typedef("s", 1))
    assert new_value(local, TARGET, K.TYPE_EXISTS, 2) == 0
    assert new_value(LOCAL, btf_of(U8, typedef("t", 1)), K.TYPE_EXISTS, TYPEDEF) == 1
    constant = btf_of(S32, Ref(BtfKind.CONST, "", 1), typedef("t", 2))
    assert new_value(LOCAL, constant, K.TYPE_EXISTS, TYPEDEF) == 1
