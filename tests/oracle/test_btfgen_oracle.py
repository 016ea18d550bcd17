"""BTFGen against bpftool's: the same bytes for the same objects, and relocations that come to the same values."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support import tools
from tests.support.core_pairs import core_objects
from tests.support.core_rule import Rule
from tests.support.core_rules import RULES
from tests.support.tools import bpftool, corpus
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.ext import CoreReloKind
from xdploaderd.errors import LoaderError
from xdploaderd.kernel.known import target_from_file
from xdploaderd.obj.btf_sections import read_core_object
from xdploaderd.obj.elf import ElfImage
from xdploaderd.obj.minimize import minimize
from xdploaderd.obj.open import open_object
from xdploaderd.obj.prepare import prepare
from xdploaderd.obj.spec import ObjectSpec, PreparedObject, TargetKernel
from xdploaderd.uapi.bpf import Feature

pytestmark = pytest.mark.oracle

BPF = Path(__file__).parents[1] / "bpf"
PAIRS = ("fields", "types")
VMLINUX = Path("/sys/kernel/btf/vmlinux")
Capture = pytest.CaptureFixture[str]


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


@pytest.mark.parametrize("kernel", [VMLINUX, *tools.kernel_btfs()], ids=lambda path: path.stem)
def test_every_object_of_the_corpus_needs_what_bpftool_keeps(kernel: Path, tmp_path: Path, capsys: Capture) -> None:
    target, compared, refused = Btf.parse(kernel.read_bytes(), name="vmlinux", trusted=True), 0, 0
    for path in sorted(corpus().rglob("*.o")):
        expected = theirs(kernel, [path], tmp_path / "min.btf")
        try:
            ours = minimize(target, [read_core_object(path.read_bytes(), name=path.name)])
        except LoaderError:
            ours = None
        assert ours == expected, path.name
        compared, refused = compared + (ours is not None), refused + (ours is None)
    with capsys.disabled():
        print(f"\n{kernel.stem}: BTFGen of the corpus: {compared} equal byte by byte, {refused} refused by both")
    assert compared > 160


@pytest.mark.parametrize("kernel", [VMLINUX, *tools.kernel_btfs()], ids=lambda path: path.stem)
def test_corpus_prepared_with_what_is_left_comes_to_the_same(kernel: Path, capsys: Capture) -> None:
    whole, objects, records = target_from_file(kernel), 0, 0
    for path, obj in core_objects(corpus()):
        left = target_of(Btf.parse(minimize(whole.btfs[0], [obj]), name="left"))
        one, other = (prepare(obj, target, partial=True, lenient=True) for target in (target_of(*whole.btfs), left))
        assert outcomes(one) == outcomes(other), path.name
        objects, records = objects + 1, records + len(one.core_log)
    with capsys.disabled():
        print(f"\n{kernel.stem}: {records} records of {objects} objects come to the same with the cut down BTF")
    assert records > 500


def outcomes(prepared: PreparedObject) -> list[tuple[object, ...]]:
    """Return what the records came to; numbers of target types say nothing in another BTF."""
    decided = [each for each in prepared.core_log if each.kind is not CoreReloKind.TYPE_ID_TARGET]
    return [(each.program, each.insn_idx, each.value, each.poisoned, each.after) for each in decided]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_pair_of_each_rule_needs_what_bpftool_keeps(rule: Rule, tmp_path: Path) -> None:
    local, path = rule.build(tmp_path)
    target, obj = target_from_file(path).btfs[0], opened(local)
    expected = theirs(path, [local], tmp_path / "min.btf")
    if expected is None:
        with pytest.raises(LoaderError):
            minimize(target, [obj])
        return
    made = minimize(target, [obj])
    assert made == expected
    left = target_of(Btf.parse(made, name="left"))
    assert outcomes(prepare(obj, target_of(target), partial=True)) == outcomes(prepare(obj, left, partial=True))


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


def target_of(*btfs: Btf) -> TargetKernel:
    return TargetKernel(release="any", version_code=0, btfs=btfs, features=frozenset(Feature), custom_btf=True)
