"""CO-RE of the corpus against Debian's kernels: records as bpftool decides them, instructions as libbpf writes them."""

from pathlib import Path

import pytest

from tests.support import tools
from tests.support.core_pairs import Counts, compare_code, compare_records, core_objects
from xdploaderd.kernel.known import target_from_file
from xdploaderd.obj.prepare import prepare

pytestmark = pytest.mark.oracle
KERNELS = tools.kernel_btfs() or [Path("missing")]
Capture = pytest.CaptureFixture[str]
# Programs that libbpf 1.1 leaves unlike newer ones, and we do as those.
_NEWER = {
    "exceptions.6.12.o: program exception_ext_mod_cb_runtime": "libbpf 1.1 does not know exception callbacks",
}


@pytest.fixture(autouse=True)
def _four_kernels() -> None:
    tools.other_kernels()


def settled(counts: Counts) -> None:
    """Move the differences that have a known reason to the explained ones."""
    counts.explained += [f"{text}: {_NEWER[text]}" for text in counts.different if text in _NEWER]
    counts.different = [text for text in counts.different if text not in _NEWER]


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda path: path.stem)
def test_records_of_the_corpus_are_decided_as_by_bpftool(kernel: Path, capsys: Capture) -> None:
    counts, target = Counts(), target_from_file(kernel)
    for path, obj in core_objects(tools.corpus()):
        compare_records(path, obj, prepare(obj, target, partial=True, lenient=True), kernel, counts)
    with capsys.disabled():
        print(f"\n{kernel.stem}: CO-RE records: {counts}")
    assert counts.different == []
    assert counts.equal > 1000


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda path: path.stem)
def test_instructions_of_the_corpus_are_those_of_libbpf(kernel: Path, capsys: Capture) -> None:
    counts, target = Counts(), target_from_file(kernel)
    for path, obj in core_objects(tools.corpus()):
        compare_code(path, prepare(obj, target, partial=True, lenient=True), kernel, counts)
    settled(counts)
    with capsys.disabled():
        print(f"\n{kernel.stem}: programs: {counts}")
    assert counts.different == []
    assert counts.equal > 30
