"""Programs for hooks as `ip` and `tc` load them: selection, directories, pins, and what a failure leaves."""

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from tests.support import sandbox
from xdploaderd.errors import KernelError, LoaderError, NoSuchProgramError, PinError, UsageError
from xdploaderd.front.bpfspec import BpfSpec, parse_bpf_spec
from xdploaderd.front.kept_arrays import drop_arrays
from xdploaderd.front.load import load_for_hook
from xdploaderd.front.words import Words
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.uapi.bpf import ProgType

pytestmark = pytest.mark.kernel
OBJECTS = Path(__file__).parents[1] / "bpf"
BPFFS = Path("/sys/fs/bpf")


@pytest.fixture(autouse=True)
def _no_pins_afterwards(_no_kernel_leak: None) -> Iterator[None]:
    yield
    sandbox.clear_pins()


def spec_of(name: str, *words: str, kind: ProgType = ProgType.XDP) -> BpfSpec:
    return parse_bpf_spec(Words(["obj", str(OBJECTS / f"{name}.bpf.o"), *words]), kind, environ={})


def names() -> list[str]:
    """Return what lies in the root of the BPF file system, but for the kernel's own files."""
    return [name for name in os.listdir(BPFFS) if not name.endswith(".debug")]


def loaded_name(name: str, *words: str, kind: ProgType = ProgType.XDP) -> str:
    with load_for_hook(spec_of(name, *words, kind=kind), Bpf(), say=print, environ={}) as program:
        return program.info.name


def test_maps_and_directories_are_those_of_iproute2() -> None:
    loaded_name("legacy_pin2", "sec", "classifier", kind=ProgType.SCHED_CLS)
    assert os.readlink(BPFFS / "xdp") == "/sys/fs/bpf/tc/" == os.readlink(BPFFS / "ip")
    assert stat.S_IMODE((BPFFS / "tc/globals").stat().st_mode) == 0o700
    assert [p.name for p in (BPFFS / "tc/globals").iterdir()] == ["cnt"]


def test_standard_map_is_pinned_by_name_among_iproute2s() -> None:
    loaded_name("demo_xdp")
    assert list((BPFFS / "tc/globals").iterdir())


def test_directory_in_place_of_the_link_is_used_for_xdp() -> None:
    (BPFFS / "xdp").mkdir(mode=0o700)
    loaded_name("legacy_pin2", "sec", "classifier")
    assert (BPFFS / "xdp/globals/cnt").exists()
    assert not list((BPFFS / "tc/globals").iterdir())


def test_function_name_counts_more_than_section() -> None:
    assert loaded_name("xdp_count", "sec", "nosuch", "program", "xdp_count") == "xdp_count"


def test_only_fitting_program_is_found_without_a_name() -> None:
    assert loaded_name("xdp_pass") == "xdp_pass"


@pytest.mark.parametrize("words", [("sec", "nosuch"), ("program", "nosuch")])
def test_missing_program_is_named_and_nothing_is_left(words: tuple[str, ...]) -> None:
    with pytest.raises(NoSuchProgramError, match="nosuch"):
        loaded_name("legacy_pin2", *words)
    assert not names()


def test_failure_behind_the_load_takes_everything_back() -> None:
    spec = spec_of("legacy_pin2", "sec", "classifier", kind=ProgType.SCHED_CLS)
    program = load_for_hook(spec, Bpf(), say=print, environ={})
    assert (BPFFS / "tc/globals/cnt").exists()
    error = LoaderError("attaching failed")
    program.__exit__(type(error), error, None)
    assert not names()


def test_refused_program_takes_everything_back() -> None:
    with pytest.raises(KernelError):
        loaded_name("reject", "program", "bad")
    assert not names()


def test_unpinned_program_array_is_kept_until_its_program_goes() -> None:
    bpf, root = Bpf(), PurePosixPath(BPFFS)
    with load_for_hook(spec_of("legacy_tail", "sec", "classifier", kind=ProgType.SCHED_CLS), bpf, say=print) as program:
        kept = BPFFS / "xdploaderctl" / str(program.info.id)
        assert len(list(kept.iterdir())) == 1
        drop_arrays(bpf, root)
        assert kept.exists()
        before = program.info.id
    while before in bpf.prog_ids():
        pass
    drop_arrays(bpf, root)
    assert not (BPFFS / "xdploaderctl").exists()


def test_pinned_program_is_opened_and_other_pins_are_refused() -> None:
    bpf, pin = Bpf(), PurePosixPath(BPFFS / "prog")
    with load_for_hook(spec_of("legacy_pin2", "sec", "classifier"), bpf, say=print, environ={}) as program:
        bpf.obj_pin(program.fd, PurePosixPath(BPFFS / "tc/prog"))
        found_id = program.info.id
    for path in ("/sys/fs/bpf/tc/prog", "m:prog"):
        with load_for_hook(pinned(path), bpf, say=print, environ={}) as program:
            assert program.info.id == found_id
    with pytest.raises(UsageError, match="pinned map"):
        load_for_hook(pinned("m:globals/cnt"), bpf, say=print, environ={})
    with pytest.raises(KernelError, match="no such file"):
        load_for_hook(pinned(str(pin)), bpf, say=print, environ={})


def pinned(path: str) -> BpfSpec:
    return parse_bpf_spec(Words(["pinned", path]), ProgType.XDP)


def test_verbose_tells_the_reading_and_the_verifiers_log() -> None:
    said: list[str] = []
    with load_for_hook(spec_of("legacy_pin2", "sec", "classifier", "verbose"), Bpf(), say=said.append, environ={}):
        text = "\n".join(said)
    assert "processed" in text
    assert "legacy, section 'maps' holds map definitions" in text
    assert "pinned at /sys/fs/bpf/tc/globals/cnt" in text


def test_root_of_the_environment_is_made_and_mounted(tmp_path: Path) -> None:
    root = tmp_path / "bpf"
    try:
        with load_for_hook(
            spec_of("legacy_pin2", "sec", "classifier"), Bpf(), say=print, environ={"TC_BPF_MNT": str(root)}
        ):
            assert (root / "tc/globals/cnt").exists()
            assert stat.S_IMODE(root.stat().st_mode) & 0o777 == 0o700
            (root / "tc/globals/cnt").unlink()
    finally:
        for _ in range(2):  # the BPF file system, and the directory bound onto itself
            subprocess.run(["umount", str(root)], check=True)
    assert not names()


def test_directory_inside_a_bpf_file_system_is_a_root(tmp_path: Path) -> None:
    (BPFFS / "mine").mkdir(mode=0o700)
    environ = {"TC_BPF_MNT": str(BPFFS / "mine")}
    with load_for_hook(spec_of("legacy_pin2"), Bpf(), say=print, environ=environ):
        assert (BPFFS / "mine/tc/globals/cnt").exists()
        assert os.readlink(BPFFS / "mine/xdp") == "/sys/fs/bpf/mine/tc/"


def test_only_an_object_that_wants_pins_needs_a_bpf_file_system(tmp_path: Path) -> None:
    environ = {"TC_BPF_MNT": str(tmp_path / "no" / "such")}
    said: list[str] = []
    with load_for_hook(spec_of("legacy_pin0"), Bpf(), say=said.append, environ=environ):
        assert "no map asks to be pinned" in said[0]
    with pytest.raises(PinError, match="none can be mounted"):
        load_for_hook(spec_of("legacy_pin2"), Bpf(), say=said.append, environ=environ)


def test_section_without_code_is_no_program() -> None:
    with pytest.raises(NoSuchProgramError, match="section 'license'"):
        loaded_name("legacy_pin2", "sec", "license")
    assert not names()
