"""The same legacy object through an iproute2 that still has its own loader, and through us: same pins, same tags."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import sandbox
from tests.support.tools import bpftool, legacy_tc

pytestmark = pytest.mark.oracle

OBJECTS = Path(__file__).parents[1] / "bpf"
# object, section that tc is told to take, name of the program we report for it
LEGACY = [
    ("legacy_pin0", "classifier", "cls_main"),
    ("legacy_pin2", "classifier", "cls_main"),
    ("legacy_pin2_btf", "classifier", "cls_main"),
    ("legacy_pin9", "classifier", "cls_main"),
    ("legacy_tail_pinned", "classifier", "tail_main"),
    ("legacy_mim", "classifier", "use_inner"),
    ("demo_tc_legacy", "ingress", "demo_ingress"),
]
MAP_FIELDS = ("type", "bytes_key", "bytes_value", "max_entries", "flags")


def run_json(*argv: str) -> Any:
    return json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)


@pytest.fixture
def device() -> Iterator[str]:
    subprocess.run(["ip", "link", "add", "orc0", "type", "veth", "peer", "name", "orc1"], check=True)
    subprocess.run(["tc", "qdisc", "add", "dev", "orc0", "clsact"], check=True)
    yield "orc0"
    subprocess.run(["ip", "link", "del", "orc0"], check=True)
    sandbox.clear_pins()


def maps_of(prog: Any) -> list[tuple[str, ...]]:
    shown = [run_json(str(bpftool()), "-j", "map", "show", "id", str(i)) for i in prog.get("map_ids", [])]
    return sorted(tuple(str(m.get(f)) for f in MAP_FIELDS) for m in shown)


def map_pins() -> dict[str, str]:
    """Return every pinned file with its mode and its directories' modes; directories without a pin do not count."""
    found = {}
    for path in map(Path, sandbox.pin_tree()):
        if path.is_symlink() or not path.is_file() or "ours" in path.parts or path.suffix == ".debug":
            continue
        parents = [f"{p.lstat().st_mode & 0o777:o}" for p in path.parents if p.is_relative_to(sandbox.BPFFS)]
        found[str(path)] = " ".join([f"{path.stat().st_mode & 0o777:o}", *parents[:-1]])
    return found


@pytest.mark.parametrize(("name", "section", "program"), LEGACY)
def test_iproute2_and_we_pin_and_load_the_same(name: str, section: str, program: str, device: str) -> None:
    path = str(OBJECTS / f"{name}.bpf.o")
    tc = str(legacy_tc())
    subprocess.run(
        [tc, "filter", "add", "dev", device, "ingress", "bpf", "da", "obj", path, "sec", section], check=True
    )
    pins = map_pins()
    filters = run_json("tc", "-j", "filter", "show", "dev", device, "ingress")
    theirs = run_json(str(bpftool()), "-j", "prog", "show", "id", str(filters[1]["options"]["prog"]["id"]))
    their_maps = maps_of(theirs)
    subprocess.run([tc, "filter", "del", "dev", device, "ingress"], check=True)
    sandbox.clear_pins()

    cli = [sys.executable, "-m", "xdploaderd.cli.main", "load", path, "/sys/fs/bpf/ours", "--type", "tc", "--json"]
    result = run_json(*cli)

    assert result["dialect"] == "legacy"
    assert map_pins() == pins
    mine = run_json(str(bpftool()), "-j", "prog", "show", "pinned", f"/sys/fs/bpf/ours/{program}")
    assert mine["tag"] == theirs["tag"]
    assert maps_of(mine) == their_maps
