"""Sizes of maps that every kernel refuses."""

from dataclasses import replace

import pytest

from tests.builders.spec import EXIT_INSN, NOP, data_map, object_spec, program, target_kernel
from xdploaderd.obj.prepare import prepare
from xdploaderd.obj.spec import MapSpec
from xdploaderd.uapi.bpf import MapType
from xdploaderd.verdict.abilities import Abilities
from xdploaderd.verdict.check_maps import check_maps
from xdploaderd.verdict.model import Verdict

PLAIN = data_map("m", "", 8)


def limits_of(spec: MapSpec) -> tuple[Verdict, str]:
    obj = replace(object_spec(program("p", [NOP, EXIT_INSN])), maps={spec.name: spec})
    checks = check_maps(prepare(obj, target_kernel()), Abilities())
    return next((check.verdict, check.reason) for check in checks if check.check == "limits")


def test_usual_map_holds() -> None:
    assert limits_of(PLAIN) == (Verdict.HOLDS, "key 4, value 8, 1 entries")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (replace(PLAIN, key_size=8), "an index has 4"),
        (replace(PLAIN, max_entries=0), "it has no entries"),
        (replace(PLAIN, value_size=0), "its value has no size"),
        (replace(PLAIN, type=MapType.HASH, key_size=0), "its key has no size"),
        (replace(PLAIN, type=MapType.QUEUE), "its type has none"),
        (replace(PLAIN, type=MapType.RINGBUF, key_size=0, max_entries=0, value_size=0), "want a power of two of pages"),
        (replace(PLAIN, type=MapType.RINGBUF, key_size=0, max_entries=4096), "a ring buffer has none"),
        (replace(PLAIN, type=MapType.ARRAY_OF_MAPS, value_size=4), "does not say of which kind"),
    ],
)
def test_size_that_every_kernel_refuses_fails(spec: MapSpec, said: str) -> None:
    verdict, reason = limits_of(spec)
    assert verdict is Verdict.FAILS
    assert said in reason
