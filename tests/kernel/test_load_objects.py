"""Compiled objects of both dialects in the running kernel: what they count, where they are pinned, what is refused."""

import hashlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import sandbox
from tests.support.loading import OBJECTS, load_file
from xdploaderd.config.pinning import PinningConf
from xdploaderd.errors import KernelError, LoaderError, ObjectError, PinMismatchError, VerifierError
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.facts import possible_cpus, running_version_code
from xdploaderd.kernel.syscall import Fd
from xdploaderd.load.maps import LoadedMap
from xdploaderd.load.object import LoadedObject
from xdploaderd.obj.spec import Dialect
from xdploaderd.uapi.bpf import MapFlags, MapType, ProgType

pytestmark = pytest.mark.kernel
ROOT = Path("/sys/fs/bpf")
FRAME = bytes(64)
PASS, OK = 2, 0


@pytest.fixture(autouse=True)
def _pins_removed() -> Iterator[None]:
    yield
    sandbox.clear_pins()


def _pins() -> set[str]:
    return {str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if p.is_file() and p.suffix != ".debug"}


def _u64(bpf: Bpf, fd: Fd, key: int = 0) -> int:
    raw = bpf.map_lookup(fd, struct.pack("=I", key), 8)
    assert raw is not None
    (value,) = struct.unpack("=Q", raw)
    return int(value)


def _data_map(loaded: LoadedObject, section: str) -> LoadedMap:
    return next(found for found in loaded.maps.values() if found.spec.section == section)


def _data(bpf: Bpf, loaded: LoadedObject, section: str) -> bytes:
    found = _data_map(loaded, section)
    raw = bpf.map_lookup(found.fd, bytes(4), found.info.value_size)
    assert raw is not None
    return raw


def test_standard_object_counts_and_is_pinned_by_name() -> None:
    bpf = Bpf()
    with load_file("xdp_count", bpf) as loaded:
        assert loaded.prepared.spec.dialect is Dialect.STANDARD
        for _ in range(3):
            assert bpf.prog_run(loaded.programs["xdp_count"], FRAME).retval == PASS
        assert _u64(bpf, loaded.maps["xdp_frames"].fd) == 3
    assert _pins() == {"xdp_frames"}
    with load_file("xdp_count_v2", bpf) as newer:
        assert newer.maps["xdp_frames"].reused
        bpf.prog_run(newer.programs["xdp_count"], FRAME)
        assert _u64(bpf, newer.maps["xdp_frames"].fd) == 1003


