"""struct_ops maps and arenas in the running kernel."""

import pytest

from tests.support.loading import load_file
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.uapi.bpf import MapFlags, MapType, ProgType

pytestmark = pytest.mark.kernel


def test_structs_of_functions_are_made_with_their_programs() -> None:
    with load_file("std_struct_ops", Bpf()) as loaded:
        assert set(loaded.programs) == {"half", "keep", "stay"}
        assert {info.type for info in loaded.infos.values()} == {ProgType.STRUCT_OPS}
        plain, linked = loaded.maps["plain_cc"].info, loaded.maps["linked_cc"].info
        assert (plain.type, linked.type) == (MapType.STRUCT_OPS, MapType.STRUCT_OPS)
        assert (plain.flags, linked.flags) == (0, MapFlags.LINK)
        assert plain.value_size == loaded.prepared.maps["plain_cc"].value_size > 96
        assert "spare_cc" not in loaded.maps


def test_arena_has_an_address_and_its_variables() -> None:
    with load_file("std_arena", Bpf()) as loaded:
        assert loaded.maps["arena"].info.type == MapType.ARENA
        assert set(loaded.programs) == {"add_one"}
