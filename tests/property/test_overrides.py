"""Values of variables as text: what fits is stored, what does not is refused by a typed error."""

import sys
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.spec import btf_of
from xdploaderd.btf.types import Array, BtfKind, Enum, Float, Int, Ref
from xdploaderd.errors import OverrideError
from xdploaderd.obj.variable_values import encode_value

pytestmark = pytest.mark.property

U64 = (1 << 64) - 1
TYPES = btf_of(
    Int("u64", 8, 0, 0, 64),
    Int("long", 8, 1, 0, 64),
    Int("bool", 1, 4, 0, 8),
    Enum(BtfKind.ENUM64, "mode", 8, False, (("A", 1), ("B", U64))),
    Float("double", 8),
    Int("char", 1, 1, 0, 8),
    Array(6, 1, 8),
    Ref(BtfKind.PTR, "", 0),
)
TEXT = st.text(st.sampled_from("0123456789abxXefh:-+._ntrue\0") | st.characters(exclude_categories=["Cs"]), max_size=40)


@given(st.integers(min_value=0, max_value=U64), st.sampled_from(["{}", "{:#x}"]))
def test_number_that_fits_is_stored(value: int, form: str) -> None:
    raw = encode_value(TYPES, 1, form.format(value), size=8, byteorder=sys.byteorder)
    assert int.from_bytes(raw, sys.byteorder) == value


@given(st.sampled_from(range(1, len(TYPES))), TEXT | TEXT.map("hex:{}".format), st.sampled_from([0, 1, 8]))
def test_any_text_is_stored_in_full_or_refused(type_id: int, text: str, size: int) -> None:
    with suppress(OverrideError):
        assert len(encode_value(TYPES, type_id, text, size=size, byteorder="big")) == size