def test_global_data_is_there_and_constants_are_frozen() -> None:
    bpf = Bpf()
    with load_file("std_globals", bpf) as loaded:
        assert bpf.prog_run(loaded.programs["globals"], FRAME).retval == OK
        total = 40 + 2 + 3 + 5
        assert total in struct.unpack("=" + "Q" * (len(_data(bpf, loaded, ".bss")) // 8), _data(bpf, loaded, ".bss"))
        assert _data(bpf, loaded, ".data.custom_long_name") == struct.pack("=I", 3)
        with pytest.raises(KernelError, match="EPERM"):
            bpf.map_update(_data_map(loaded, ".rodata").fd, bytes(4), _data(bpf, loaded, ".rodata"))
        bound = {_data_map(loaded, ".rodata").info.id, _data_map(loaded, ".rodata.cust").info.id}
        assert bound <= set(loaded.infos["globals"].map_ids)


def test_subprograms_callbacks_and_line_info_are_accepted() -> None:
    bpf = Bpf()
    with load_file("std_calls", bpf) as loaded:
        assert set(loaded.programs) == {"calls_first", "calls_second"}
        assert loaded.infos["calls_first"].btf_id
        assert bpf.prog_run(loaded.programs["calls_first"], FRAME).retval == PASS
        assert not loaded.warnings


def test_maps_of_every_kind_are_as_declared() -> None:
    bpf = Bpf()
    with load_file("std_maps", bpf) as loaded:
        infos = {name: found.info for name, found in loaded.maps.items()}
        assert (infos["flows"].type, infos["flows"].flags) == (MapType.HASH, MapFlags.NO_PREALLOC)
        assert (infos["recent"].key_size, infos["recent"].value_size) == (8, 16)
        assert infos["events"].max_entries == 8192  # 5000 rounded up to a power of two pages
        assert infos["perf"].max_entries == len(possible_cpus())
        assert infos["bloom"].map_extra == 3
        assert infos["flows"].btf_value_type_id
        outer = loaded.maps["outer"]
        held = [bpf.map_lookup(outer.fd, struct.pack("=I", key), 4) for key in range(4)]
        assert held == [struct.pack("=I", infos["first"].id), None, None, struct.pack("=I", infos["second"].id)]
        assert bpf.prog_run(loaded.programs["use_maps"], FRAME).retval == PASS  # by the tail call
        assert _u64(bpf, loaded.maps["first"].fd, 1) == 1
        assert list(loaded.unpinned_program_arrays()) == ["jumps"]
    assert _pins() == {"devices"}
    load_file("std_maps", bpf).close()


def test_externs_hold_the_values_of_this_kernel() -> None:
    bpf = Bpf()
    with load_file("std_externs", bpf) as loaded:
        assert bpf.prog_run(loaded.programs["externs"], FRAME).retval == OK
        out = struct.unpack("=4Q", _data(bpf, loaded, ".bss")[:32])
        assert out[0] == running_version_code()
        assert out[2:] == (0, 0)


def test_section_variants_are_loaded_with_their_types() -> None:
    with load_file("std_sections", Bpf()) as loaded:
        assert "optional" not in loaded.programs
        assert {loaded.infos[name].type for name in ("two_a", "two_b", "by_prefix", "for_devmap")} == {ProgType.XDP}
        assert loaded.infos["cls_by_prefix"].type == ProgType.SCHED_CLS


def test_untyped_program_is_refused_until_its_type_is_given() -> None:
    bpf = Bpf()
    with pytest.raises(LoaderError, match="untyped"):
        load_file("std_untyped", bpf)
    with load_file("std_untyped", bpf, types={"untyped": ProgType.SCHED_CLS}) as loaded:
        assert loaded.infos["untyped"].type == ProgType.SCHED_CLS


def test_refused_program_leaves_nothing_and_partial_load_keeps_the_good_one() -> None:
    bpf = Bpf()
    with pytest.raises(VerifierError) as caught:
        load_file("reject", bpf)
    assert caught.value.place[-1] == "prog 'bad'"
    assert not _pins()
    with load_file("reject", bpf, partial=True) as loaded:
        assert set(loaded.programs) == {"good"}
        assert isinstance(loaded.failed["bad"], VerifierError)


def test_object_without_programs_loads_its_maps() -> None:
    with load_file("maps_only", Bpf()) as loaded:
        assert not loaded.programs
        assert loaded.maps["lonely"].info.type == MapType.HASH


@pytest.mark.parametrize(
    ("name", "pin"),
    [
        ("legacy_pin0", None),
        ("legacy_pin1", "tc/{sha1}/cnt"),
        ("legacy_pin2", "tc/globals/cnt"),
        ("legacy_pin9", None),
    ],
)
def test_legacy_map_is_pinned_as_iproute2_does(name: str, pin: str | None) -> None:
    bpf = Bpf()
    sha1 = hashlib.sha1((OBJECTS / f"{name}.bpf.o").read_bytes()).hexdigest()
    with load_file(name, bpf, types={"xdp_main": ProgType.XDP}) as loaded:
        assert loaded.prepared.spec.dialect is Dialect.LEGACY
        assert _pins() == ({pin.format(sha1=sha1)} if pin else set())
        bpf.prog_run(loaded.programs["xdp_main"], FRAME)
        bpf.prog_run(loaded.programs["cls_main"], FRAME)
        assert [_u64(bpf, loaded.maps["cnt"].fd, key) for key in (0, 1)] == [1, 1]
    assert all(p.stat().st_mode & 0o777 == 0o700 for p in ROOT.rglob("*") if p.is_dir())


def test_legacy_tail_call_works_and_a_pinned_array_is_refilled() -> None:
    bpf = Bpf()
    with load_file("legacy_tail_pinned", bpf) as first:
        bpf.prog_run(first.programs["tail_main"], FRAME)
        assert _u64(bpf, first.maps["tail_hits"].fd, 1) == 1
        assert not first.unpinned_program_arrays()
    with load_file("legacy_tail_pinned", bpf) as second:
        assert second.maps["jmp"].reused
        slot = bpf.map_lookup(second.maps["jmp"].fd, bytes(4), 4)
        assert slot == struct.pack("=I", second.infos["tail_entry"].id)
    with load_file("legacy_tail", bpf) as unpinned:
        assert list(unpinned.unpinned_program_arrays()) == ["jmp"]


def test_legacy_maps_of_maps_hold_their_inner_maps() -> None:
    bpf = Bpf()
    with load_file("legacy_mim", bpf) as loaded:
        ids = [struct.pack("=I", loaded.maps[name].info.id) for name in ("inner_a", "inner_b")]
        held = [bpf.map_lookup(loaded.maps["outer"].fd, struct.pack("=I", key), 4) for key in (0, 1)]
        assert held == ids


def test_legacy_tail_call_key_outside_its_array_is_refused_and_leaves_no_pin() -> None:
    with pytest.raises(ObjectError, match="5"):
        load_file("legacy_badkey", Bpf())
    assert not _pins()


def test_legacy_xdp_object_is_pinned_below_xdp_only_when_that_is_a_real_directory() -> None:
    bpf, types = Bpf(), {"": ProgType.XDP}
    load_file("legacy_small_36", bpf, types=types).close()
    pinned_for_tc = _pins()
    (ROOT / "xdp").mkdir(mode=0o700)
    load_file("legacy_small_36", bpf, types=types).close()
    below_xdp = _pins() - pinned_for_tc
    assert {pin.replace("tc/", "xdp/", 1) for pin in pinned_for_tc} == below_xdp


def test_pinned_map_of_another_size_is_refused_by_name_and_kept() -> None:
    bpf = Bpf()
    pins = PinningConf()
    load_file("xdp_count", bpf, pins).close()
    os.rename(ROOT / "xdp_frames", ROOT / "tc_frames")
    with pytest.raises(PinMismatchError) as caught:
        load_file("tc_count", bpf, pins)
    assert caught.value.differences == ("max entries: wanted 2, found 1",)
    assert caught.value.place == ("object 'tc_count'", "map 'tc_frames'")
    assert _pins() == {"tc_frames"}


@pytest.mark.parametrize("name", ["big_endian", "invalid_map_pinning", "invalid_legacy_static"])
def test_object_that_no_loader_takes_is_refused(name: str) -> None:
    with pytest.raises(LoaderError):
        load_file(name, Bpf())
    assert not _pins()
