"""The same object loaded by others' tools and by us: the same program tags, map attributes and pins."""

import json
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.loading import OBJECTS, load_file
from tests.support.tools import bpftool, legacy_tc
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.uapi.bpf import MapFlags, ProgType

pytestmark = pytest.mark.oracle
ROOT = Path("/sys/fs/bpf")
# Left out, as libbpf 1.1 differs: std_externs (a missing weak kfunc), tc_count (it knows no SEC("tc/ingress")).
STANDARD = ("demo_xdp", "std_calls", "std_globals", "std_maps", "xdp_count", "xdp_drop")
# legacy_pin1 is left out: iproute2 hashes by AF_ALG, which not every kernel has.
LEGACY = ("legacy_pin0", "legacy_pin2", "legacy_pin9", "legacy_tail_pinned")
KEYS = ("bytes_key", "bytes_value", "max_entries", "flags")
Attributes = dict[str, tuple[int, ...]]


def _clear_pins() -> None:
    for parent, dirs, files in os.walk(ROOT, topdown=False):
        for name in (name for name in files if not name.endswith(".debug")):
            (Path(parent) / name).unlink()
        for name in dirs:
            entry = Path(parent) / name
            entry.unlink() if entry.is_symlink() else entry.rmdir()


@pytest.fixture(autouse=True)
def _pins_removed() -> Iterator[None]:
    yield
    _clear_pins()


@pytest.fixture
def device() -> Iterator[str]:
    """Make an interface with clsact, for tc to attach to."""
    subprocess.run(["ip", "link", "add", "oracle0", "type", "veth", "peer", "oracle1"], check=True)
    subprocess.run(["tc", "qdisc", "add", "dev", "oracle0", "clsact"], check=True)
    yield "oracle0"
    subprocess.run(["ip", "link", "del", "oracle0"], check=True)


def _show(*argv: str) -> Any:
    done = subprocess.run([str(bpftool()), "-j", *argv], check=True, capture_output=True, text=True)
    return json.loads(done.stdout or "null")


def _attributes_of(shown: Iterable[Mapping[str, Any]]) -> Attributes:
    """Return the attributes of maps by the names the kernel knows them under."""
    return {entry["name"]: tuple(entry[key] for key in KEYS) for entry in shown}


def _without_mmapable(maps: Attributes, data_maps: frozenset[str]) -> Attributes:
    """Leave out the flag that data maps of static variables alone got from libbpf up to 1.1 and get no more."""
    return {n: (*a[:3], a[3] & ~MapFlags.MMAPABLE) if n in data_maps else a for n, a in maps.items()}


@pytest.mark.parametrize("name", STANDARD)
def test_tags_and_map_attributes_are_those_of_bpftool(name: str) -> None:
    progs = ROOT / "progs"
    _show("prog", "loadall", str(OBJECTS / f"{name}.bpf.o"), str(progs))
    shown = {pin.name: _show("prog", "show", "pinned", str(pin)) for pin in progs.iterdir()}
    map_ids = {number for entry in shown.values() for number in entry.get("map_ids", ())}
    theirs = _attributes_of(_show("map", "show", "id", str(number)) for number in map_ids)
    _clear_pins()
    bpf = Bpf()
    with load_file(name, bpf) as loaded:
        assert {prog: info.tag for prog, info in loaded.infos.items()} == {n: e["tag"] for n, e in shown.items()}
        used = {number for info in loaded.infos.values() for number in info.map_ids}
        ours = _attributes_of(_show("map", "show", "id", str(number)) for number in used)
        data_maps = frozenset(found.info.name for found in loaded.maps.values() if found.spec.section)
        assert _without_mmapable(ours, data_maps) == _without_mmapable(theirs, data_maps)


def _pinned_maps() -> Attributes:
    """Return type and sizes of every pinned map by its path, not counting what is reached through iproute2's links."""
    found = (Path(top) / name for top, _, files in os.walk(ROOT) for name in files if not name.endswith(".debug"))
    shown = {str(path.relative_to(ROOT)): _show("map", "show", "pinned", str(path)) for path in found}
    return {path: tuple(entry[key] for key in KEYS) for path, entry in shown.items()}


@pytest.mark.parametrize("name", LEGACY)
def test_tag_pins_and_map_attributes_are_those_of_iproute2(name: str, device: str) -> None:
    path = OBJECTS / f"{name}.bpf.o"
    add = [
        str(legacy_tc()),
        "filter",
        "add",
        "dev",
        device,
        "ingress",
        "bpf",
        "da",
        "obj",
        str(path),
        "sec",
        "classifier",
    ]
    subprocess.run(add, check=True, capture_output=True)
    (hook,) = (entry["tc"] for entry in _show("net", "show", "dev", device))
    tag = _show("prog", "show", "id", str(hook[0]["id"]))["tag"]
    theirs = _pinned_maps()
    subprocess.run(["tc", "filter", "del", "dev", device, "ingress"], check=True)
    _clear_pins()
    with load_file(name, Bpf(), types={"": ProgType.SCHED_CLS}) as loaded:
        (main,) = (n for n, p in loaded.prepared.programs.items() if p.spec.function.section == "classifier")
        assert loaded.infos[main].tag == tag
        assert _pinned_maps() == theirs
