"""The kernel's own CO-RE selftests: the same lines, instructions and refusals as libbpf's, for every pair."""

import pytest

from tests.support.core_pairs import Counts, compare_with_libbpf
from tests.support.core_selftests import VERSIONS, pairs
from xdploaderd.kernel.known import target_from_file
from xdploaderd.obj.open import open_object
from xdploaderd.obj.prepare import prepare
from xdploaderd.obj.select import ALL_PROGRAMS, select_programs
from xdploaderd.uapi.bpf import ProgType

pytestmark = pytest.mark.oracle


@pytest.mark.parametrize("version", VERSIONS)
def test_every_pair_comes_out_as_with_libbpf(version: str, capsys: pytest.CaptureFixture[str]) -> None:
    counts, seen = Counts(), 0
    for local, target in pairs(version):
        # As socket filters they need no function of a kernel to attach to.
        types = {ALL_PROGRAMS: ProgType.SOCKET_FILTER}
        obj = select_programs(open_object(local.read_bytes(), name=local.name), types=types)
        ours = prepare(obj, target_from_file(target), partial=True, lenient=True)
        compare_with_libbpf(local, ours, target, counts)
        seen += 1
    with capsys.disabled():
        print(f"\nselftests of {version}: {seen} pairs: {counts}")
    assert counts.different == []
    assert seen >= 60
    assert counts.equal >= 60
    assert counts.refused >= 5
