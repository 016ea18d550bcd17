"""Map definitions in section .maps: what each member means, and what is refused with its map and member."""

import struct

import pytest

from tests.builders.btf import U32, U64, member, ptr
from tests.builders.btf import struct as btf_struct
from tests.builders.elf import Rel, Sec, Sym, object_of, program
from xdploaderd.btf.build import BtfBuilder
from xdploaderd.btf.types import Array, BtfKind, BtfType, Datasec, Enum, FuncProto, Linkage, Member, SecVar, Var
from xdploaderd.errors import LoaderError
from xdploaderd.obj.elf import SymBind, SymType, SymVisibility
from xdploaderd.obj.open import open_object
from xdploaderd.obj.spec import MapSpec, ObjectSpec
from xdploaderd.uapi.bpf import MapType


class MapObject:
    """An object whose section .maps is described by BTF made here, one definition after the other."""

    def __init__(self) -> None:
        self.types = BtfBuilder()
        self.u32, self.u64 = self.types.add(U32), self.types.add(U64)
        self.vars: list[tuple[str, int, int, int]] = []
        self.size = 0

    def number(self, name: str, value: int) -> Member:
        """Return a member made by __uint()."""
        return member(name, self.pointer(Array(self.u32, self.u32, value)))

    def pointer(self, target: BtfType | int) -> int:
        """Return the id of a pointer to a type."""
        return self.types.add(ptr(target if isinstance(target, int) else self.types.add(target)))

    def define(self, name: str, *members: Member, size: int = 32, linkage: int = Linkage.GLOBAL) -> int:
        """Add a map variable, and return the id of its structure."""
        type_id = self.types.add(btf_struct("", size, *members))
        self.vars.append((name, self.types.add(Var(name, type_id, linkage)), self.size, size))
        self.size += size
        return type_id

    def values(self, target: BtfType | int, offset: int = 24) -> Member:
        """Return the member `values`: an array of pointers without a length."""
        return member("values", self.types.add(Array(self.pointer(target), self.u32, 0)), offset)

    def open(self, *parts: Sec | Sym | Rel | tuple[Sec, Sym], datasec_size: int = 0) -> ObjectSpec:
        """Return the object as opened; the variables stand in the DATASEC in the order they were defined."""
        entries = tuple(SecVar(var, at if datasec_size else 0, size) for _, var, at, size in self.vars)
        self.types.add(Datasec(".maps", datasec_size, entries))
        symbols = [Sym(name, ".maps", at, size, SymType.OBJECT) for name, _, at, size in self.vars]
        sections = [Sec(".maps", bytes(self.size)), Sec(".BTF", self.types.encode())]
        return open_object(object_of(*sections, *symbols, *parts).build(), name="dir/maps_of.bpf.o")

    def refused(self, *parts: Sec | Sym | Rel | tuple[Sec, Sym], size: int = 0) -> str:
        """Return the text of the refusal; `size` makes the section larger than its definitions."""
        self.size += size
        with pytest.raises(LoaderError) as caught:
            self.open(*parts)
        return str(caught.value)


@pytest.fixture
def maps() -> MapObject:
    return MapObject()


def one(maps: MapObject, *members: Member) -> MapSpec:
    maps.define("m", *members)
    return maps.open().maps["m"]


def test_numbers_and_types_are_read(maps: MapObject) -> None:
    spec = one(
        maps,
        *(maps.number(name, value) for name, value in (("type", 1), ("max_entries", 16), ("map_flags", 5))),
        *(maps.number(name, value) for name, value in (("numa_node", 2), ("pinning", 1), ("map_extra", 9))),
        member("key", maps.pointer(maps.u32)),
        member("value", maps.pointer(maps.u64)),
    )
    assert (spec.type, spec.max_entries, spec.flags, spec.numa_node, spec.pinning, spec.map_extra) == (
        1,
        16,
        5,
        2,
        1,
        9,
    )
    assert (spec.key_size, spec.key_type_id, spec.value_size, spec.value_type_id) == (4, maps.u32, 8, maps.u64)


