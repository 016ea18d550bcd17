"""Every object of the corpus that loads: instructions, maps, uploaded BTF and tags are those of libbpf."""

import csv
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from tests.oracle.test_prepare_oracle import map_fields, masked
from tests.support import libbpf, sandbox
from tests.support.tools import corpus
from tools.corpus import NoPins, typed, types_of
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.target import running_kernel
from xdploaderd.load.object import LoadedObject, load
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


def differences(path: Path, loaded: LoadedObject, theirs: libbpf.Loaded) -> Iterator[str]:
    """Yield what differs between our load of one object and libbpf's."""
    prepared = loaded.prepared
    if theirs.error or theirs.programs.keys() != prepared.programs.keys():
        yield f"{path.name}: libbpf loads {sorted(theirs.programs)} with error {theirs.error}"
        return
    for name, program in prepared.programs.items():
        if masked(program.insns) != masked(theirs.programs[name]):
            yield f"{path.name}: instructions of {name}"
        if loaded.infos[name].tag != theirs.tags[name]:
            yield f"{path.name}: tag of {name}"
    if {spec.name: map_fields(spec) for spec in prepared.maps.values()} != theirs.maps:
        yield f"{path.name}: maps"
    for spec in prepared.maps.values():
        if spec.section and (spec.contents or bytes(spec.value_size)) != theirs.contents[spec.name]:
            yield f"{path.name}: contents of {spec.name}"
    if _btf_text(prepared.btf) != theirs.btf:
        yield f"{path.name}: BTF"


def _btf_text(raw: bytes | None) -> str:
    if raw is None:
        return ""
    with tempfile.NamedTemporaryFile(suffix=".btf") as file:
        file.write(raw)
        file.flush()
        return libbpf.dump_btf_file(Path(file.name))


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
