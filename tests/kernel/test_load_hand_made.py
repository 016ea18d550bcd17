"""Objects made by hand, loaded into the running kernel."""

import errno
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from tests.builders.prepared import MOV_IMM, READS_NULL, Pins, map_spec, prepared, prog
from tests.fakes.bpf import FailingDoor
from tests.support import sandbox
from tests.support.running import running_target
from xdploaderd.errors import LoaderError, ObjectError, PinError, PinMismatchError, VerifierError
from xdploaderd.insn import EXIT, LD_IMM64, Insn, encode_insns
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.bpffs import unpin
from xdploaderd.kernel.probe_btf import blob_of_all
from xdploaderd.kernel.syscall import bpf_syscall
from xdploaderd.load.object import load
from xdploaderd.obj.overrides import leave_out_maps
from xdploaderd.obj.prepare import prepare
from xdploaderd.obj.spec import Dialect, FunctionSpec, MapRef
from xdploaderd.uapi.bpf import BpfCmd, MapFlags, MapType, ProgType

pytestmark = pytest.mark.kernel
MAPS = PurePosixPath("/sys/fs/bpf/maps")
JEQ_IMM = 0x15


@pytest.fixture
def clean_pins() -> Iterator[None]:
    yield
    for path in Path(MAPS).iterdir():
        path.unlink()
    Path(MAPS).rmdir()


def test_program_and_map_are_loaded_and_gone_after_the_block() -> None:
    bpf = Bpf()
    with load(prepared([prog(uses=["stats"])], [map_spec()]), bpf, Pins()) as loaded:
        info = loaded.infos["xdp_pass"]
        assert info.type == ProgType.XDP
        assert info.name == "xdp_pass"
        assert info.map_ids == (loaded.maps["stats"].info.id,)
        assert bpf.prog_run(loaded.programs["xdp_pass"], bytes(64)).retval == 2


def test_contents_are_written_and_frozen() -> None:
    bpf = Bpf()
    spec = replace(map_spec(max_entries=1), contents=b"ABCDEFGH", freeze=True)
    with load(prepared([], [spec]), bpf, Pins()) as loaded:
        fd = loaded.maps["stats"].fd
        assert bpf.map_lookup(fd, bytes(4), 8) == b"ABCDEFGH"
        with pytest.raises(LoaderError, match="EPERM"):
            bpf.map_update(fd, bytes(4), bytes(8))


@pytest.mark.usefixtures("clean_pins")
def test_pinned_map_is_reused_with_its_contents() -> None:
    bpf, pinned = Bpf(), map_spec(pinning=1)
    with load(prepared([], [pinned]), bpf, Pins()) as first:
        assert first.maps["stats"].pin == MAPS / "stats"
        assert not first.maps["stats"].reused
        bpf.map_update(first.maps["stats"].fd, bytes(4), b"12345678")
        first_id = first.maps["stats"].info.id
    assert Path(MAPS).stat().st_mode & 0o777 == 0o700
    with load(prepared([], [replace(pinned, contents=bytes(8))]), bpf, Pins()) as second:
        assert second.maps["stats"].reused
        assert second.maps["stats"].info.id == first_id
        assert bpf.map_lookup(second.maps["stats"].fd, bytes(4), 8) == b"12345678"


@pytest.mark.usefixtures("clean_pins")
@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("type", MapType.HASH, "type: wanted hash, found array"),
        ("key_size", 8, "key size: wanted 8 bytes, found 4"),
        ("value_size", 16, "value size: wanted 16 bytes, found 8"),
        ("max_entries", 3, "max entries: wanted 3, found 2"),
        ("flags", MapFlags.MMAPABLE, "flags: wanted 0x400, found 0x0"),
        ("map_extra", 1, "map_extra: wanted 0x1, found 0x0"),
    ],
)
def test_pinned_map_that_differs_in_one_field_is_refused(field: str, value: int, said: str) -> None:
    bpf = Bpf()
    load(prepared([], [map_spec(pinning=1)]), bpf, Pins()).close()
    changes: dict[str, Any] = {field: value}
    other = map_spec(pinning=1, **changes)
    with pytest.raises(PinMismatchError) as caught:
        load(prepared([], [other]), bpf, Pins())
    assert caught.value.differences == (said,)
    assert Path(MAPS / "stats").exists()


@pytest.mark.usefixtures("clean_pins")
def test_pinned_devmap_is_reused_though_the_kernel_added_a_flag() -> None:
    bpf, spec = Bpf(), map_spec("ports", type=MapType.DEVMAP, value_size=4, pinning=1)
    load(prepared([], [spec]), bpf, Pins()).close()
    with load(prepared([], [spec]), bpf, Pins()) as loaded:
        assert loaded.maps["ports"].info.flags & MapFlags.RDONLY_PROG
        assert loaded.maps["ports"].reused