def test_map_extra_may_be_the_value_of_an_enum(maps: MapObject) -> None:
    extra = maps.types.add(Enum(BtfKind.ENUM64, "", 8, False, (("v", 1 << 40),)))
    assert one(maps, maps.number("type", 30), member("map_extra", extra)).map_extra == 1 << 40


def test_sizes_may_be_given_in_place_of_types(maps: MapObject) -> None:
    spec = one(maps, maps.number("type", 7), maps.number("key_size", 4), maps.number("value_size", 127 * 8))
    assert (spec.key_size, spec.value_size, spec.key_type_id) == (4, 1016, 0)


def test_maps_stand_in_address_order_even_when_btf_has_another(maps: MapObject) -> None:
    for name in ("one", "two", "three"):
        maps.define(name, maps.number("type", 2))
    maps.vars.reverse()
    assert list(maps.open().maps) == ["one", "two", "three"]


def test_offsets_of_a_linked_object_are_kept(maps: MapObject) -> None:
    for name in ("one", "two"):
        maps.define(name, maps.number("type", 2))
    assert list(maps.open(datasec_size=64).maps) == ["one", "two"]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([("max_entries", 4)], "map 'm': says no map type"),
        ([("type", 0)], "map 'm': says no map type"),
        ([("type", 2), ("pinning", 2)], "member 'pinning': pinning is 2, want 0 (none) or 1 (by name)"),
        ([("type", 2), ("pining", 1)], "member 'pining': is no attribute of a map"),
    ],
)
def test_wrong_numbers_are_refused(maps: MapObject, members: list[tuple[str, int]], reason: str) -> None:
    maps.define("m", *(maps.number(name, value) for name, value in members))
    assert reason in maps.refused()


def test_unknown_members_are_passed_over_in_legacy_objects_as_iproute2_does(maps: MapObject) -> None:
    maps.define("m", maps.number("type", 2), maps.number("id", 7))
    symbol = Sym("old", "maps", 0, 16, SymType.OBJECT)
    obj = maps.open(Sec("maps", struct.pack("<4I", 2, 4, 8, 1)), symbol)
    assert [(name, spec.rule) for name, spec in obj.maps.items()] == [("old", "bpf_elf_map"), ("m", "btf")]


def test_members_of_other_types_are_refused(maps: MapObject) -> None:
    maps.define("m", member("type", maps.u32))
    assert "section '.maps': map 'm': member 'type': is a int, want a pointer" in maps.refused()


def test_number_that_points_to_no_array_is_refused(maps: MapObject) -> None:
    maps.define("m", member("type", maps.pointer(maps.u32)))
    assert "is a pointer to a int, want one to an array" in maps.refused()


def test_conflicting_sizes_are_refused(maps: MapObject) -> None:
    maps.define("m", maps.number("type", 1), maps.number("key_size", 8), member("key", maps.pointer(maps.u32)))
    assert "member 'key': key size is 4 bytes, another member says 8" in maps.refused()


def test_value_of_a_type_without_a_size_is_refused(maps: MapObject) -> None:
    maps.define("m", maps.number("type", 1), member("value", maps.pointer(FuncProto(0, ()))))
    assert "has no size" in maps.refused()


@pytest.mark.parametrize(("linkage", "name"), [(Linkage.STATIC, "static"), (7, "of linkage 7")])
def test_maps_that_are_not_global_are_refused(maps: MapObject, linkage: int, name: str) -> None:
    maps.define("m", maps.number("type", 2), linkage=linkage)
    assert f"map 'm': is {name}, want a global map" in maps.refused()


