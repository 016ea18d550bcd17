"""The same standard object through bpftool (libbpf) and through us: same program tags, same map attributes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from tests.support import sandbox
from tests.support.held_maps import held_maps
from tests.support.tools import bpftool
from xdploaderd.kernel.bpf import Bpf

pytestmark = pytest.mark.oracle

OBJECTS = Path(__file__).parents[1] / "bpf"
# Not std_externs: an unresolved weak kfunc is a call of 0 in this bpftool and a poisoned call since libbpf 1.8.
STANDARD = ["demo_xdp", "xdp_pass", "xdp_count", "xdp_count_v2", "std_maps", "std_globals", "std_calls"]
MMAPABLE = 0x400
MAP_FIELDS = ("type", "name", "bytes_key", "bytes_value", "max_entries", "flags", "frozen")


def run_json(*argv: str) -> Any:
    return json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)


def ours(*argv: str) -> Any:
    return run_json(sys.executable, "-m", "xdploaderd.cli.main", *argv, "--json")


@pytest.fixture
def clean_bpffs() -> Iterator[Path]:
    yield sandbox.BPFFS
    sandbox.clear_pins()


def programs_and_maps(prog_pins: list[str]) -> tuple[dict[str, str], list[tuple[Any, ...]]]:
    """Return the tags by program name, and every map those programs use as comparable rows."""
    bpf = Bpf()
    with ExitStack() as pinned:
        opened = [pinned.enter_context(bpf.obj_get(PurePosixPath(pin))) for pin in prog_pins]
        pinned.enter_context(held_maps(bpf.prog_info(fd).id for fd in opened))
        shown = [run_json(str(bpftool()), "-j", "prog", "show", "pinned", pin) for pin in prog_pins]
        ids = {i for p in shown for i in p.get("map_ids", [])}
        maps = [run_json(str(bpftool()), "-j", "map", "show", "id", str(i)) for i in sorted(ids)]
    tags = {p["name"]: p["tag"] for p in shown}
    for shown_map in maps:
        if shown_map["name"].endswith(".rodata"):  # since libbpf 1.1 only with a variable that is not static
            shown_map["flags"] &= ~MMAPABLE
    return tags, sorted(tuple(str(m.get(f)) for f in MAP_FIELDS) for m in maps)


@pytest.mark.parametrize("name", STANDARD)
def test_bpftool_and_we_load_the_same(name: str, clean_bpffs: Path) -> None:
    path = str(OBJECTS / f"{name}.bpf.o")
    theirs_dir = clean_bpffs / "theirs"
    subprocess.run([str(bpftool()), "prog", "loadall", path, str(theirs_dir)], check=True, capture_output=True)
    theirs = programs_and_maps([str(p) for p in sorted(theirs_dir.iterdir())])
    for pin in sandbox.pin_tree():  # so that our load makes its own maps instead of reusing theirs
        if Path(pin).parent == clean_bpffs and Path(pin).is_file() and not pin.endswith(".debug"):
            Path(pin).unlink()

    result = ours("load", path, str(clean_bpffs / "ours"))

    assert result["dialect"] == "standard"
    assert not result["failed"]
    mine = programs_and_maps([str(clean_bpffs / "ours" / p["name"]) for p in result["programs"]])
    assert mine == theirs
