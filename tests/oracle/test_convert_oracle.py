"""What `convert` prints, compiled by clang: the maps of the new object are those of the legacy one."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import sandbox
from tests.support.tools import tool
from xdploaderd.cli.main import main
from xdploaderd.config.pinning import PinningConf
from xdploaderd.errors import LoaderError
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.target import running_kernel
from xdploaderd.load.object import LoadedObject, load
from xdploaderd.obj.open import open_object
from xdploaderd.obj.prepare import prepare, target_needs
from xdploaderd.obj.select import ALL_PROGRAMS, select_programs
from xdploaderd.obj.spec import LIBBPF_PIN_BY_NAME, Dialect, MapSpec, ObjectSpec
from xdploaderd.uapi.bpf import ProgType

pytestmark = pytest.mark.oracle

Capture = pytest.CaptureFixture[str]
OBJECTS = Path(__file__).parents[1] / "bpf"
REFUSED = {"legacy_badkey", "legacy_small_12"}
OBJECTS_TAKEN = sorted({p.name.removesuffix(".bpf.o") for p in OBJECTS.glob("legacy_*.bpf.o")} - REFUSED)
LOADED = ["legacy_nested", "legacy_calls", "legacy_goebpf", "legacy_endpoint", "legacy_tutorial", "legacy_devmap"]
PROTOTYPE = re.compile(r"^int (\w+)\((.*)\);$", re.MULTILINE)
MAP_FIELDS = ("type", "key_size", "value_size", "max_entries", "flags")


def opened(path: Path) -> ObjectSpec:
    obj = open_object(path.read_bytes(), name=path.name)
    return select_programs(obj, types={ALL_PROGRAMS: ProgType.XDP if is_xdp(path) else ProgType.SCHED_CLS})


def is_xdp(path: Path) -> bool:
    return any(word in path.name for word in ("goebpf", "tutorial", "devmap", "small", "static_first"))


def printed(path: Path, capsys: Capture) -> Any:
    kind = "xdp" if is_xdp(path) else "tc"
    assert main(["convert", str(path), "--json", "--type", kind]) == 0
    return json.loads(capsys.readouterr().out)


def compiled(text: str, tmp_path: Path) -> Path:
    """Compile the text with a program for each that it declares."""
    programs = (f'SEC("tc") int {name}({context}) {{ return 0; }}\n' for name, context in PROTOTYPE.findall(text))
    source, made = tmp_path / "new.bpf.c", tmp_path / "new.bpf.o"
    source.write_text(f'#include "bpf_defs.h"\n{text}\n{"".join(programs)}char _license[] SEC("license") = "GPL";\n')
    clang = [str(tool("clang-19")), "-O2", "-g", "-Wall", "-Wno-unused-variable", "-Werror", "-target", "bpf"]
    headers = [f"-I{OBJECTS}", "-idirafter", f"/usr/include/{multiarch()}"]
    subprocess.run([*clang, *headers, "-c", str(source), "-o", str(made)], check=True)
    return made


def multiarch() -> str:
    return subprocess.run(["gcc", "-print-multiarch"], check=True, capture_output=True, text=True).stdout.strip()


def shape(spec: MapSpec) -> tuple[object, ...]:
    inner = shape(spec.inner) if spec.inner else None
    return (*(int(getattr(spec, name)) for name in MAP_FIELDS), inner, dict(spec.slots))


@pytest.mark.parametrize("name", OBJECTS_TAKEN)
def test_printed_definitions_make_the_same_maps(name: str, tmp_path: Path, capsys: Capture) -> None:
    old = opened(OBJECTS / f"{name}.bpf.o")
    conversion = printed(OBJECTS / f"{name}.bpf.o", capsys)
    legacy = {spec.name: spec for spec in old.maps.values() if spec.is_legacy}
    if not legacy:
        assert conversion["text"] == ""
        return
    new = open_object(compiled(conversion["text"], tmp_path).read_bytes(), name="new.bpf.o")
    assert new.dialect is Dialect.STANDARD
    assert {name: shape(spec) for name, spec in new.maps.items()} == {name: shape(m) for name, m in legacy.items()}
    pinned = {row["name"]: row["pin"] for row in conversion["maps"]}
    assert {m.name: m.pinning == LIBBPF_PIN_BY_NAME for m in new.maps.values()} == {
        n: bool(p) for n, p in pinned.items()
    }


@pytest.fixture
def bpf() -> Iterator[Bpf]:
    yield Bpf()
    sandbox.clear_pins()


def loaded(obj: ObjectSpec, bpf: Bpf) -> LoadedObject:
    return load(prepare(obj, running_kernel(bpf, target_needs(obj))), bpf, PinningConf())


def infos(obj: ObjectSpec, bpf: Bpf) -> dict[str, tuple[object, ...]]:
    try:
        with loaded(obj, bpf) as found:
            return {name: tuple(getattr(m.info, f) for f in MAP_FIELDS) for name, m in found.maps.items()}
    except LoaderError as error:
        raise AssertionError(str(error)) from error


@pytest.mark.parametrize("name", LOADED)
def test_kernel_makes_the_same_maps_of_both(name: str, tmp_path: Path, capsys: Capture, bpf: Bpf) -> None:
    path = OBJECTS / f"{name}.bpf.o"
    new = compiled(printed(path, capsys)["text"], tmp_path)
    before = infos(opened(path), bpf)
    sandbox.clear_pins()
    assert infos(open_object(new.read_bytes(), name=new.name), bpf) == before