def test_map_of_no_structure_or_beyond_its_section_is_refused(maps: MapObject) -> None:
    maps.vars.append(("m", maps.types.add(Var("m", maps.u32, Linkage.GLOBAL)), 0, 4))
    assert "map 'm': reaches to byte 4 of a section of 2 bytes" in maps.refused(size=2)
    maps = MapObject()
    maps.vars.append(("m", maps.types.add(Var("m", maps.u32, Linkage.GLOBAL)), 0, 4))
    assert "map 'm': is an int, want a struct" in maps.refused(size=4)
    maps = MapObject()
    maps.vars.append(("m", maps.types.add(Var("m", 0, Linkage.GLOBAL)), 0, 64))
    assert "map 'm': is of no type (is it an array of maps?), want a struct" in maps.refused(size=64)


def test_map_variable_smaller_than_its_structure_is_refused(maps: MapObject) -> None:
    maps.define("m", maps.number("type", 2))
    name, var, at, _ = maps.vars[0]
    maps.vars[0] = (name, var, at, 8)
    assert "definition takes 32 bytes, its variable has 8" in maps.refused()


def test_map_variable_without_a_symbol_is_refused(maps: MapObject) -> None:
    maps.define("m", maps.number("type", 2))
    entries = tuple(SecVar(var, 0, size) for _, var, _, size in maps.vars)
    maps.types.add(Datasec(".maps", 0, entries))
    raw = object_of(Sec(".maps", bytes(32)), Sec(".BTF", maps.types.encode())).build()
    with pytest.raises(LoaderError, match=r"variable 'm' of section '\.maps' has no symbol"):
        open_object(raw, name="t.o")


def test_maps_section_without_btf_or_without_its_datasec_is_refused() -> None:
    with pytest.raises(LoaderError, match=r"no BTF, which maps in section '\.maps' need"):
        open_object(object_of(Sec(".maps", bytes(32)), program("main")).build(), name="t.o")
    blob = BtfBuilder()
    blob.add(U32)
    with pytest.raises(LoaderError, match=r"'\.maps' is not described by BTF"):
        open_object(object_of(Sec(".maps", bytes(32)), Sec(".BTF", blob.encode())).build(), name="t.o")


@pytest.mark.parametrize("cut", [1, 10, 30])
def test_truncated_btf_refuses_an_object_with_maps_and_is_dropped_from_others(maps: MapObject, cut: int) -> None:
    raw = maps.types.encode()[:-cut]
    with pytest.raises(LoaderError, match="BTF"):
        open_object(object_of(Sec(".maps", bytes(32)), Sec(".BTF", raw)).build(), name="t.o")
    obj = open_object(object_of(program("main"), Sec(".BTF", raw)).build(), name="t.o")
    assert obj.btf is None
    assert obj.warnings[0].startswith("BTF is not used: ")


def inner_and_outer(maps: MapObject, kind: int = MapType.ARRAY_OF_MAPS, *, key: int = 4) -> None:
    """Define `inner` at 0 and, at 32, `outer` of 56 bytes with four slots from byte 24 on."""
    inner = maps.define("inner", maps.number("type", 2), maps.number("max_entries", 1), size=32)
    numbers = [("type", kind), ("max_entries", 4), ("key_size", key)]
    maps.define("outer", *(maps.number(n, v) for n, v in numbers), maps.values(inner), size=24)
    name, var, at, _ = maps.vars[1]
    maps.vars[1] = (name, var, at, 56)
    maps.size += 32


def test_values_fill_slots_and_give_the_inner_shape(maps: MapObject) -> None:
    inner_and_outer(maps)
    outer = maps.open(Rel(".maps", 32 + 24, "inner"), Rel(".maps", 32 + 24 + 16, "inner")).maps["outer"]
    assert outer.slots == {0: "inner", 2: "inner"}
    assert outer.inner is not None
    assert (outer.inner.name, outer.inner.type, outer.value_size) == ("outer.inner", 2, 4)


@pytest.mark.parametrize(
    ("offset", "symbol", "reason"),
    [
        (0, "inner", "map 'inner': has no member 'values'"),
        (32 + 8, "inner", "map 'outer': initialises byte -16 of its values"),
        (32 + 28, "inner", "initialises byte 4 of its values, want a multiple of 8"),
        (32 + 52, "inner", "offset 0x54 lies in no map"),
        (1 << 40, "inner", "lies in no map"),
        (32 + 24, "main", "'main' is no map of section '.maps'"),
    ],
)
def test_initialisers_out_of_place_are_refused(maps: MapObject, offset: int, symbol: str, reason: str) -> None:
    inner_and_outer(maps)
    assert reason in maps.refused(program("main"), Rel(".maps", offset, symbol))


