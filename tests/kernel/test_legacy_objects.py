"""What legacy objects do once they are loaded: calls reach their callees, data and types are there, pins are right."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from tests.builders.btf import U32, blob_of, member, struct
from tests.builders.elf import Rel, Sec, program
from tests.builders.legacy import LOAD_MAP, maps_of, record, written
from tests.support import sandbox
from tests.support.loading import load_file
from tests.support.tools import bpftool
from xdploaderd.config.pinning import PinningConf
from xdploaderd.errors import PinError
from xdploaderd.hooks import Hook
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.target import running_kernel
from xdploaderd.load.object import LoadedObject, load
from xdploaderd.obj.open import open_object
from xdploaderd.obj.prepare import prepare, target_needs
from xdploaderd.obj.select import select_programs
from xdploaderd.uapi.bpf import MapType, ProgType

pytestmark = pytest.mark.kernel

FRAME = bytes(12) + b"\x08\x00" + bytes(50)
TC = {"": ProgType.SCHED_CLS}
XDP = {"": ProgType.XDP}


@pytest.fixture
def bpf() -> Iterator[Bpf]:
    yield Bpf()
    sandbox.clear_pins()


def ran(bpf: Bpf, loaded: LoadedObject, program: str) -> int:
    return bpf.prog_run(loaded.programs[program], FRAME).retval


def told(*argv: str) -> str:
    """Return what bpftool says."""
    return subprocess.run([bpftool(), *argv], check=True, capture_output=True, text=True).stdout


def counted(bpf: Bpf, loaded: LoadedObject, name: str) -> list[int]:
    """Return the counters of an array."""
    found = loaded.maps[name]
    keys = (number.to_bytes(4, "little") for number in range(found.info.max_entries))
    return [int.from_bytes(bpf.map_lookup(found.fd, key, 8) or b"", "little") for key in keys]


def test_global_data_and_every_global_subprogram_are_reached(bpf: Bpf) -> None:
    with load_file("legacy_globals", bpf, types=TC) as loaded:
        assert ran(bpf, loaded, "use_globals") == 0
        assert counted(bpf, loaded, "cnt") == [0, 1]


@pytest.mark.parametrize("build", ["", "_btf", "_clang16"])
def test_both_static_subprograms_are_in_the_program(build: str, bpf: Bpf) -> None:
    with load_file(f"legacy_subprogs{build}", bpf, types=TC) as loaded:
        prog_id = str(loaded.infos["cls_main"].id)
        text = told("prog", "dump", "xlated", "id", prog_id)
        assert text.count("call pc+") == 2
        ran(bpf, loaded, "cls_main")
        assert counted(bpf, loaded, "hits") == [1, 0, 0, 0]


@pytest.mark.parametrize("build", ["", "_btf", "_clang16"])
def test_static_function_in_front_of_its_program_is_not_entered(build: str, bpf: Bpf) -> None:
    with load_file(f"legacy_static_first{build}", bpf, types=XDP) as loaded:
        assert list(loaded.programs) == ["main_behind"]
        assert ran(bpf, loaded, "main_behind") == 2
        assert counted(bpf, loaded, "first_hits") == [1, 0]


def test_two_functions_of_a_section_are_two_programs(bpf: Bpf) -> None:
    with load_file("legacy_two", bpf, types=TC) as loaded:
        assert [ran(bpf, loaded, name) for name in ("one", "two")] == [0, 2]
        assert counted(bpf, loaded, "cnt") == [1, 1]


def test_annotated_types_are_the_maps(bpf: Bpf) -> None:
    with load_file("legacy_annotated", bpf, types=TC) as loaded:
        info = loaded.maps["stats"].info
        assert json.loads(told("-j", "map", "show", "id", str(info.id)))["btf_id"]
        assert info.btf_key_type_id
        assert info.btf_value_type_id
        key, value = (1).to_bytes(4, "little"), (7).to_bytes(8, "little") + (8).to_bytes(8, "little")
        bpf.map_update(loaded.maps["stats"].fd, key, value)
        (entry,) = json.loads(told("-j", "map", "dump", "id", str(info.id)))
        assert entry["formatted"]["value"] == {"packets": 7, "bytes": 8}


@pytest.mark.parametrize("build", ["", "_btf", "_clang16"])
def test_goebpf_object_is_pinned_where_it_says_and_reused(build: str, bpf: Bpf) -> None:
    with load_file(f"legacy_goebpf{build}", bpf) as loaded:
        pinned = {name: str(found.pin) for name, found in loaded.maps.items() if found.pin}
        assert pinned == {"txcnt": "/sys/fs/bpf/goe_txcnt", "flows_by_net": "/sys/fs/bpf/goe_nets"}
        assert {name: (m.info.key_size, m.info.value_size) for name, m in loaded.maps.items()} == {
            "txcnt": (4, 8), "flows": (8, 4), "flows_by_cpu": (4, 4), "flows_by_net": (4, 4), "blocked": (8, 4),
            "samples": (4, 4), "programs": (4, 4),
        }  # fmt: skip
        assert ran(bpf, loaded, "count_frames") == 2
        with load_file(f"legacy_goebpf{build}", bpf) as again:
            assert again.maps["txcnt"].info.id == loaded.maps["txcnt"].info.id


def test_object_has_no_say_outside_of_the_root(bpf: Bpf) -> None:
    with pytest.raises(PinError, match="want a path below '/sys/fs/bpf/mine'"):
        load_file("legacy_goebpf", bpf, PinningConf(root=PurePosixPath("/sys/fs/bpf/mine")))
    assert not Path("/sys/fs/bpf/mine").exists()


@pytest.mark.parametrize("build", ["", "_28", "_btf", "_28_btf", "_clang16"])
def test_object_of_old_tutorials_is_loaded_and_the_result_names_the_rule(build: str, bpf: Bpf) -> None:
    with load_file(f"legacy_tutorial{build}", bpf, types=XDP) as loaded:
        assert {found.spec.rule for found in loaded.maps.values()} == {
            "bpf_map_def" if "btf" in build else "bpf_elf_map"
        }
        assert ran(bpf, loaded, "xdp_pass_func") == 2


@pytest.mark.parametrize("build", ["", "_btf", "_clang16"])
def test_program_that_calls_itself_ends_at_the_kernels_limit(build: str, bpf: Bpf) -> None:
    with load_file(f"legacy_cyclic{build}", bpf, types=TC) as loaded:
        assert ran(bpf, loaded, "cls_entry") == 0
        assert counted(bpf, loaded, "loops") == [33]


def test_types_that_the_kernel_takes_are_kept(bpf: Bpf) -> None:
    with load_file("legacy_shared_btf", bpf, types=TC) as loaded:
        assert loaded.infos["emain"].btf_id
        assert loaded.warnings == ()


def test_types_that_the_kernel_refuses_are_dropped_with_one_warning(bpf: Bpf, tmp_path: Path) -> None:
    types = (U32, struct("no name", 4, member("x", 1)))
    maps = maps_of(cnt=record(MapType.ARRAY, 4, 8, 2))
    parts = (*maps, Sec(".BTF", blob_of(types)), program("main", "prog", LOAD_MAP), Rel("prog", 0, "cnt"))
    path = written(tmp_path / "a.o", *parts)
    obj = select_programs(open_object(path.read_bytes(), name=path.name), hook=Hook.XDP)
    with load(prepare(obj, running_kernel(bpf, target_needs(obj))), bpf, PinningConf()) as loaded:
        assert not loaded.infos["main"].btf_id
        (warning,) = loaded.warnings
        assert warning.startswith("loaded without BTF: ")
