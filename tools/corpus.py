"""Load a folder of objects and set the outcome beside libbpf's and bpftool's.

Each object is loaded whole or in part by xdploaderd, program by program by libbpf, and by `bpftool prog loadall`. The
outcome of an object is full (every program loads), partial (some do), fail (none does) or vacuous (there is none to
load). EXPECTED.tsv has the columns object, hook and expected; without it what libbpf does is expected. Programs whose
section says no type take it from the hook or their name: xdp or tc.

Without --partial an object is loaded whole or refused, as `xdploaderctl load` does; `full` and `vacuous` ones have to
be loaded, `fail` ones refused. What the two loaders take differs where one thing of an object is missing: libbpf then
refuses all of its programs, --partial only those that need it.

Needs root; works in namespaces of its own, and counts the kernel's BPF objects before and after. Exit status 1 when an
outcome is worse than expected or something is left. Objects that both load whole are compared by what they load.
"""

import argparse
import csv
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tests.support import libbpf, sandbox
from tools.apart import CrashedError, apart
from tools.differences import differences
from tools.ending import end_with
from xdploaderd.errors import LoaderError
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.target import running_kernel
from xdploaderd.load.object import load
from xdploaderd.obj.open import open_object
from xdploaderd.obj.prepare import prepare, target_needs
from xdploaderd.obj.select import select_programs
from xdploaderd.obj.spec import Dialect, ObjectSpec
from xdploaderd.uapi.bpf import ProgType

OUTCOMES = ("full", "partial", "fail", "vacuous")
WHOLE = ("full", "vacuous")
REASON_MAX = 300
LISTED_MAX = 3
_RANK = {"full": 2, "vacuous": 2, "partial": 1, "fail": 0}


@dataclass(frozen=True)
class NoPins:
    """Nothing is pinned, so that one object does not meet another's maps."""

    root: PurePosixPath

    def map_path(
        self, map_name: str, pinning: int, *, legacy: bool, object_sha1: str, work_dir: str
    ) -> PurePosixPath | None:
        """Return no path."""
        return None


@dataclass(frozen=True)
class Outcome:
    """What became of one object: programs that load, and why others, or the object (key ''), do not."""

    loaded: frozenset[str] = frozenset()
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """One of OUTCOMES."""
        if self.reasons:
            return "partial" if self.loaded else "fail"
        return "full" if self.loaded else "vacuous"


@dataclass(frozen=True)
class Row:
    """One object with what was expected and what each loader made of it."""

    path: Path
    expected: str
    ours: Outcome
    theirs: Outcome
    bpftool: int
    legacy: bool
    refusal: str = ""  # why the object is not loaded whole, as `xdploaderctl load` does without --partial; empty: it is
    differences: tuple[str, ...] | None = None  # None: not compared, since one of the two does not load it whole


def typed(obj: ObjectSpec, hook: str) -> ObjectSpec:
    """Return the object with a type for every program whose section says none: by the hook, else by its name."""
    types = {
        name: ProgType.XDP if "xdp" in hook or name.startswith("xdp") else ProgType.SCHED_CLS
        for name, program in obj.programs.items()
        if program.type is None
    }
    return select_programs(obj, types=types)


def types_of(obj: ObjectSpec) -> Mapping[str, int]:
    """Return the type of every program that has one."""
    return {name: int(program.type) for name, program in obj.programs.items() if program.type is not None}


def outcome(path: Path, hook: str, bpf: Bpf) -> Outcome:
    """Return what becomes of one object that may be loaded in part."""
    try:
        obj = typed(open_object(path.read_bytes(), name=path.name), hook)
        prepared = prepare(obj, running_kernel(bpf, target_needs(obj)), partial=True)
        with load(prepared, bpf, NoPins(PurePosixPath("/")), partial=True) as loaded:
            reasons = {name: str(error) for name, error in loaded.failed.items()}
            return Outcome(frozenset(loaded.programs), reasons)
    except LoaderError as error:
        return Outcome(reasons={"": str(error)})


def whole_refusal(path: Path, hook: str, bpf: Bpf) -> str:
    """Return why the object is refused when nothing may be left out; empty when it is loaded."""
    try:
        obj = typed(open_object(path.read_bytes(), name=path.name), hook)
        prepared = prepare(obj, running_kernel(bpf, target_needs(obj)), whole=True)
        with load(prepared, bpf, NoPins(PurePosixPath("/"))):
            return ""
    except LoaderError as error:
        return f"{error.code}: {error}"


