"""CO-RE on types made at random, and changed at random: libbpf's lines, instructions, refusals, and BTFGen."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders.core_random import CorePair, random_pair
from tests.support.core_pairs import Counts, compare_with_libbpf
from tests.support.tools import bpftool
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.ext import CoreReloKind
from xdploaderd.errors import LoaderError
from xdploaderd.kernel.known import target_from_file
from xdploaderd.obj.minimize import minimize
from xdploaderd.obj.open import open_object
from xdploaderd.obj.prepare import prepare
from xdploaderd.obj.spec import PreparedObject

pytestmark = pytest.mark.oracle

PAIRS = 150
MINIMIZED = 25
BEYOND_BPFTOOL = (b"Error: unsupported kind: type_tag", b"Error: unsupported kind: fwd")  # we keep them


def written(seed: int, folder: Path) -> tuple[Path, Path, CorePair]:
    """Write object and target of a number's pair."""
    pair = random_pair(seed)
    local, target = folder / f"seed{seed}.o", folder / f"target{seed}.btf"
    local.write_bytes(pair.object)
    target.write_bytes(pair.target)
    return local, target, pair


def compare(seed: int, folder: Path, counts: Counts) -> None:
    """Compare what libbpf and we make of a pair."""
    local, target, pair = written(seed, folder)
    ours = prepare(open_object(pair.object, name=local.name), target_from_file(target), partial=True)
    compare_with_libbpf(local, ours, target, counts)


def minimized(seed: int, folder: Path) -> str:
    """Compare what bpftool and we keep of a target, and what it comes to then; tell what differs, or who refuses."""
    local, target, pair = written(seed, folder)
    output = folder / "min.btf"
    argv: list[str | Path] = [bpftool(), "gen", "min_core_btf", target, output, local]
    done = subprocess.run(argv, capture_output=True, check=False)
    obj = open_object(pair.object, name=local.name)
    try:
        ours = minimize(Btf.parse(pair.target, name="target"), [obj])
    except LoaderError as error:
        return "" if done.returncode else f"seed {seed}: bpftool takes it: {error}"
    if done.returncode and not any(done.stderr.startswith(kind) for kind in BEYOND_BPFTOOL):
        return f"seed {seed}: bpftool refuses it: {done.stderr!r}"
    if not done.returncode and output.read_bytes() != ours:
        return f"seed {seed}: other bytes"
    output.write_bytes(ours)
    whole, left = (prepare(obj, target_from_file(path), partial=True) for path in (target, output))
    if any(sum(not each.mismatch for each in decision.candidates) > 1 for decision in whole.core_log):
        return ""  # of several that match the first is kept, as bpftool does: a later record may want another
    return "" if list(_outcomes(whole)) == list(_outcomes(left)) else f"seed {seed}: other values"


def _outcomes(prepared: PreparedObject) -> Iterator[tuple[object, ...]]:
    for decision in prepared.core_log:
        if decision.kind is not CoreReloKind.TYPE_ID_TARGET:
            yield decision.number, decision.value, decision.poisoned, decision.after


def test_random_pairs_come_to_what_libbpf_says(tmp_path: Path) -> None:
    counts = Counts()
    for seed in range(PAIRS):
        compare(seed, tmp_path, counts)
    assert counts.different == []
    assert counts.equal > PAIRS // 2


def test_random_targets_are_cut_down_as_by_bpftool(tmp_path: Path) -> None:
    assert [found for seed in range(MINIMIZED) if (found := minimized(seed, tmp_path))] == []
