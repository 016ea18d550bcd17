"""BTFGen against bpftool's: the same bytes for the same objects, and relocations that come to the same values."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.tools import bpftool, corpus
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.ext import CoreReloKind
from xdploaderd.errors import LoaderError
from xdploaderd.obj.elf import ElfImage
from xdploaderd.obj.metadata import read_core_object
from xdploaderd.obj.minimize import minimize
from xdploaderd.obj.open import open_object
from xdploaderd.obj.prepare import prepare
from xdploaderd.obj.spec import ObjectSpec, TargetKernel
from xdploaderd.uapi.bpf import Feature

pytestmark = pytest.mark.oracle

BPF = Path(__file__).parents[1] / "bpf"
PAIRS = ("fields", "types")
VMLINUX = Path("/sys/kernel/btf/vmlinux")


def opened(path: Path) -> ObjectSpec:
    return open_object(path.read_bytes(), name=path.name)


def theirs(target: Path, objects: Sequence[Path], output: Path) -> bytes | None:
    done = subprocess.run(
        [bpftool(), "gen", "min_core_btf", target, output, *objects], capture_output=True, check=False
    )
    return output.read_bytes() if done.returncode == 0 else None


def pair_target(name: str) -> tuple[Path, Btf]:
    path = BPF / "core" / f"{name}.target.o"
    section = ElfImage.parse(path.read_bytes(), name=path.name).section(".BTF")
    assert section
    return path, Btf.parse(bytes(section.data()), name=path.name)


@pytest.fixture(scope="module")
def vmlinux() -> Btf:
    return Btf.parse(VMLINUX.read_bytes(), name="vmlinux", trusted=True)


@pytest.mark.parametrize("name", PAIRS)
def test_bytes_are_those_of_bpftool(name: str, tmp_path: Path) -> None:
    path, target = pair_target(name)
    local = BPF / "core" / f"{name}.local.o"
    expected = theirs(path, [local], tmp_path / "min.btf")
    assert expected
    assert minimize(target, [opened(local)]) == expected


def test_several_objects_need_the_union_of_what_each_needs(vmlinux: Btf, tmp_path: Path) -> None:
    paths = [BPF / "core" / "kernel.local.o", BPF / "demo_xdp.bpf.o", BPF / "xdp_pass.bpf.o"]
    whole = minimize(vmlinux, map(opened, paths))
    assert whole == theirs(VMLINUX, paths, tmp_path / "min.btf")
    assert max(len(minimize(vmlinux, [opened(path)])) for path in paths) <= len(whole) < len(vmlinux.raw) // 100


def test_every_object_of_the_corpus_needs_what_bpftool_keeps(vmlinux: Btf, tmp_path: Path) -> None:
    compared = 0
    for path in sorted(corpus().rglob("*.o")):
        expected = theirs(VMLINUX, [path], tmp_path / "min.btf")
        try:
            ours = minimize(vmlinux, [read_core_object(path.read_bytes(), name=path.name)])
        except LoaderError:
            ours = None
        assert ours == expected, path.name
        compared += ours is not None
    assert compared > 160


@pytest.mark.parametrize("name", PAIRS)
def test_records_come_to_the_same_with_what_is_left(name: str) -> None:
    target = pair_target(name)[1]
    local = opened(BPF / "core" / f"{name}.local.o")
    left = Btf.parse(minimize(target, [local]), name="left")
    whole, part = (prepare(local, target_of(btf)).core_log for btf in (target, left))
    assert len(whole) == len(part) > 50
    for one, other in zip(whole, part, strict=True):
        if one.kind is not CoreReloKind.TYPE_ID_TARGET:
            assert (one.value, one.poisoned, one.after) == (other.value, other.poisoned, other.after)
    assert prepare(local, target_of(left)).programs.keys() == prepare(local, target_of(target)).programs.keys()


def target_of(btf: Btf) -> TargetKernel:
    return TargetKernel(release="any", version_code=0, btfs=(btf,), features=frozenset(Feature), custom_btf=True)
