"""Types are found by name, however many have one and wherever its bytes stand."""

from unittest import mock

import pytest

from tests.builders.btf import btf_of, member, ptr, struct, typedef
from xdploaderd.btf import lookup, strings
from xdploaderd.btf.build import BtfBuilder
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import Array, BtfKind
from xdploaderd.errors import BtfError


def test_names_are_found_by_kind_and_by_essential_name() -> None:
    btf = btf_of(struct("sk_buff", 4), typedef("sk_buff", 1), struct("sk_buff___old", 8), struct("my_sk_buff", 1))
    assert btf.ids_by_name("sk_buff", {BtfKind.STRUCT}) == (1,)
    assert btf.ids_by_name("sk_buff", {BtfKind.STRUCT, BtfKind.TYPEDEF}) == (1, 2)
    assert btf.ids_by_essential_name("sk_buff", {BtfKind.STRUCT}) == (1, 3)
    assert btf.ids_by_essential_name("sk_buff___old", {BtfKind.STRUCT}) == ()  # its essential name is another
    assert btf.ids_by_name("sk_buff___old", {BtfKind.STRUCT}) == (3,)
    assert btf.ids_by_name("buff", {BtfKind.STRUCT}) == ()
    assert btf.ids_by_name("", {BtfKind.STRUCT}) == ()
    assert btf.ids_by_name("\udcff", {BtfKind.STRUCT}) == ()


def test_flavor_of_a_flavor_is_not_its_name() -> None:
    btf = btf_of(struct("a", 4), struct("a___b", 4), struct("a___b___c", 4))
    assert btf.ids_by_essential_name("a", {BtfKind.STRUCT}) == (1, 2)
    assert btf.ids_by_essential_name("a___b", {BtfKind.STRUCT}) == (3,)


def test_many_names_are_answered_from_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xdploaderd.btf.lookup.MAX_SEARCHES", 3)
    types = [struct(f"s{number}{flavor}", 4) for number in range(8) for flavor in ("", "___x")]
    btf = btf_of(*types, struct("\udcff", 4))
    for number in range(8):
        assert btf.ids_by_essential_name(f"s{number}", {BtfKind.STRUCT}) == (2 * number + 1, 2 * number + 2)
        assert btf.ids_by_essential_name(f"missing{number}", {BtfKind.STRUCT}) == ()


def test_four_bytes_that_are_no_name_are_not_taken_for_one() -> None:
    builder = BtfBuilder()
    offset = builder.add_string("s")
    for btf_type in (struct("t", offset, member("s", 1)), Array(1, 1, offset), struct("s", 1)):
        builder.add(btf_type)
    btf = Btf.parse(builder.encode(), name="x")
    assert btf.ids_by_name("s", frozenset(BtfKind)) == (3,)


def test_name_whose_bytes_are_everywhere_is_found_by_a_table() -> None:
    everywhere = [ptr(1)] * 30_000  # the offset of the first string is 1, as is the type they point to
    with mock.patch.object(lookup, "MAX_HITS", 100):
        btf = btf_of(struct("s", 4), *everywhere, struct("t", 4), struct("s", 8))
        assert btf.ids_by_name("s", {BtfKind.STRUCT}) == (1, 30_003)
        assert btf.ids_by_name("t", {BtfKind.STRUCT}) == (30_002,)


def test_many_names_are_found_in_the_column_of_names() -> None:
    builder = BtfBuilder()
    for _ in range(200):  # whose names are at offset 1: the bytes of 65,536 are across any two of them
        builder.add(struct("s", 4))
    builder.add_string("x" * (65_536 - 4))
    last = builder.add(struct("t", 4))
    names = [builder.add(struct(f"u{number}", 4)) for number in range(lookup.FEW_SEARCHES)]
    for most in (100, 100_000):
        with mock.patch.object(lookup, "MAX_HITS", most):
            btf = Btf.parse(builder.encode(), name="test")
            for number, type_id in enumerate(names):
                assert btf.ids_by_name(f"u{number}", {BtfKind.STRUCT}) == (type_id,)
            assert btf.ids_by_name("t", {BtfKind.STRUCT}) == (last,)
            assert btf.ids_by_name("s", {BtfKind.STRUCT}) == tuple(range(1, 201))


def test_very_many_types_or_flavors_of_one_name_are_refused() -> None:
    btf = btf_of(*(struct("s", 4) for _ in range(lookup.MAX_SAME_RECORDS + 1)))
    with pytest.raises(BtfError, match="over 16384 types have one name"):
        btf.ids_by_name("s", {BtfKind.STRUCT})
    with mock.patch.object(strings, "MAX_ALIKE", 3):
        flavors = btf_of(*(struct(f"s___{number}", 4) for number in range(4)))
        with pytest.raises(BtfError, match="over 3 strings start with 's'"):
            flavors.ids_by_essential_name("s", {BtfKind.STRUCT})
