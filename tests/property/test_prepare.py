"""Objects with damaged bytes are prepared or refused by a typed error, and quickly."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders.spec import btf_of, target_kernel
from xdploaderd.btf.types import BtfKind, Composite, Int, Member
from xdploaderd.errors import LoaderError
from xdploaderd.obj.open import open_object
from xdploaderd.obj.prepare import prepare

pytestmark = pytest.mark.property

OBJECTS = [
    (Path(__file__).parent.parent / "bpf" / f"{name}.bpf.o").read_bytes()
    for name in ("std_calls", "std_externs", "std_globals", "std_maps", "demo_xdp", "legacy_tail")
]
KERNEL = target_kernel(
    btf_of(
        Int("unsigned int", 4, 0, 0, 32),
        Composite(BtfKind.STRUCT, "xdp_md", 8, (Member("data", 1, 32, 0),)),
        name="vmlinux",
    ),
    kconfig="CONFIG_BPF=y\nCONFIG_HZ=250\n",
    kallsyms="ffffffff81000000 T _text\n",
)
ELF_HEADER = 64
DAMAGE = st.tuples(st.integers(ELF_HEADER, 1 << 16), st.binary(min_size=1, max_size=8))


@settings(max_examples=200, deadline=1000, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(OBJECTS), st.lists(DAMAGE, min_size=1, max_size=8))
def test_damaged_object_is_prepared_or_refused(raw: bytes, damages: list[tuple[int, bytes]]) -> None:
    damaged = bytearray(raw)
    for at, written in damages:
        start = ELF_HEADER + at % (len(raw) - ELF_HEADER - len(written))
        damaged[start : start + len(written)] = written
    try:
        obj = open_object(bytes(damaged), name="damaged.bpf.o")
        prepared = prepare(obj, KERNEL, partial=True)
    except LoaderError:
        return
    autoload = {name for name, program in obj.programs.items() if program.autoload}
    assert prepared.programs.keys() | prepared.failed.keys() == autoload
