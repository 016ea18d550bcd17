"""Objects that this project did not write, each with what it must do: `./dev corpus DIR` builds them."""

import csv
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pytest

from tests.support.tools import corpus
from tools.corpus import NoPins, libbpf_outcome, outcome, typed, types_of
from xdploaderd.errors import LoaderError
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.target import running_kernel
from xdploaderd.load.object import load
from xdploaderd.obj.open import open_object
from xdploaderd.obj.prepare import prepare, target_needs

pytestmark = pytest.mark.oracle
NOT_AS_A_WHOLE = ("fail", "partial")


def rows(*expected: str) -> list[tuple[Path, str]]:
    """Return (object, hook) of every row of one of the classes; the table must name at least one object of each."""
    table = csv.DictReader((corpus().parent / "expected.tsv").read_text().splitlines(), delimiter="\t")
    found = [(row["expected"], corpus() / row["object"], row["hook"]) for row in table]
    assert set(expected) <= {kind for kind, _, _ in found}
    return [(path, hook) for kind, path, hook in found if kind in expected]


def surprises(kind: str, *wanted: str) -> dict[str, Mapping[str, str]]:
    bpf = Bpf()
    found = {path.name: outcome(path, hook, bpf) for path, hook in rows(kind)}
    return {name: result.reasons for name, result in found.items() if result.kind not in wanted}


def test_full_objects_load_wholly() -> None:
    assert surprises("full", "full") == {}


def test_partial_objects_load_the_programs_that_libbpf_loads_one_by_one() -> None:
    bpf = Bpf()
    missing: dict[str, frozenset[str]] = {}
    for path, hook in rows("partial"):
        types = types_of(typed(open_object(path.read_bytes(), name=path.name), hook))
        theirs, ours = libbpf_outcome(path, types), outcome(path, hook, bpf)
        assert ours.loaded, ours.reasons
        if theirs.loaded - ours.loaded:
            missing[path.name] = theirs.loaded - ours.loaded
    assert missing == {}


def test_vacuous_objects_have_nothing_to_load() -> None:
    assert surprises("vacuous", "vacuous") == {}


def refusal(path: Path, hook: str, bpf: Bpf) -> str:
    """Return why the object is refused as a whole, empty when it is not."""
    try:
        load_whole(path, hook, bpf)
    except LoaderError as error:
        return str(error)
    return ""


def load_whole(path: Path, hook: str, bpf: Bpf) -> None:
    obj = typed(open_object(path.read_bytes(), name=path.name), hook)
    prepared = prepare(obj, running_kernel(bpf, target_needs(obj)))
    with load(prepared, bpf, NoPins(PurePosixPath("/"))) as loaded:
        assert not loaded.failed
        if not loaded.programs:
            raise LoaderError("no program is loaded of itself")


def test_objects_that_no_loader_takes_end_in_a_reason() -> None:
    bpf = Bpf()
    reasons = {path.name: refusal(path, hook, bpf) for path, hook in rows(*NOT_AS_A_WHOLE)}
    # The table was made with a loader that does not know exception callbacks.
    assert {name for name, reason in reasons.items() if not reason} <= {"exceptions.6.12.o"}