@pytest.mark.usefixtures("clean_pins")
def test_program_pinned_where_a_map_is_wanted_is_refused_by_kind() -> None:
    bpf = Bpf()
    Path(MAPS).mkdir()
    with load(prepared([prog()]), bpf, Pins()) as loaded:
        bpf.obj_pin(loaded.programs["xdp_pass"], MAPS / "stats")
    with pytest.raises(PinError, match="is a pinned program, wanted a pinned map"):
        load(prepared([], [map_spec(pinning=1)]), bpf, Pins())


def test_directory_where_a_map_is_wanted_is_refused() -> None:
    (Path(MAPS) / "stats").mkdir(parents=True)
    try:
        with pytest.raises(PinError, match="is a directory, wanted a pinned map"):
            load(prepared([], [map_spec(pinning=1)]), Bpf(), Pins())
    finally:
        (Path(MAPS) / "stats").rmdir()
        Path(MAPS).rmdir()


@pytest.mark.usefixtures("clean_pins")
def test_map_pinned_by_another_loader_in_between_is_reused() -> None:
    other = Bpf()
    spec = map_spec(pinning=1)

    def racing(cmd: BpfCmd, attr: object) -> int:
        if cmd is BpfCmd.OBJ_PIN and not (Path(MAPS) / "stats").exists():
            load(prepared([], [spec]), other, Pins()).close()
        return bpf_syscall(cmd, attr)  # type: ignore[arg-type] # the Protocol's attr is a ctypes.Structure

    with load(prepared([], [spec]), Bpf(racing), Pins()) as loaded:
        assert loaded.maps["stats"].reused


def test_refused_program_takes_maps_and_pins_with_it_and_tells_the_log() -> None:
    with pytest.raises(VerifierError) as caught:
        load(prepared([prog(), prog("bad", READS_NULL)], [map_spec(pinning=1)]), Bpf(), Pins())
    assert any("invalid mem access" in line for line in caught.value.log)
    assert "invalid mem access" in str(caught.value)
    assert caught.value.place == ("object 'hand_made'", "prog 'bad'")


def test_partial_load_lists_what_failed() -> None:
    objects = prepared(
        [prog(), prog("bad", READS_NULL), prog("lost", uses=["broken"])], [map_spec("broken", key_size=3)]
    )
    with load(objects, Bpf(), Pins(), partial=True) as loaded:
        assert set(loaded.programs) == {"xdp_pass"}
        assert set(loaded.failed) == {"bad", "lost", "broken"}
        assert "map 'broken'" in str(loaded.failed["lost"])


def test_exception_in_the_block_before_commit_takes_the_pins_back() -> None:
    with pytest.raises(KeyError), load(prepared([], [map_spec(pinning=1)]), Bpf(), Pins()):  # noqa: PT012 - the block is what is tested
        assert (Path(MAPS) / "stats").exists()
        raise KeyError


@pytest.mark.usefixtures("clean_pins")
def test_exception_after_commit_leaves_the_pins() -> None:
    with pytest.raises(KeyError), load(prepared([], [map_spec(pinning=1)]), Bpf(), Pins()) as loaded:  # noqa: PT012 - the block is what is tested
        loaded.commit()
        raise KeyError
    assert (Path(MAPS) / "stats").exists()


def test_foreign_byte_order_is_refused_before_any_call() -> None:
    def forbidden(cmd: BpfCmd, attr: object) -> int:
        raise AssertionError(cmd)

    other = "big" if sys.byteorder == "little" else "little"
    with pytest.raises(ObjectError, match=f"{other}-endian"):
        load(prepared([prog()], byteorder=other), Bpf(forbidden), Pins())


def test_failure_at_any_call_leaves_nothing() -> None:
    inner = map_spec("inner")
    outer = replace(
        map_spec("outer", type=MapType.ARRAY_OF_MAPS, value_size=4, pinning=1), inner=inner, slots={0: "inner"}
    )
    jumps = replace(map_spec("jumps", type=MapType.PROG_ARRAY, value_size=4, pinning=1), slots={1: "tail"})
    constants = replace(map_spec("consts", max_entries=1), contents=bytes(8), freeze=True, section=".rodata")
    typed = map_spec("typed", key_type_id=1, value_type_id=6, value_size=4)
    maps = [inner, outer, jumps, constants, typed]
    objects = prepared([prog(uses=["outer", "jumps"]), prog("tail")], maps, btf=blob_of_all())
    for nth in range(1, 100):
        before, pins = sandbox.object_ids(), sandbox.pin_tree()
        door = FailingDoor(bpf_syscall, nth, errno.ENOMEM)
        bpf = Bpf(door)
        try:
            load(objects, bpf, Pins()).close()
        except LoaderError:
            assert sandbox.pin_tree() == pins, f"call {nth}"
            assert not any(sandbox.wait_until_freed(before).values()), f"call {nth}"
        else:
            for path in ("maps/outer", "maps/jumps"):
                unpin(Pins().root / path)
            Path(MAPS).rmdir()
        if not door.failed:
            break
    assert nth > 20