def libbpf_outcome(path: Path, types: Mapping[str, int]) -> Outcome:
    """Return what libbpf makes of the object's programs, one after the other."""
    try:
        return apart(lambda: _one_by_one(path, types))
    except CrashedError as error:
        return Outcome(reasons={"": f"libbpf {error}"})
    finally:
        sandbox.clear_pins()


def _one_by_one(path: Path, types: Mapping[str, int]) -> Outcome:
    try:
        loads = libbpf.loads_one_by_one(path, types)
    except OSError as error:
        return Outcome(reasons={"": str(error)})
    return Outcome(
        frozenset(name for name, good in loads.items() if good),
        {name: "refused" for name, good in loads.items() if not good},
    )


def bpftool_status(path: Path, hook: str, *, untyped: bool) -> int:
    """Return the exit status of `bpftool prog loadall`."""
    kind = ["type", "xdp" if "xdp" in hook else "classifier"] if untyped else []
    command = ["bpftool", "prog", "loadall", str(path), str(sandbox.BPFFS / "corpus"), *kind]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode
    finally:
        sandbox.clear_pins()


def compare(path: Path, hook: str, expected: str, bpf: Bpf) -> Row:
    """Load one object in three ways."""
    types: Mapping[str, int] = {}
    untyped = legacy = False
    try:
        opened = open_object(path.read_bytes(), name=path.name)
        untyped = any(program.type is None for program in opened.programs.values())
        legacy = opened.dialect is Dialect.LEGACY
        types = types_of(typed(opened, hook))
    except LoaderError:
        pass  # outcome() tells why
    ours = outcome(path, hook, bpf)
    theirs = libbpf_outcome(path, types)
    status = bpftool_status(path, hook, untyped=untyped)
    refusal = whole_refusal(path, hook, bpf)
    whole = ours.kind == theirs.kind == "full" and not legacy
    found = whole_differences(path, hook, bpf) if whole else None
    return Row(path, expected or (ours.kind if legacy else theirs.kind), ours, theirs, status, legacy, refusal, found)


def whole_differences(path: Path, hook: str, bpf: Bpf) -> tuple[str, ...]:
    """Return what differs between the object as we and as libbpf load it whole, or that libbpf crashes on it."""
    try:
        return apart(lambda: tuple(loaded_differences(path, hook, bpf)))
    except CrashedError as error:
        return (f"{path.name}: libbpf {error}",)
    finally:
        sandbox.clear_pins()


def loaded_differences(path: Path, hook: str, bpf: Bpf) -> Iterator[str]:
    """Yield what differs between the object as we and as libbpf load it whole."""
    obj = typed(open_object(path.read_bytes(), name=path.name), hook)
    prepared = prepare(obj, running_kernel(bpf, target_needs(obj)))
    with load(prepared, bpf, NoPins(PurePosixPath("/"))) as loaded:
        yield from differences(path, loaded, libbpf.load(path, types=types_of(obj)))


def read_folder(directory: Path, table: Path | None, only: Sequence[str]) -> Iterator[tuple[Path, str, str]]:
    """Yield each object with its hook and what is expected of it, both '' where no table tells."""
    if table is None:
        rows = [(path, "", "") for path in sorted(directory.glob("*.o"))]
    else:
        known = csv.DictReader(table.read_text().splitlines(), delimiter="\t")
        rows = [(directory / row["object"], row["hook"], row["expected"]) for row in known]
    yield from (row for row in rows if not only or row[0].name in only)


