"""BtfEdit: what is not changed stays as it lies, what is changed keeps its place."""

import struct

import pytest

from tests.builders.btf import S32, U32, btf_of, member
from tests.builders.btf import struct as btf_struct
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.edit import BtfEdit
from xdploaderd.btf.sanitize import sanitize_types
from xdploaderd.btf.types import BtfKind, Datasec, Func, FuncProto, Int, SecVar, Var

TYPES = (
    S32,
    Var("counter", 1, 1),
    Datasec(".bss", 0, (SecVar(2, 0, 4),)),
    FuncProto(1, ()),
    Func("prog", 4, 1),
    btf_struct("s", 4, member("a", 1)),
)


def read(edit: BtfEdit) -> list[object]:
    return [btf_type for _, btf_type in Btf.parse(edit.encode(), name="edited").types()]


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_blob_without_a_change_is_the_same_bytes(byteorder: str) -> None:
    btf = btf_of(*TYPES, byteorder=byteorder)
    assert BtfEdit(btf).encode() == btf.raw


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_change_keeps_every_other_record_and_the_string_offsets(byteorder: str) -> None:
    btf = btf_of(*TYPES, byteorder=byteorder)
    edit = BtfEdit(btf)
    edit[3] = Datasec(".bss", 4, (SecVar(2, 0, 4),))
    edit[5] = Func("other", 4, 0)
    assert edit[3].size == 4  # type: ignore[union-attr]
    assert read(edit) == [*TYPES[:2], edit[3], TYPES[3], edit[5], TYPES[5]]
    after = Btf.parse(edit.encode(), name="edited")
    assert after.strings == btf.strings + b"other\0"
    assert after.byteorder == byteorder


def test_bits_that_mean_nothing_here_are_left_to_the_kernel() -> None:
    raw = bytearray(btf_of(S32, U32).raw)
    struct.pack_into("<I", raw, 24 + 4, BtfKind.INT << 24 | 7)  # a length, which an integer has not
    assert BtfEdit(Btf.parse(bytes(raw), name="odd")).encode() == raw


def test_new_types_follow_and_can_be_changed_too() -> None:
    edit = BtfEdit(btf_of(*TYPES))
    new = edit.add(Int("long", 8, 1, 0, 64))
    assert (new, len(edit)) == (7, 8)
    assert [type_id for type_id, _ in edit.of_kind(BtfKind.INT)] == [1, 7]
    edit[new] = Int("short", 2, 1, 0, 16)
    assert read(edit)[6] == edit[new] == Int("short", 2, 1, 0, 16)


def test_variable_added_for_a_kernel_without_datasecs_becomes_an_integer() -> None:
    edit = BtfEdit(btf_of(*TYPES))
    new = edit.add(Var("dummy", 1, 1))
    sanitize_types(edit, frozenset())
    assert edit[new] == Int("dummy", 1, 0, 0, 8)


def test_change_to_a_record_of_another_length_is_a_fault_of_the_caller() -> None:
    edit = BtfEdit(btf_of(*TYPES))
    edit[3] = Datasec(".bss", 4, ())
    with pytest.raises(ValueError, match=r"type \[3\] becomes 12 bytes long, was 24"):
        edit.encode()
