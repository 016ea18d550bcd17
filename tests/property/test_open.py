"""Opening: whatever the bytes are, the outcome is an ObjectSpec or a LoaderError, soon, and in bounded memory."""

import struct
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xdploaderd.errors import LoaderError
from xdploaderd.obj.open import open_object
from xdploaderd.obj.select import select_programs
from xdploaderd.obj.spec import ObjectSpec

BPF = Path(__file__).parents[1] / "bpf"
OBJECTS = [
    (BPF / f"{name}.bpf.o").read_bytes()
    for name in ("std_maps", "std_externs", "std_calls", "std_globals", "legacy_mim", "legacy_tail", "legacy_pin2_btf")
]
INTERESTING = (
    0,
    1,
    7,
    8,
    0x7F,
    0x80,
    0xFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 40,
    (1 << 63) - 1,
    1 << 63,
)

pytestmark = pytest.mark.property


def outcome(raw: bytes) -> ObjectSpec | LoaderError:
    """Open bytes; anything but the two outcomes is an error of the test, as is a second of work."""
    begin = time.process_time()
    try:
        return select_programs(open_object(raw, name="mutant.o"))
    except LoaderError as error:
        return error
    finally:
        assert time.process_time() - begin < 1


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """A valid object with some fields overwritten: anywhere, or among the section headers."""
    raw = bytearray(draw(st.sampled_from(OBJECTS)))
    (headers,) = struct.unpack_from("<Q", raw, 40)
    for _ in range(draw(st.integers(1, 6))):
        size = draw(st.sampled_from((1, 2, 4, 8)))
        first = headers if draw(st.booleans()) else 0
        at = draw(st.integers(first, len(raw) - size))
        value = draw(st.sampled_from(INTERESTING) | st.integers(0, (1 << 64) - 1))
        raw[at : at + size] = (value & ((1 << size * 8) - 1)).to_bytes(size, "little")
    return bytes(raw)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(mutants())
def test_mutated_object_is_opened_or_refused(raw: bytes) -> None:
    assert isinstance(outcome(raw), ObjectSpec | LoaderError)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(OBJECTS), st.floats(0, 1))
def test_truncated_object_is_refused(raw: bytes, part: float) -> None:
    assert isinstance(outcome(raw[: int(len(raw) * part * 0.9999)]), LoaderError)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_are_refused(raw: bytes) -> None:
    assert isinstance(outcome(raw), LoaderError)
    assert isinstance(outcome(b"\x7fELF\x02\x01\x01" + raw), LoaderError)
