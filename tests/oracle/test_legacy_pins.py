"""Where maps are pinned and who reuses them: iproute2's own loader beside us, with the same bpf_pinning file."""

import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.builders.elf import Rel, program
from tests.builders.legacy import LOAD_MAP, REFUSED, RETURN_PASS, maps_of, record, written
from tests.support import sandbox
from tests.support.old_loaders import (
    DEVICE,
    Outcome,
    attached_id,
    by_iproute2,
    by_us,
    device,
    ours_loaded,
    run_iproute2,
    show,
)
from tools.namespaces import mount
from xdploaderd.hooks import Hook
from xdploaderd.uapi.bpf import MapType

pytestmark = pytest.mark.oracle

OBJECTS = Path(__file__).parents[1] / "bpf"
CONFIG = Path("/etc/iproute2")
GLOBALS = sandbox.BPFFS / "tc" / "globals"
TC, XDP = Hook.TC_INGRESS, Hook.XDP
PIN2 = OBJECTS / "legacy_pin2.bpf.o"
SECTIONS = {TC: "classifier", XDP: "prog"}


@pytest.fixture(autouse=True)
def _device() -> Iterator[None]:
    with device():
        yield
    sandbox.clear_pins()


@pytest.fixture
def bpf_pinning() -> Iterator[Callable[[str], None]]:
    """Write iproute2's file, in a directory that hides the machine's own."""
    mount("tmpfs", str(CONFIG), "mode=0755")

    def write(text: str) -> None:
        path = CONFIG / "bpf_pinning"
        path.write_text(text)
        path.chmod(0o644)

    yield write
    subprocess.run(["umount", str(CONFIG)], check=True)


def map_id(path: Path) -> int:
    return int(show("map", "show", "pinned", str(path))["id"])


def value_of(path: Path) -> int:
    """Return the first value of an array."""
    shown = subprocess.run(["bpftool", "-j", "map", "dump", "pinned", path], check=True, capture_output=True, text=True)
    return int(shown.stdout.split('"value":["0x')[1][:2], 16)


def outcomes(path: Path, hook: Hook) -> tuple[Outcome, Outcome]:
    theirs = by_iproute2(path, hook, SECTIONS[hook])
    sandbox.clear_pins()
    return theirs, by_us(path, hook, SECTIONS[hook])


@pytest.mark.parametrize("hook", [TC, XDP])
@pytest.mark.parametrize(
    ("number", "text", "directory"),
    [
        (9, "9 tracing\n", "tracing"),
        (9, "  \t9\tfoo/bar # text\n", "foo/bar"),
        (9, "# 9 comment\n\n9 one two three\n", "one"),
        (9, "0x9 hex\n", "hex"),
        (9, "011 octal\n", "octal"),
        (0xFFFFFFFF, "-1 last\n", "last"),
        (16, "0x10 a\n020 b\n", "b"),
        (9, "2 mine\n9 after\n", "after"),
        (9, "9 /abs/path\n", "abs/path"),
        (9, "8 other\n", ""),
        (2, "9 tracing\n", "tc/globals"),
    ],
)
def test_configured_value_has_the_same_directory(
    number: int, text: str, directory: str, hook: Hook, bpf_pinning: Callable[[str], None], tmp_path: Path
) -> None:
    bpf_pinning(text)
    maps = maps_of(cnt=record(MapType.ARRAY, 4, 8, 2, 0, 0, number))
    section = SECTIONS[hook]
    path = written(tmp_path / "a.o", *maps, program("main", section, LOAD_MAP), Rel(section, 0, "cnt"))
    theirs, ours = outcomes(path, hook)
    assert ours == theirs
    assert [str(Path(pin).parent.relative_to(sandbox.BPFFS)) for pin in ours.pins] == ([directory] if directory else [])


def test_without_the_file_values_work_and_nothing_is_said(bpf_pinning: Callable[[str], None]) -> None:
    theirs, ours = outcomes(PIN2, XDP)
    assert list(ours.pins) == list(theirs.pins) == [str(GLOBALS / "cnt")]
    assert run_iproute2(PIN2, XDP, "prog").stderr == ""


def test_corrupt_line_is_an_error_here_and_an_unpinned_map_there(bpf_pinning: Callable[[str], None]) -> None:
    bpf_pinning("9\n9 tracing\n")
    theirs, ours = outcomes(OBJECTS / "legacy_pin9.bpf.o", XDP)
    assert theirs.accepted
    assert theirs.pins == {}
    assert not ours.accepted
    assert "corrupt line" in ours.why


def test_path_that_climbs_is_refused_by_both(bpf_pinning: Callable[[str], None]) -> None:
    bpf_pinning("9 ../up\n")
    theirs, ours = outcomes(OBJECTS / "legacy_pin9.bpf.o", XDP)
    assert not theirs.accepted
    assert not ours.accepted
    assert "'..'" in ours.why


