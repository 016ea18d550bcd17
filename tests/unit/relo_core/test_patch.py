"""patch_insn: every class of instruction, the check of the old value, sizes and poison."""

import pytest

from tests.builders.btf import S32, U8, U32, U64, bits, btf_of, member, ptr, struct
from tests.builders.core import LDX_MEM, MOV_IMM, decide, patch
from tests.support.decision_lines import format_decision
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.ext import CoreReloKind
from xdploaderd.btf.types import BtfKind, BtfType, Enum, Int
from xdploaderd.errors import CoreRelocationError
from xdploaderd.insn import CALL, LD_IMM64, Insn, decode_insn
from xdploaderd.relo_core.decision import CoreDecision
from xdploaderd.relo_core.patch import POISON_IMM

DW, ST, STX = 0x18, 0x62, 0x63
POISON = Insn(CALL, 0, 0, 0, POISON_IMM)
OFFSET = CoreReloKind.FIELD_BYTE_OFFSET


def one_field(field: BtfType, offset: int) -> Btf:
    return btf_of(field, struct("s", 65536, member("f", 1, offset)))


def moved(field: BtfType, to: BtfType, offset: int = 16) -> CoreDecision:
    """A field at byte 8 that is at `offset` in the target."""
    return decide(one_field(field, 8), [one_field(to, offset)], OFFSET, 2, "0:0")


def test_immediate_operand_gets_the_new_value() -> None:
    decision, raw = patch(moved(U32, U32), Insn(MOV_IMM, 1, 0, 0, 8))
    assert decode_insn(raw, 0) == Insn(MOV_IMM, 1, 0, 0, 16)
    assert (decision.poisoned, len(decision.before), decision.after) == (False, 8, raw)
    assert format_decision(decision) == (
        "prog 'p': relo #0: <byte_off> [2] struct s.f (0:0 @ offset 8)",
        "prog 'p': relo #0: matching candidate #0 <byte_off> [2] struct s.f (0:0 @ offset 16) in test",
        "prog 'p': relo #0: insn #0 (ALU/ALU64) imm 8 => 16",
    )


@pytest.mark.parametrize("code", [LDX_MEM, ST, STX])
def test_loads_and_stores_get_the_new_offset(code: int) -> None:
    decision, raw = patch(moved(U32, U32), Insn(code, 1, 2, 8, 5))
    assert decode_insn(raw, 0) == Insn(code, 1, 2, 16, 5)
    assert format_decision(decision)[-1].endswith("insn #0 (LDX/ST/STX) off 8 => 16")


def test_load_of_an_unsigned_number_is_widened() -> None:
    decision, raw = patch(moved(U32, U64), Insn(LDX_MEM, 1, 2, 8, 0))
    assert decode_insn(raw, 0) == Insn(LDX_MEM | DW, 1, 2, 16, 0)
    assert format_decision(decision)[-1].endswith("off 8 => 16, mem_sz 4 => 8")


def test_load_keeps_its_mode_when_narrowed() -> None:
    sign_extending = 0x81  # BPF_LDX | BPF_MEMSX | BPF_W
    _, raw = patch(moved(U32, U8), Insn(sign_extending, 1, 2, 8, 0))
    assert decode_insn(raw, 0).code == sign_extending | 0x10


def test_pointer_loads_are_resized() -> None:
    narrow = btf_of(ptr(0), struct("s", 32, member("f", 1, 16)), Int("long unsigned int", 4, 0, 0, 32))
    decision = decide(btf_of(ptr(0), struct("s", 32, member("f", 1, 8))), [narrow], OFFSET, 2, "0:0")
    _, raw = patch(decision, Insn(LDX_MEM | DW, 1, 2, 8, 0))
    assert decode_insn(raw, 0) == Insn(LDX_MEM, 1, 2, 16, 0)


def test_load_of_a_signed_number_in_another_size_is_poisoned() -> None:
    wide = Int("long", 8, 1, 0, 64)
    decision, raw = patch(moved(S32, wide), Insn(LDX_MEM, 1, 2, 8, 0))
    assert decode_insn(raw, 0) == POISON
    assert decision.poisoned
    assert "unsigned" in decision.reason
    assert "poisoned" in format_decision(decision)[-1]
    _, raw = patch(moved(S32, wide), Insn(MOV_IMM, 1, 0, 0, 8))  # an offset as a number has no width
    assert decode_insn(raw, 0).imm == 16


def test_load_of_another_size_than_the_field_is_refused_where_it_would_be_resized() -> None:
    with pytest.raises(CoreRelocationError, match="accesses 1 bytes of a field of 4"):
        patch(moved(U32, U64), Insn(LDX_MEM | 0x10, 1, 2, 8, 0))
    _, raw = patch(moved(U32, U32), Insn(LDX_MEM | 0x10, 1, 2, 8, 0))
    assert decode_insn(raw, 0).off == 16


def test_field_of_16_bytes_cannot_be_loaded() -> None:
    with pytest.raises(CoreRelocationError, match="want 1, 2, 4 or 8"):
        patch(moved(U32, Int("unsigned __int128", 16, 0, 0, 128)), Insn(LDX_MEM, 1, 2, 8, 0))


def test_offset_over_32767_fits_an_immediate_but_no_load() -> None:
    far = moved(U32, U32, 32768)
    with pytest.raises(CoreRelocationError, match="32768 does not fit"):
        patch(far, Insn(LDX_MEM, 1, 2, 8, 0))
    _, raw = patch(far, Insn(MOV_IMM, 1, 0, 0, 8))
    assert decode_insn(raw, 0).imm == 32768


