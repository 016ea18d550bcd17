"""Every object of the corpus that loads: instructions, maps, uploaded BTF and tags are those of libbpf."""

import csv
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from tests.support import libbpf, sandbox
from tests.support.tools import corpus
from tools.corpus import NoPins, typed, types_of
from tools.differences import differences
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.target import running_kernel
from xdploaderd.load.object import load
from xdploaderd.obj.open import open_object
from xdploaderd.obj.prepare import prepare, target_needs
from xdploaderd.obj.spec import Dialect, ObjectSpec

pytestmark = pytest.mark.oracle

PROGRAMS = 200  # at least; a corpus that compares fewer proves little


def loadable() -> Iterator[tuple[Path, ObjectSpec]]:
    """Yield the objects that load as a whole and that libbpf takes too, with a type for every program."""
    table = csv.DictReader((corpus().parent / "expected.tsv").read_text().splitlines(), delimiter="\t")
    for row in table:
        path = corpus() / row["object"]
        if row["expected"] == "full":
            obj = typed(open_object(path.read_bytes(), name=path.name), row["hook"])
            if obj.dialect is Dialect.STANDARD:
                yield path, obj


def test_loadable_objects_are_loaded_as_libbpf_loads_them() -> None:
    bpf = Bpf()
    found: list[str] = []
    programs = 0
    for path, obj in loadable():
        prepared = prepare(obj, running_kernel(bpf, target_needs(obj)))
        with load(prepared, bpf, NoPins(PurePosixPath("/"))) as loaded:
            found += differences(path, loaded, libbpf.load(path, types=types_of(obj)))
            programs += len(loaded.programs)
        sandbox.clear_pins()
    assert found == []
    assert programs >= PROGRAMS