@pytest.mark.parametrize("section", ["egress", "ingress"])
def test_object_pins_lie_below_the_digest_of_the_file(section: str) -> None:
    path = OBJECTS / "legacy_shared_object.bpf.o"
    digest = hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()
    ours = by_us(path, TC, section)
    assert list(ours.pins) == [f"/sys/fs/bpf/tc/{digest}/map_sh"]
    assert ours.pins[f"/sys/fs/bpf/tc/{digest}/map_sh"].modes == ("600", "700", "700")


def test_file_of_one_other_byte_has_its_own_object_pins(tmp_path: Path) -> None:
    raw = (OBJECTS / "legacy_shared_object.bpf.o").read_bytes()
    (tmp_path / "other.o").write_bytes(raw + b"\0")
    first = OBJECTS / "legacy_shared_object.bpf.o"
    with ours_loaded(first, TC, "egress") as one, ours_loaded(tmp_path / "other.o", TC, "egress") as other:
        assert one.maps["map_sh"].pin != other.maps["map_sh"].pin
        assert one.maps["map_sh"].info.id != other.maps["map_sh"].info.id


def test_unpinned_maps_are_new_at_every_load() -> None:
    path = OBJECTS / "legacy_pin0.bpf.o"
    with ours_loaded(path, XDP, "prog") as one, ours_loaded(path, XDP, "prog") as two:
        assert one.maps["cnt"].info.id != two.maps["cnt"].info.id
    assert sandbox.pin_tree() <= {str(sandbox.BPFFS / name) for name in ("maps.debug", "progs.debug")}


@pytest.mark.parametrize(("first", "second"), [(XDP, TC), (TC, XDP)])
def test_map_that_iproute2_pinned_is_reused_by_us(first: Hook, second: Hook) -> None:
    assert by_iproute2(PIN2, first, SECTIONS[first]).accepted
    before = map_id(GLOBALS / "cnt")
    with ours_loaded(PIN2, second, SECTIONS[second]) as loaded:
        assert loaded.maps["cnt"].reused
        assert loaded.maps["cnt"].info.id == before
    assert map_id(GLOBALS / "cnt") == before


@pytest.mark.parametrize(("first", "second"), [(XDP, TC), (TC, XDP)])
def test_map_that_we_pinned_is_reused_by_iproute2(first: Hook, second: Hook) -> None:
    with ours_loaded(PIN2, first, SECTIONS[first]):
        before = map_id(GLOBALS / "cnt")
    assert run_iproute2(PIN2, second, SECTIONS[second]).returncode == 0
    assert show("prog", "show", "id", str(attached_id(second)))["map_ids"] == [before]


def test_program_array_that_iproute2_pinned_gets_our_programs_and_back() -> None:
    path = OBJECTS / "legacy_tail_pinned.bpf.o"
    assert by_iproute2(path, TC, "classifier").accepted
    before, old = map_id(GLOBALS / "jmp"), value_of(GLOBALS / "jmp")
    with ours_loaded(path, TC, "classifier") as loaded:
        assert loaded.maps["jmp"].info.id == before
        assert loaded.infos["tail_entry"].id & 0xFF == value_of(GLOBALS / "jmp")
        assert value_of(GLOBALS / "jmp") != old
    assert by_iproute2(path, TC, "classifier").accepted
    assert map_id(GLOBALS / "jmp") == before


def test_reused_map_of_maps_keeps_an_emptied_slot() -> None:
    path = OBJECTS / "legacy_nested.bpf.o"
    assert by_iproute2(path, TC, "egress").accepted
    clear = ["bpftool", "map", "delete", "pinned", str(GLOBALS / "map_outer"), "key", "0", "0", "0", "0"]
    subprocess.run(clear, check=True)
    theirs = by_iproute2(path, TC, "egress")
    ours = by_us(path, TC, "egress")
    assert ours == theirs
    assert dict(ours.pins[str(GLOBALS / "map_outer")].slots) == {}


def test_array_of_programs_of_another_type_is_refused_by_both() -> None:
    path = OBJECTS / "legacy_graft.bpf.o"
    assert by_iproute2(path, TC, "classifier").accepted
    before = map_id(GLOBALS / "jmp_tc")
    assert run_iproute2(path, XDP, "classifier").returncode != 0
    ours = by_us(path, XDP, "classifier")
    assert not ours.accepted
    assert "is for programs of type sched_cls, this one is of type xdp" in ours.why
    assert map_id(GLOBALS / "jmp_tc") == before


