"""Objects that no compiler makes, through iproute2's own loader and through us: where both agree, and where not."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.builders.elf import RETURN_0, Elf, Rel, Sec, Sym, object_of, program
from tests.builders.legacy import LOAD_MAP, RETURN_PASS, maps_of, record
from tests.support import sandbox
from tests.support.old_loaders import Outcome, by_iproute2, by_us, device
from xdploaderd.hooks import Hook
from xdploaderd.obj.elf import SymBind, SymType
from xdploaderd.obj.elf_sections import SHF_EXECINSTR
from xdploaderd.uapi.bpf import MapType

pytestmark = pytest.mark.oracle

OBJECTS = Path(__file__).parents[1] / "bpf"
PINNED = record(MapType.ARRAY, 4, 8, 2, 0, 0, 2)
PLAIN = record(MapType.ARRAY, 4, 8, 2)
MAIN = program("main", "prog", LOAD_MAP)
EM_X86_64, ET_EXEC = 62, 2


@pytest.fixture(autouse=True)
def _device() -> Iterator[None]:
    with device():
        yield
    sandbox.clear_pins()


def using(name: str, *parts: Sec | Sym) -> Elf:
    """Return an object whose program `prog` uses a map."""
    return object_of(*parts, MAIN, Rel("prog", 0, name))


def many(count: int) -> Elf:
    return using("m0", *maps_of(**{f"m{number}": PLAIN for number in range(count)}))


def rebound(bind: SymBind) -> Elf:
    section, one, two = maps_of(one=PLAIN, two=PLAIN)
    assert isinstance(two, Sym)
    return using("one", section, one, replace(two, bind=bind))


def maps_last(*parts: Sec | Sym) -> Elf:
    """Return the object with the symbols of its maps behind all others: iproute2 checks their places only then."""
    elf = using("long", *parts)
    return replace(elf, symbols=tuple(sorted(elf.symbols, key=lambda symbol: symbol.section == "maps")))


def licensed(size: int) -> Elf:
    return using("cnt", *maps_of(cnt=PLAIN)).with_section("license", data=b"GPL".ljust(size, b"\0"))


def nested(outer: bytes, **inner: bytes) -> Elf:
    return using("outer", *maps_of(outer=outer, **inner))


INNER = record(MapType.ARRAY, 4, 8, 2, 0, 42)
OUTER = record(MapType.ARRAY_OF_MAPS, 4, 4, 2, 0, 0, 2, 42)

BOTH_TAKE = {
    "64 maps": many(64),
    "license of 128 bytes": licensed(128),
    "machine 0": replace(using("cnt", *maps_of(cnt=PLAIN)), header={"machine": 0}),
    "no license": Elf(
        *[getattr(using("cnt", *maps_of(cnt=PLAIN)), name) for name in ("sections", "symbols", "relocs")]
    ),
    "outer before inner": nested(OUTER, inner=INNER),
    "two inner maps": nested(OUTER, one=INNER, two=record(MapType.ARRAY, 4, 8, 2, 0, 42, 0, 0, 1)),
    "template only": nested(OUTER, inner=record(MapType.ARRAY, 4, 8, 2, 0, 42, 0, 0, 0xFFFFFFFF)),
    "hash of maps": nested(
        record(MapType.HASH_OF_MAPS, 4, 4, 2, 0, 0, 2, 42), inner=record(MapType.ARRAY, 4, 8, 2, 0, 42, 0, 0, 77)
    ),
    "value size of outer is set": nested(record(MapType.ARRAY_OF_MAPS, 4, 99, 2, 0, 0, 0, 42), inner=INNER),
}
BOTH_REFUSE = {
    "65 maps": many(65),
    "static beside global": rebound(SymBind.LOCAL),
    "weak beside global": rebound(SymBind.WEAK),
    "only static": using("one", maps_of(one=PLAIN)[0], Sym("one", "maps", 0, 36, SymType.OBJECT, SymBind.LOCAL)),
    "two names": using("one", *maps_of(one=PLAIN), Sym("alias", "maps", 0, 36, SymType.OBJECT)),
    "two sizes": maps_last(*maps_of(long=PLAIN, short=PLAIN[:28])),
    "40 bytes and no goebpf": using("cnt", *maps_of(cnt=PLAIN + b"\1\0\0\0")),
    "license of 129 bytes": licensed(129),
    "executable file": replace(using("cnt", *maps_of(cnt=PLAIN)), header={"type": ET_EXEC}),
    "other machine": replace(using("cnt", *maps_of(cnt=PLAIN)), header={"machine": EM_X86_64}),
    "other byte order": replace(using("cnt", *maps_of(cnt=PLAIN)), byteorder="big"),
    "no inner_id": nested(record(MapType.ARRAY_OF_MAPS, 4, 4, 2, 0, 0, 2), inner=INNER),
    "unknown inner_id": nested(record(MapType.ARRAY_OF_MAPS, 4, 4, 2, 0, 0, 2, 9), inner=INNER),
    "slot outside": nested(OUTER, inner=record(MapType.ARRAY, 4, 8, 2, 0, 42, 0, 0, 7)),
    "inner maps of two shapes": nested(OUTER, one=INNER, two=record(MapType.HASH, 4, 8, 2, 0, 42, 0, 0, 1)),
    "nested twice": nested(OUTER, middle=record(MapType.ARRAY_OF_MAPS, 4, 4, 2, 0, 42, 0, 43), inner=INNER),
    "instruction that is no load": object_of(*maps_of(cnt=PLAIN), MAIN, Rel("prog", 16, "cnt")),
    "no function": object_of(*maps_of(cnt=PLAIN)),
}
TEXT = (Sec(".text", RETURN_0, flags=SHF_EXECINSTR), Sym("unused", ".text", 0, 16, SymType.FUNC))


@dataclass(frozen=True)
class Both:
    """What either loader did."""

    theirs: Outcome
    ours: Outcome


@pytest.fixture
def both(tmp_path: Path) -> Callable[[bytes], Both]:
    def run(raw: bytes) -> Both:
        path = tmp_path / "hand_made.o"
        path.write_bytes(raw)
        theirs = by_iproute2(path, Hook.XDP, "prog")
        sandbox.clear_pins()
        return Both(theirs, by_us(path, Hook.XDP, "prog"))

    return run


@pytest.mark.parametrize("elf", BOTH_TAKE.values(), ids=BOTH_TAKE)
def test_both_load_the_same(elf: Elf, both: Callable[[bytes], Both]) -> None:
    outcomes = both(elf.build())
    assert outcomes.theirs.accepted, outcomes.theirs.why
    assert outcomes.ours == outcomes.theirs


@pytest.mark.parametrize("elf", BOTH_REFUSE.values(), ids=BOTH_REFUSE)
def test_both_refuse_and_we_leave_no_pin(elf: Elf, both: Callable[[bytes], Both]) -> None:
    outcomes = both(elf.build())
    assert not outcomes.theirs.accepted
    assert not outcomes.ours.accepted
    assert pinned_files() == []


@pytest.mark.parametrize(
    "raw",
    [b"", b"int main;\n", b"\x7fELF" + bytes(36), (OBJECTS / "legacy_pin2.bpf.o").read_bytes()[:40]],
    ids=["empty", "text", "zeroes", "cut off"],
)
def test_both_refuse_what_is_no_object(raw: bytes, both: Callable[[bytes], Both]) -> None:
    outcomes = both(raw)
    assert not outcomes.theirs.accepted
    assert not outcomes.ours.accepted


@pytest.mark.parametrize("path", [Path("/"), Path("/nosuch.o")], ids=["directory", "missing"])
def test_both_refuse_what_is_no_file(path: Path) -> None:
    assert not by_iproute2(path, Hook.XDP, "prog").accepted
    assert not by_us(path, Hook.XDP, "prog").accepted


def test_we_take_code_in_text_that_nothing_calls(both: Callable[[bytes], Both]) -> None:
    elf = object_of(MAIN, *maps_of(cnt=PLAIN), TEXT, Rel("prog", 0, "cnt"))
    outcomes = both(elf.build())
    assert not outcomes.theirs.accepted
    assert outcomes.ours.accepted, outcomes.ours.why


def test_we_take_an_object_without_maps_whose_last_section_is_empty(both: Callable[[bytes], Both]) -> None:
    raw = object_of(program("main", "prog", RETURN_PASS)).build()
    assert both(raw).theirs.accepted
    outcomes = both(with_empty_last_section(raw))
    assert not outcomes.theirs.accepted
    assert outcomes.ours.accepted, outcomes.ours.why


def test_records_of_two_sizes_are_refused_wherever_their_symbols_stand(both: Callable[[bytes], Both]) -> None:
    # read 4 bytes early, the second record is a hash too
    long, short = record(MapType.HASH, 4, 8, 2, 0, 0, 0, 0, MapType.HASH), record(MapType.HASH, 4, 8, 0, size=28)
    outcomes = both(using("long", *maps_of(long=long, short=short)).build())
    assert outcomes.theirs.accepted, outcomes.theirs.why
    assert "want records of one size" in outcomes.ours.why


def test_inner_map_of_another_shape_is_told_as_such(both: Callable[[bytes], Both]) -> None:
    assert "another shape" in both(BOTH_REFUSE["inner maps of two shapes"].build()).ours.why


def with_empty_last_section(raw: bytes) -> bytes:
    """Return the file with a section header of size 0 behind all others."""
    count = int.from_bytes(raw[60:62], "little")
    empty = bytearray(64)
    empty[4:8] = (1).to_bytes(4, "little")
    return raw[:60] + (count + 1).to_bytes(2, "little") + raw[62:] + bytes(empty)


def pinned_files() -> list[str]:
    return [path for path in sandbox.pin_tree() if Path(path).is_file() and not path.endswith(".debug")]
