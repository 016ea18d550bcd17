"""Members and elements of variables by their names in C, in data sections and in struct_ops maps."""

import struct
from pathlib import Path

import pytest

from tests.builders.spec import btf_of
from xdploaderd.btf.types import BtfKind, Composite, Int, Member
from xdploaderd.errors import LoaderError, OverrideError
from xdploaderd.obj.open import open_object
from xdploaderd.obj.overrides import set_globals
from xdploaderd.obj.spec import ObjectSpec
from xdploaderd.obj.variable_parts import Part, part_of, split_name

BPF = Path(__file__).parents[2] / "bpf"
CONF = struct.Struct("=I4HbB6s")


def opened(name: str) -> ObjectSpec:
    return open_object((BPF / f"{name}.bpf.o").read_bytes(), name=f"{name}.bpf.o")


def conf(*pairs: tuple[str, str]) -> tuple[object, ...]:
    """Return what std_conf's settings are after some of them were set."""
    obj = set_globals(opened("std_conf"), dict(pairs))
    (data,) = (spec for spec in obj.maps.values() if spec.section == ".rodata")
    return CONF.unpack((data.contents or b"")[: CONF.size])


def test_members_and_elements_are_set_where_they_lie() -> None:
    assert conf() == (1, 2, 3, 4, 5, 6, 0, b"conf\0\0")
    assert conf(("conf.limit", "0x10"), ("conf.ports[1].low", "80")) == (16, 2, 3, 80, 5, 6, 0, b"conf\0\0")
    assert conf(("conf.level", "-1"), ("conf.name", "edge"), ("conf.name[1]", "68")) == (
        *(1, 2, 3, 4, 5, -1, 0),
        b"eDge\0\0",
    )
    assert conf(("conf.ports[0]", "hex:01000200"))[1:3] == (1, 2)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("conf", "1", "is set by its members, as NAME.MEMBER, or by its 20 bytes, as hex:0011"),
        ("conf.ports", "1", "an array is set by its elements, as NAME\\[0\\], or by its 8 bytes"),
        ("conf.limt", "1", "has no member 'limt', did you mean 'limit'"),
        ("conf.limit", "-1", "does not fit into 4 bytes"),
        ("conf.ports[2].low", "1", "ports: has 2 elements, there is no \\[2\\]"),
        ("conf.limit[0]", "1", "limit: is a int, which has no elements"),
        ("conf.limit.low", "1", "limit: is a int, which has no members"),
        ("conf.on", "1", "member 'on' is a bit field"),
        ("conf.ports[-1]", "1", "'\\[-1\\]' is no part of a variable, wanted .MEMBER or \\[NUMBER\\]"),
        ("conf.", "1", "'.' is no part of a variable"),
        ("cnof.limit", "1", "no such variable, did you mean 'conf'"),
        ("conf" + ".a" * 600, "1", "a name of 1204 characters, wanted at most 1024"),
    ],
)
def test_part_that_is_not_there_or_not_a_value_is_refused(name: str, text: str, message: str) -> None:
    with pytest.raises(OverrideError, match=message):
        conf((name, text))


def test_static_variable_with_a_dot_in_its_name_comes_first() -> None:
    assert split_name("count.calls", {"count.calls", "count"}) == ("count.calls", "")
    assert split_name("count.calls.low", {"count.calls", "count"}) == ("count.calls", ".low")
    assert split_name("count.other", {"count.calls", "count"}) == ("count", ".other")
    assert split_name("none[1].low", {}) == ("none", "[1].low")


def test_struct_that_holds_itself_ends_in_an_error() -> None:
    btf = btf_of(Composite(BtfKind.STRUCT, "", 4, (Member("", 1, 0, 0), Member("", 1, 0, 0))))
    with pytest.raises(OverrideError, match="has no member 'x'"):
        part_of(btf, Part(1, 0, 4), ".x")


def test_member_behind_the_variable_is_refused() -> None:
    btf = btf_of(Composite(BtfKind.STRUCT, "s", 4, (Member("far", 2, 1 << 20, 0),)), Int("int", 4, 1, 0, 32))
    with pytest.raises(OverrideError, match=r"'\.far' reaches beyond the 4 bytes of the variable"):
        part_of(btf, Part(1, 0, 4), ".far")


def test_values_of_a_struct_ops_map_are_set_and_its_functions_are_not() -> None:
    obj = opened("std_struct_ops")
    changed = set_globals(obj, {"plain_cc.flags": "1", "plain_cc.name": "named"})
    before, after = (found.maps["plain_cc"].contents or b"" for found in (obj, changed))
    assert before[:16].rstrip(b"\0") == b"plain_cc"
    assert after[:16].rstrip(b"\0") == b"named"
    assert (before[40:44], after[40:44]) == (struct.pack("=I", 2), struct.pack("=I", 1))
    assert changed.maps["plain_cc"].slots == obj.maps["plain_cc"].slots
    assert changed.maps["linked_cc"] == obj.maps["linked_cc"]
    with pytest.raises(LoaderError, match=r"global 'plain_cc\.ssthresh': is a pointer, and those of a struct_ops map"):
        set_globals(obj, {"plain_cc.ssthresh": "half"})