@pytest.mark.parametrize(
    "other",
    [
        record(MapType.HASH, 4, 8, 2, 0, 0, 2),
        record(MapType.ARRAY, 4, 16, 2, 0, 0, 2),
        record(MapType.ARRAY, 4, 8, 3, 0, 0, 2),
        record(MapType.HASH, 8, 8, 2, 1, 0, 2),
    ],
)
def test_pin_of_another_map_is_refused_by_both_and_stays(other: bytes, tmp_path: Path) -> None:
    assert by_iproute2(PIN2, XDP, "prog").accepted
    before = map_id(GLOBALS / "cnt")
    path = written(tmp_path / "a.o", *maps_of(cnt=other), program("main", "prog", LOAD_MAP), Rel("prog", 0, "cnt"))
    assert run_iproute2(path, XDP, "prog").returncode != 0
    ours = by_us(path, XDP, "prog")
    assert "differs from the object's" in ours.why
    assert map_id(GLOBALS / "cnt") == before


def test_devmap_that_iproute2_pinned_is_reused_by_us_alone() -> None:
    path = OBJECTS / "legacy_devmap.bpf.o"
    assert by_iproute2(path, XDP, "prog").accepted
    assert run_iproute2(path, XDP, "prog").returncode != 0
    with ours_loaded(path, XDP, "prog") as loaded:
        assert loaded.maps["ports"].reused


def test_refusal_of_the_verifier_leaves_the_running_program_and_no_new_pin(tmp_path: Path) -> None:
    assert by_iproute2(PIN2, XDP, "prog").accepted
    running = attached_id(XDP)
    parts = (*maps_of(fresh=record(MapType.ARRAY, 4, 8, 2, 0, 0, 2)), program("main", "prog", REFUSED))
    path = written(tmp_path / "a.o", *parts)
    ours = by_us(path, XDP, "prog")
    assert not ours.accepted
    assert "R0 !read_ok" in ours.why
    assert not (GLOBALS / "fresh").exists()
    assert run_iproute2(path, XDP, "prog").returncode != 0
    assert (GLOBALS / "fresh").exists(), "iproute2 takes nothing back"
    assert attached_id(XDP) == running


def test_object_without_maps_needs_no_bpf_file_system(tmp_path: Path) -> None:
    path = written(tmp_path / "a.o", program("main", "prog", RETURN_PASS))
    theirs, ours = outcomes(path, XDP)
    assert ours == theirs


def test_program_that_an_array_of_another_type_is_to_hold_is_refused(tmp_path: Path) -> None:
    assert by_iproute2(OBJECTS / "legacy_tail_pinned.bpf.o", TC, "classifier").accepted
    jumps = maps_of(jmp=record(MapType.PROG_ARRAY, 4, 4, 2, 0, 5, 2))
    path = written(tmp_path / "a.o", *jumps, program("main", "prog", RETURN_PASS), program("tail", "5/0", RETURN_PASS))
    assert run_iproute2(path, XDP, "prog").returncode != 0
    before = value_of(GLOBALS / "jmp")
    assert "is for programs of type sched_cls" in by_us(path, XDP, "prog").why
    assert value_of(GLOBALS / "jmp") == before


def our_front(*words: str) -> None:
    """Run the front in the place of `ip` or `tc`, without a daemon."""
    subprocess.run([sys.executable, "-m", "xdploaderd.cli.main", *words], check=True)


NEW_XDP = ("-force", "link", "set", "dev", DEVICE, "xdp", "obj", str(OBJECTS / "demo_xdp.bpf.o"), "sec", "xdp")
TC_FILTER = ("filter", "replace", "dev", DEVICE, "ingress", "pref", "1", "handle", "1", "bpf", "da")
NEW_TC = (*TC_FILTER, "obj", str(OBJECTS / "tc_count.bpf.o"), "sec", "tc/ingress")
NEW = [("ip", NEW_XDP, XDP, "demo_xdp_count"), ("tc", NEW_TC, TC, "tc_frames")]


def debians(*words: str) -> None:
    """Run this machine's own `ip` or `tc`."""
    subprocess.run(words, check=True)


def attached_maps(hook: Hook) -> list[int]:
    return list(show("prog", "show", "id", str(attached_id(hook)))["map_ids"])


@pytest.mark.parametrize(("first", "second"), [(debians, our_front), (our_front, debians)])
@pytest.mark.parametrize(("tool", "words", "hook", "pinned"), NEW)
def test_map_of_a_new_object_that_one_pinned_is_reused_by_the_other(
    first: Callable[..., None],
    second: Callable[..., None],
    tool: str,
    words: tuple[str, ...],
    hook: Hook,
    pinned: str,
) -> None:
    first(tool, *words)
    before, program_id = map_id(GLOBALS / pinned), attached_id(hook)
    second(tool, *words)
    assert attached_id(hook) != program_id
    assert before in attached_maps(hook)
