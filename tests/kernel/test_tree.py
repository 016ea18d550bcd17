"""`load OBJ DIR` and `unload DIR` on a real BPF file system."""

import errno
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from tests.builders.prepared import Pins, map_spec, prepared, prog
from tests.fakes.bpf import FailingDoor
from xdploaderd.errors import LoaderError, PinError
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.fdinfo import ObjectKind
from xdploaderd.kernel.syscall import bpf_syscall
from xdploaderd.load.object import LoadedObject, load
from xdploaderd.load.tree import load_tree, unload_tree
from xdploaderd.obj.spec import PreparedProgram
from xdploaderd.uapi.bpf import BpfCmd

pytestmark = pytest.mark.kernel
ROOT = Path("/sys/fs/bpf")
DIR = PurePosixPath("/sys/fs/bpf/apps/fw")


@pytest.fixture(autouse=True)
def _no_apps_left() -> Iterator[None]:
    yield
    if (ROOT / "apps").exists():
        shutil.rmtree(ROOT / "apps")


def _unnamed(section: str) -> PreparedProgram:
    program = prog(section)
    function = program.spec.function._replace(section=section)
    return replace(program, spec=replace(program.spec, function=function, has_symbol=False))


def _tree() -> set[str]:
    """Return what lies below the BPF file system but for the iterators that the kernel itself puts there."""
    return {str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.suffix != ".debug"}


def _loaded(bpf: Bpf) -> LoadedObject:
    maps = [map_spec("stats"), replace(map_spec(".data.custom"), kernel_name="hand_.data.cust")]
    return load(prepared([prog(), _unnamed("classifier/in.g")], maps), bpf, Pins())


def test_programs_and_maps_are_pinned_where_they_belong_and_unloaded_again() -> None:
    bpf = Bpf()
    with _loaded(bpf) as loaded:
        paths = load_tree(loaded, bpf, DIR)
    assert paths.programs["classifier/in.g"] == DIR / "classifier_in_g"
    assert paths.maps[".data.custom"] == DIR / "maps" / "_data_custom"
    pins = {"apps/fw/xdp_pass", "apps/fw/classifier_in_g", "apps/fw/maps/stats", "apps/fw/maps/_data_custom"}
    assert _tree() == pins | {"apps", "apps/fw", "apps/fw/maps"}
    with bpf.obj_get(DIR / "xdp_pass") as fd:
        assert bpf.kind_of(fd) is ObjectKind.PROG
    assert {str(path.relative_to(ROOT)) for path in unload_tree(DIR)} == pins
    assert _tree() == {"apps"}


def test_exception_before_commit_takes_the_tree_back() -> None:
    bpf = Bpf()
    with pytest.raises(KeyError), _loaded(bpf) as loaded:  # noqa: PT012 - the block is what is tested
        load_tree(loaded, bpf, DIR)
        raise KeyError
    assert not _tree()


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_failed_pin_takes_the_tree_back(nth: int) -> None:
    bpf = Bpf(FailingDoor(bpf_syscall, nth, errno.ENOMEM, BpfCmd.OBJ_PIN))
    with pytest.raises(LoaderError, match="ENOMEM"), _loaded(bpf) as loaded:
        load_tree(loaded, bpf, DIR)
    assert not _tree()


def test_directory_that_holds_something_is_refused() -> None:
    bpf = Bpf()
    (ROOT / "apps/fw/mine").mkdir(parents=True)
    with pytest.raises(PinError, match="not empty"), _loaded(bpf) as loaded:
        load_tree(loaded, bpf, DIR)
    with pytest.raises(PinError, match="fw/mine' is not of the kind"):
        unload_tree(DIR)
    assert _tree() == {"apps", "apps/fw", "apps/fw/mine"}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a/b", "'a/b' cannot be the name of a pin: it is empty, or has a slash"),
        ("..\\x1b", r"cannot be the name of a pin: it is empty, or has a slash"),
        ("n" * 256, "of 256 bytes cannot be the name of a pin, want 255 at most"),
    ],
)
def test_name_that_cannot_be_a_pin_is_refused(name: str, why: str) -> None:
    bpf = Bpf()
    with (
        pytest.raises(PinError, match=why),
        load(prepared([], [map_spec(name)]), bpf, Pins()) as loaded,
    ):
        load_tree(loaded, bpf, DIR)
    assert not _tree()


def test_names_that_meet_are_refused() -> None:
    bpf = Bpf()
    objects = prepared([], [map_spec("a.b"), map_spec("a_b")])
    with (
        pytest.raises(PinError, match=r"map 'a_b' would be pinned at .*, as the map 'a.b'"),
        load(objects, bpf, Pins()) as loaded,
    ):
        load_tree(loaded, bpf, DIR)
    with (
        pytest.raises(PinError, match="as the directory of the maps"),
        load(prepared([prog("maps")], [map_spec()]), bpf, Pins()) as loaded,
    ):
        load_tree(loaded, bpf, DIR)
    assert not _tree()


@pytest.mark.parametrize(
    ("directory", "said"),
    [
        ("/sys/fs/bpf", "is the root of a BPF file system"),
        ("relative", "'relative' is a relative path, wanted an absolute one"),
        ("/sys/fs/bpf/../bpf/x", r"contains '\.\.'"),
        ("/tmp/no_such_dir/fw", "does not lie on a BPF file system"),
        ("/sys/fs/bpf/a.b/fw", "no name with a dot"),
    ],
)
def test_directory_that_cannot_hold_pins_is_refused(directory: str, said: str) -> None:
    bpf = Bpf()
    with pytest.raises(PinError, match=said), _loaded(bpf) as loaded:
        load_tree(loaded, bpf, PurePosixPath(directory))
    assert not _tree()


def test_unload_touches_nothing_outside_a_bpf_file_system(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(PinError, match="does not lie on a BPF file system"):
        unload_tree(PurePosixPath(tmp_path))
    with pytest.raises(PinError, match="'/sys/fs/bpf/apps/fw': no such file or directory"):
        unload_tree(DIR)
    (ROOT / "apps").mkdir()
    (ROOT / "apps/link").symlink_to(ROOT / "apps")
    with pytest.raises(PinError, match="link' is no directory"):
        unload_tree(PurePosixPath(ROOT / "apps/link"))
    assert (tmp_path / "file").read_text() == "precious"