def table_lines(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the pass table by class."""
    yield f"{'':<10}{'':>8}  {'xdploaderd':<32}  {'libbpf, program by program':<32}  bpftool"
    columns = "".join(f"{name:>8}" for name in OUTCOMES)
    yield f"{'expected':<10}{'objects':>8}  {columns}  {columns}  exit 0"
    for wanted in OUTCOMES:
        mine = [row for row in rows if row.expected == wanted]
        ours = Counter(row.ours.kind for row in mine)
        theirs = Counter(row.theirs.kind for row in mine)
        cells = ["".join(f"{count[name]:>8}" for name in OUTCOMES) for count in (ours, theirs)]
        yield f"{wanted:<10}{len(mine):>8}  {cells[0]}  {cells[1]}  {sum(row.bpftool == 0 for row in mine):>6}"
    yield "objects that are loaded whole, and refused, without --partial:"
    for wanted in OUTCOMES:
        mine = [row for row in rows if row.expected == wanted]
        refused = sum(bool(row.refusal) for row in mine)
        yield f"{wanted:<10}{len(mine):>8}  {len(mine) - refused:>8} loaded{refused:>8} refused"
    for what, loader in (("xdploaderd", [r.ours for r in rows]), ("libbpf", [r.theirs for r in rows])):
        yield f"programs that {what} loads: {sum(len(found.loaded) for found in loader)}"


def difference_lines(rows: Sequence[Row]) -> Iterator[str]:
    """Yield programs that one of the two loaders takes and the other does not; libbpf takes no legacy objects."""
    for row in rows:
        ours, theirs = row.ours.loaded - row.theirs.loaded, row.theirs.loaded - row.ours.loaded
        for names, loader in ((ours, "xdploaderd"), (theirs, "libbpf")):
            if names and not row.legacy:
                shown = sorted(names)[:LISTED_MAX]
                more = ", ..." if len(names) > len(shown) else ""
                why = f" ({row.refusal[:REASON_MAX]})" if loader == "xdploaderd" and row.refusal else ""
                yield f"{row.path.name}: {len(names)} programs loaded by {loader} alone: {', '.join(shown)}{more}{why}"


def same_lines(rows: Sequence[Row]) -> Iterator[str]:
    """Yield how many objects and programs were compared bit by bit with libbpf's, and each difference."""
    compared = [row for row in rows if row.differences is not None]
    found = [line for row in compared for line in row.differences or ()]
    programs = sum(len(row.ours.loaded) for row in compared)
    what = "instructions, tags, maps, contents and BTF"
    yield f"{len(compared)} objects with {programs} programs compared by {what} with libbpf: {len(found)} differences"
    yield from (f"differs: {line}" for line in found)


def reason_lines(rows: Sequence[Row]) -> Iterator[str]:
    """Yield why what is not loaded is not."""
    for row in rows:
        if row.refusal:
            yield f"{row.path.name}: whole: {row.refusal[:REASON_MAX]}"
        for name, reason in row.ours.reasons.items():
            yield f"{row.path.name}: {name or 'object'}: {reason[:REASON_MAX]}"


def surprises(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the objects whose outcome is worse than expected."""
    for row in rows:
        if (row.expected in WHOLE and row.refusal) or (row.expected == "fail" and not row.refusal):
            yield f"{row.path.name}: expected {row.expected}, without --partial: {row.refusal or 'loaded'}"
        if _RANK[row.ours.kind] < _RANK[row.expected]:
            yield f"{row.path.name}: expected {row.expected}, found {row.ours.kind}: {[*row.ours.reasons.values()][:1]}"


def _arguments() -> argparse.Namespace:
    """Return the arguments, with the `folder` that they choose; it has an object at least."""
    parser = argparse.ArgumentParser(
        prog="./dev corpus", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", metavar="DIR", type=Path)
    parser.add_argument("table", metavar="EXPECTED.tsv", type=Path, nargs="?")
    parser.add_argument("--only", action="append", default=[], metavar="OBJECT", help="this one; may be said again")
    parser.add_argument("--reasons", action="store_true", help="tell why programs are not loaded")
    args = parser.parse_args()
    args.folder = tuple(read_folder(args.directory.resolve(), args.table, args.only))
    found = {path.name for path, _, _ in args.folder}
    if not found or not found.issuperset(args.only):
        parser.error(f"no object {', '.join(sorted({*args.only} - found)) or '*.o'} in {args.directory}")
    return args


def main() -> int:
    """Load the objects and print the table, what differs and what is left in the kernel."""
    args = _arguments()
    with sandbox.kernel_lock():
        sandbox.enter_sandbox()
        before = sandbox.object_ids()
        bpf = Bpf()
        rows = [compare(path, hook, expected, bpf) for path, hook, expected in args.folder]
        left = sandbox.wait_until_freed(before)
    bad = list(surprises(rows))
    reasons = reason_lines(rows) if args.reasons else ()
    for line in (*table_lines(rows), *same_lines(rows), *difference_lines(rows), *reasons, *bad):
        print(line)
    counts = ", ".join(f"{len(ids)} {kind}" for kind, ids in before.items())
    gone = ", ".join(f"{len(ids)} {kind}" for kind, ids in left.items() if ids) or "nothing"
    print(f"kernel objects before: {counts}; left behind: {gone}")
    return int(bool(bad) or any(left.values()))


if __name__ == "__main__":
    end_with(main)