@pytest.mark.usefixtures("clean_pins")
def test_failed_load_puts_the_old_program_back_into_a_reused_program_array() -> None:
    bpf = Bpf()
    jumps = replace(map_spec("jumps", type=MapType.PROG_ARRAY, value_size=4, pinning=1), slots={0: "tail", 1: "tail"})
    objects = prepared([prog(uses=["jumps"]), prog("tail")], [jumps], dialect=Dialect.LEGACY)
    with load(objects, bpf, Pins()) as first:
        old_id = first.infos["tail"].id
        failing = Bpf(FailingDoor(bpf_syscall, 2, errno.ENOMEM, BpfCmd.MAP_UPDATE_ELEM))
        with pytest.raises(LoaderError, match="slot 1"):
            load(objects, failing, Pins())
        array = first.maps["jumps"].fd
        slots = [bpf.map_lookup(array, bytes([key, 0, 0, 0]), 4) for key in (0, 1)]
        assert slots == [old_id.to_bytes(4, sys.byteorder)] * 2


def test_slot_beyond_the_array_is_refused() -> None:
    jumps = replace(map_spec("jumps", type=MapType.PROG_ARRAY, value_size=4), slots={7: "tail"})
    with pytest.raises(ObjectError, match="slot 7 does not exist, the map has 2 entries"):
        load(prepared([prog("tail")], [jumps]), Bpf(), Pins())


def test_unpinned_program_arrays_are_named() -> None:
    arrays = [replace(map_spec(n, type=MapType.PROG_ARRAY, value_size=4), pinning=p) for n, p in (("a", 0), ("b", 1))]
    with load(prepared([], arrays), Bpf(), Pins()) as loaded:
        assert list(loaded.unpinned_program_arrays()) == ["a"]
        loaded.own.undo.close()


def test_map_pinned_in_a_directory_of_a_foreigner_is_not_reused() -> None:
    bpf = Bpf()
    load(prepared([], [map_spec(pinning=1)]), bpf, Pins()).close()
    os.chown(MAPS, 65534, 65534)
    try:
        with pytest.raises(PinError, match="belongs to user 65534"):
            load(prepared([], [map_spec(pinning=1)]), bpf, Pins())
    finally:
        unpin(MAPS / "stats")
        Path(MAPS).rmdir()


def test_map_left_out_may_stand_in_dead_code() -> None:
    """The branch never taken is one the verifier proves dead, as after a constant set by --global."""
    never = (Insn(MOV_IMM, 0, 0, 0, 2), Insn(JEQ_IMM, 0, 0, 2, 2))  # r0 = 2; if r0 == 2 skip the load
    load_map = (Insn(LD_IMM64, 1, 0, 0, 0), Insn(0, 0, 0, 0, 0))
    code = (*never, *load_map, Insn(EXIT, 0, 0, 0, 0))
    function = FunctionSpec(
        name="p", section="xdp", insn_off=0, insns=encode_insns(code, sys.byteorder), relocs=(MapRef(2, "stats"),)
    )
    whole = prepared([prog("p")], [map_spec()]).spec
    spec = replace(whole, programs={"p": replace(whole.programs["p"], function=function)})
    ready = prepare(leave_out_maps(spec, ["stats"]), running_target())
    with load(ready, Bpf(), Pins()) as loaded:
        assert (list(loaded.programs), list(loaded.maps)) == (["p"], [])


def test_preparing_and_loading_twice_gives_two_equal_and_separate_results() -> None:
    bpf = Bpf()
    spec = prepared([prog()], [map_spec()]).spec
    first, second = prepare(spec, running_target()), prepare(spec, running_target())
    assert first == second
    with load(first, bpf, Pins()) as one, load(first, bpf, Pins()) as two:
        assert one.infos["xdp_pass"].tag == two.infos["xdp_pass"].tag
        assert one.maps["stats"].info.id != two.maps["stats"].info.id