@pytest.mark.parametrize("insn", [Insn(MOV_IMM, 1, 0, 0, 9), Insn(LDX_MEM, 1, 2, 9, 0)])
def test_instruction_with_another_value_than_the_local_one_is_refused(insn: Insn) -> None:
    with pytest.raises(CoreRelocationError, match="holds 9, want the object's own value 8") as caught:
        patch(moved(U32, U32), insn)
    assert str(caught.value).startswith("CO-RE relo #0 at insn #0: ")


@pytest.mark.parametrize(
    "insn", [Insn(MOV_IMM | 8, 1, 2, 0, 8), Insn(0x05, 0, 0, 8, 0), Insn(CALL, 0, 0, 0, 8), Insn(0x20, 0, 0, 0, 8)]
)
def test_instructions_that_take_no_value_are_refused(insn: Insn) -> None:
    with pytest.raises(CoreRelocationError):
        patch(moved(U32, U32), insn)


def enum_value(local: int, target: int, *, kind: BtfKind = BtfKind.ENUM, signed: bool = True) -> CoreDecision:
    def blob(value: int, kind: BtfKind) -> Btf:
        return btf_of(Enum(kind, "e", 4 if kind is BtfKind.ENUM else 8, signed, (("OTHER", 0), ("V", value))))

    return decide(blob(local, BtfKind.ENUM), [blob(target, kind)], CoreReloKind.ENUMVAL_VALUE, 1, "1")


def _ld64(value: int) -> tuple[Insn, Insn]:
    low, high = value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF
    return Insn(LD_IMM64, 1, 0, 0, low - (low >> 31 << 32)), Insn(0, 0, 0, 0, high - (high >> 31 << 32))


@pytest.mark.parametrize("target", [2, -1, -(1 << 31)])
def test_64_bit_load_gets_the_sign_extended_enumerator(target: int) -> None:
    decision, raw = patch(enum_value(7, target), *_ld64(7))
    assert (decode_insn(raw, 0), decode_insn(raw, 1)) == _ld64(target & (1 << 64) - 1)
    assert format_decision(decision)[-1].endswith(f"(LDIMM64) imm64 7 => {target & (1 << 64) - 1}")
    _, raw = patch(enum_value(-2, 3), *_ld64((1 << 64) - 2))
    assert (decode_insn(raw, 0), decode_insn(raw, 1)) == _ld64(3)


def test_enum_may_become_an_enum64() -> None:
    _, raw = patch(enum_value(7, 1 << 40, kind=BtfKind.ENUM64), *_ld64(7))
    assert (decode_insn(raw, 0), decode_insn(raw, 1)) == _ld64(1 << 40)


def test_unsigned_enumerator_from_2_to_the_31_is_read_as_libbpf_does() -> None:
    with pytest.raises(CoreRelocationError, match="holds 4294967295, want the object's own value 18446744073709551615"):
        patch(enum_value(-1, 2, signed=False), *_ld64(0xFFFFFFFF))


def test_missing_enumerator_poisons_both_slots() -> None:
    local = btf_of(Enum(BtfKind.ENUM, "e", 4, False, (("V", 1),)))
    target = btf_of(Enum(BtfKind.ENUM, "e", 4, False, (("W", 1),)))
    decision, raw = patch(decide(local, [target], CoreReloKind.ENUMVAL_VALUE, 1), *_ld64(1))
    assert [decode_insn(raw, 0), decode_insn(raw, 1)] == [POISON, POISON]
    assert len(decision.after) == 16
    assert decision.candidates[0].mismatch == "it has no enumerator 'V'"


@pytest.mark.parametrize(
    "broken",
    [
        (Insn(LD_IMM64, 1, 1, 0, 7), Insn(0, 0, 0, 0, 0)),
        (Insn(LD_IMM64, 1, 0, 4, 7), Insn(0, 0, 0, 0, 0)),
        (Insn(LD_IMM64, 1, 0, 0, 7), Insn(0, 1, 0, 0, 0)),
        (Insn(LD_IMM64, 1, 0, 0, 7), Insn(MOV_IMM, 0, 0, 0, 0)),
        (Insn(LD_IMM64, 1, 0, 0, 7),),
    ],
)
def test_64_bit_load_of_anything_but_a_number_is_refused(broken: tuple[Insn, ...]) -> None:
    with pytest.raises(CoreRelocationError, match="64-bit load"):
        patch(enum_value(7, 8), *broken)


def test_instruction_outside_the_program_is_refused() -> None:
    with pytest.raises(CoreRelocationError, match="no such instruction"):
        patch(moved(U32, U32))


def test_bit_field_value_is_not_compared_with_the_instruction() -> None:
    local = btf_of(U32, struct("s", 8, bits("f", 1, 3, 5), kflag=True))
    target = btf_of(U32, struct("s", 16, bits("f", 1, 64, 5), kflag=True))
    _, raw = patch(decide(local, [target], OFFSET, 2, "0:0"), Insn(LDX_MEM, 1, 2, 2, 0))
    assert decode_insn(raw, 0).off == 8
    with pytest.raises(CoreRelocationError, match="holds 58"):
        patch(decide(local, [target], CoreReloKind.FIELD_RSHIFT_U64, 2, "0:0"), Insn(MOV_IMM, 1, 0, 0, 58))


def test_load_of_a_plain_field_that_is_a_bit_field_in_the_target_is_poisoned() -> None:
    target = btf_of(U32, struct("s", 16, bits("f", 1, 64, 5), kflag=True))
    decision = decide(one_field(U32, 8), [target], OFFSET, 2, "0:0")
    assert patch(decision, Insn(LDX_MEM, 1, 2, 8, 0))[0].poisoned
    assert not patch(decision, Insn(MOV_IMM, 1, 0, 0, 8))[0].poisoned
