"""Variables of an arena: where their symbols point, and what is refused."""

from dataclasses import replace

import pytest

from tests.support.loading import OBJECTS
from xdploaderd.errors import LimitError, ObjectError
from xdploaderd.limits import Limits
from xdploaderd.obj.arena import arena_places, with_arena_data
from xdploaderd.obj.elf import ElfImage
from xdploaderd.obj.open import open_object
from xdploaderd.obj.places import PlacedMap
from xdploaderd.obj.spec import DataRef
from xdploaderd.uapi.bpf import MapType

RAW = (OBJECTS / "std_arena.bpf.o").read_bytes()


def test_variable_is_part_of_the_arena() -> None:
    obj = open_object(RAW, name="std_arena.bpf.o")
    assert obj.maps["arena"].contents == (41).to_bytes(8, "little")
    refs = {ref for ref in obj.programs["add_one"].function.relocs if isinstance(ref, DataRef)}
    assert ("arena", 0) in {(ref.map_name, ref.value_off) for ref in refs}


def test_variables_want_exactly_one_arena() -> None:
    image = ElfImage.parse(RAW, name="arena")
    spec = open_object(RAW, name="std_arena.bpf.o").maps["arena"]
    other = replace(spec, name="other", type=int(MapType.ARRAY), contents=None)
    arena = replace(spec, contents=None)
    with pytest.raises(ObjectError, match="no map is an arena"):
        with_arena_data(image, [PlacedMap(other, 1, 0)])
    with pytest.raises(ObjectError, match="maps 'arena' and 'second' are arenas"):
        with_arena_data(image, [PlacedMap(arena, 1, 0), PlacedMap(replace(arena, name="second"), 1, 8)])
    assert arena_places(image, [PlacedMap(arena, 1, 0)]) == ()


def test_variables_count_as_data() -> None:
    image = ElfImage.parse(RAW, name="arena", limits=Limits(data_bytes=7))
    arena = replace(open_object(RAW, name="std_arena.bpf.o").maps["arena"], contents=None)
    with pytest.raises(LimitError, match="arena variables of 8 bytes"):
        with_arena_data(image, [PlacedMap(arena, 1, 0)])
