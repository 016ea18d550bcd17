"""One object through an iproute2 that still has its own loader, and through us: what either leaves in the kernel.

The kernel's side of both outcomes is read by bpftool. The caller is in the sandbox, and clears its pins.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import sandbox
from tests.support.held_maps import held_maps
from tests.support.tools import bpftool, legacy_ip, legacy_tc
from xdploaderd.errors import LoaderError
from xdploaderd.hooks import Hook
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.target import running_kernel
from xdploaderd.load.object import LoadedObject, load
from xdploaderd.load.pinning_files import read_pinning
from xdploaderd.load.pins import PinPaths
from xdploaderd.obj.open import open_object
from xdploaderd.obj.prepare import prepare, target_needs
from xdploaderd.obj.select import find_program, select_programs

DEVICE = "orc0"
MAP_FIELDS = ("type", "flags", "bytes_key", "bytes_value", "max_entries")
Attributes = tuple[object, ...]


@dataclass(frozen=True)
class Pin:
    """One pinned map: modes of the file and its directories, attributes, and what its slots lead to."""

    modes: tuple[str, ...]
    attributes: Attributes
    slots: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What a loader did with an object; `why` tells a refusal and is not compared."""

    accepted: bool
    tag: str = ""
    maps: tuple[Attributes, ...] = ()
    pins: Mapping[str, Pin] = field(default_factory=dict)
    why: str = field(default="", compare=False)


def show(*argv: str) -> Any:
    """Return what bpftool says, as JSON."""
    return json.loads(subprocess.run([bpftool(), "-j", *argv], check=True, capture_output=True, text=True).stdout)


@contextmanager
def device() -> Iterator[str]:
    """Make a veth pair with clsact."""
    subprocess.run(["ip", "link", "add", DEVICE, "type", "veth", "peer", "name", "orc1"], check=True)
    try:
        subprocess.run(["tc", "qdisc", "add", "dev", DEVICE, "clsact"], check=True)
        yield DEVICE
    finally:
        subprocess.run(["ip", "link", "del", DEVICE], check=True)


def run_iproute2(path: Path, hook: Hook, section: str) -> subprocess.CompletedProcess[str]:
    """Attach a section to the device as a script would."""
    if hook is Hook.XDP:
        argv: list[str | Path] = [legacy_ip(), "-force", "link", "set", "dev", DEVICE, "xdp"]
    else:
        argv = [legacy_tc(), "filter", "replace", "dev", DEVICE, "ingress", "prio", "1", "handle", "1", "bpf", "da"]
    return subprocess.run([*argv, "obj", path, "sec", section], capture_output=True, text=True, check=False)


def attached_id(hook: Hook) -> int:
    """Return the id of the device's program."""
    if hook is Hook.XDP:
        shown = subprocess.run(["ip", "-j", "link", "show", "dev", DEVICE], check=True, capture_output=True, text=True)
        return int(json.loads(shown.stdout)[0]["xdp"]["prog"]["id"])
    argv = ["tc", "-j", "filter", "show", "dev", DEVICE, "ingress"]
    shown = subprocess.run(argv, check=True, capture_output=True, text=True)
    return int(json.loads(shown.stdout)[1]["options"]["prog"]["id"])


def by_iproute2(path: Path, hook: Hook, section: str) -> Outcome:
    """Return what iproute2's own loader makes of the object; its pins stay."""
    done = run_iproute2(path, hook, section)
    if done.returncode:
        return Outcome(accepted=False, why=done.stderr)
    return _observed(attached_id(hook))


@contextmanager
def ours_loaded(path: Path, hook: Hook, section: str, pins: PinPaths | None = None) -> Iterator[LoadedObject]:
    """Load the same section as the front does, without attaching it."""
    bpf = Bpf()
    obj = select_programs(open_object(path.read_bytes(), name=path.name), hook=hook, names=[section])
    prepared = prepare(obj, running_kernel(bpf, target_needs(obj)))
    with load(prepared, bpf, pins or read_pinning()) as loaded:
        yield loaded


def by_us(path: Path, hook: Hook, section: str) -> Outcome:
    """Return what we make of the object; its pins stay."""
    try:
        with ours_loaded(path, hook, section) as loaded:
            return _observed(loaded.infos[find_program(loaded.prepared.spec, section).name].id)
    except (LoaderError, OSError) as error:
        return Outcome(accepted=False, why=str(error))


def _observed(prog_id: int) -> Outcome:
    with held_maps([prog_id]):
        prog = show("prog", "show", "id", str(prog_id))
        maps = sorted((_attributes(show("map", "show", "id", str(i))) for i in prog.get("map_ids", [])), key=repr)
        return Outcome(accepted=True, tag=prog["tag"], maps=tuple(maps), pins=dict(_pins()))


def _attributes(shown: Mapping[str, Any]) -> Attributes:
    return tuple(shown.get(name) for name in MAP_FIELDS)


def _pins() -> Iterator[tuple[str, Pin]]:
    for path in map(Path, sorted(sandbox.pin_tree())):
        if path.is_symlink() or not path.is_file() or path.suffix == ".debug":
            continue
        shown = show("map", "show", "pinned", str(path))
        parents = (p for p in path.parents if p.is_relative_to(sandbox.BPFFS) and p != sandbox.BPFFS)
        modes = tuple(f"{p.stat().st_mode & 0o7777:o}" for p in (path, *parents))
        yield str(path), Pin(modes, _attributes(shown), _slots(path, str(shown["type"])))


def _slots(path: Path, kind: str) -> Mapping[str, object]:
    if kind not in ("prog_array", "array_of_maps", "hash_of_maps"):
        return {}
    found: dict[str, object] = {}
    for entry in show("map", "dump", "pinned", str(path)):
        number = str(sum(int(byte, 16) << 8 * at for at, byte in enumerate(entry["value"])))
        leads_to = (
            show("prog", "show", "id", number)["tag"] if kind == "prog_array" else show("map", "show", "id", number)
        )
        found["".join(entry["key"])] = leads_to if isinstance(leads_to, str) else _attributes(leads_to)
    return found