def test_hash_of_maps_needs_a_key_of_four_bytes_to_be_filled(maps: MapObject) -> None:
    inner_and_outer(maps, MapType.HASH_OF_MAPS, key=8)
    assert "key has 8 bytes, want 4 for initial values" in maps.refused(Rel(".maps", 56, "inner"))


def test_program_array_holds_programs(maps: MapObject) -> None:
    proto = maps.types.add(FuncProto(maps.u32, ()))
    maps.define("jumps", maps.number("type", 3), maps.values(proto, 8), size=24)
    obj = maps.open(program("main"), program("tail", "xdp/tail"), Rel(".maps", 16, "tail"))
    assert obj.maps["jumps"].slots == {1: "tail"}


def test_program_array_takes_no_subprogram(maps: MapObject) -> None:
    proto = maps.types.add(FuncProto(maps.u32, ()))
    maps.define("jumps", maps.number("type", 3), maps.values(proto, 8), size=24)
    assert "'sub' is no program of its own" in maps.refused(program("sub", ".text"), Rel(".maps", 8, "sub"))


def test_values_are_refused_out_of_place(maps: MapObject) -> None:
    inner = maps.define("inner", maps.number("type", 2))
    maps.define("m", maps.values(inner), maps.number("type", 12))
    assert "member 'values': want it as the last member" in maps.refused()


def test_values_before_the_type_or_in_another_map_are_refused(maps: MapObject) -> None:
    inner = maps.define("inner", maps.number("type", 2))
    maps.define("m", maps.number("type", 1), maps.values(inner))
    assert "only maps of maps and program arrays have it" in maps.refused()


def test_inner_map_can_neither_hold_maps_nor_be_pinned(maps: MapObject) -> None:
    pinned = maps.types.add(btf_struct("", 16, maps.number("type", 2), maps.number("pinning", 1)))
    maps.define("m", maps.number("type", 12), maps.values(pinned))
    assert "map 'm': member 'values': member 'pinning': an inner map cannot" in maps.refused()


def test_values_must_point_to_what_the_map_holds(maps: MapObject) -> None:
    maps.define("m", maps.number("type", 12), maps.values(maps.u32))
    assert "points to a int, want a map definition" in maps.refused()


def test_definition_that_holds_itself_ends(maps: MapObject) -> None:
    own = 7  # the id its structure will have, to which its member `values` leads back
    members = (maps.number("type", 12), maps.values(own))
    assert maps.define("m", *members) == own
    assert "an inner map cannot hold maps itself" in maps.refused()


def test_hidden_and_static_variables_do_not_make_a_data_map_mappable(maps: MapObject) -> None:
    def flags(visibility: int, linkage: int, bind: int) -> int:
        types = BtfBuilder()
        var = types.add(Var("v", types.add(U32), linkage))
        types.add(Datasec(".data", 0, (SecVar(var, 0, 4),)))
        parts = Sec(".data", bytes(4)), Sym("v", ".data", 0, 4, SymType.OBJECT, bind, visibility)
        obj = open_object(object_of(*parts, Sec(".BTF", types.encode())).build(), name="o.o")
        return obj.maps["o.data"].flags

    assert flags(SymVisibility.DEFAULT, Linkage.GLOBAL, SymBind.GLOBAL) == 0x400
    assert flags(SymVisibility.DEFAULT, Linkage.GLOBAL, SymBind.WEAK) == 0x400
    assert flags(SymVisibility.HIDDEN, Linkage.GLOBAL, SymBind.GLOBAL) == 0
    assert flags(SymVisibility.DEFAULT, Linkage.STATIC, SymBind.LOCAL) == 0
