"""Entries from files into real maps: `load --map-init`, `map load`, and the way of a dump there and back."""

import errno
import itertools
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.builders.prepared import Pins, map_spec, prepared
from tests.fakes.bpf import FailingDoor
from tests.support import sandbox
from tests.support.old_kernel import NEEDS_BLOOM_FILTER
from tests.support.tools import bpftool_json
from xdploaderd.cli.main import main
from xdploaderd.errors import ConfigError, LoaderError
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.facts import possible_cpus
from xdploaderd.kernel.map_batch import lookup_batches
from xdploaderd.kernel.syscall import bpf_syscall
from xdploaderd.load.map_entries import map_entries
from xdploaderd.load.maps import MapRules
from xdploaderd.load.object import load
from xdploaderd.load.restore import restore_entries
from xdploaderd.obj.map_document import Document, Entry
from xdploaderd.uapi.bpf import BpfCmd, MapFlags, MapType

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("pins_go")]
Capture = pytest.CaptureFixture[str]
OBJECT = str(Path(__file__).parents[1] / "bpf" / "std_maps.bpf.o")
DIR = Path("/sys/fs/bpf/app")
MANY = 10_000
FLOW = {"source": 1, "target": 2, "port": 53, "protocol": 17, "flags": 5, "state": 31}
TOTALS = {"packets": 7, "bytes": 1 << 63, "label": "dns"}


def _write(path: Path, value: object) -> str:
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return str(path)


def _run(capsys: Capture, *argv: str) -> tuple[int, Any]:
    status = main([*argv, "--json"])
    captured = capsys.readouterr()
    return status, json.loads(captured.out or captured.err)


def _dump(capsys: Capture, name: str) -> Any:
    status, found = _run(capsys, "map", "dump", str(DIR / "maps" / name))
    assert status == 0
    return found["entries"]


@NEEDS_BLOOM_FILTER
def test_new_maps_are_filled_and_dumps_are_read_back(capsys: Capture, conf: str, tmp_path: Path) -> None:
    flows = _write(tmp_path / "flows.json", [{"key": FLOW, "value": TOTALS}])
    counts = [{"cpu": cpu, "value": 100 + cpu} for cpu in possible_cpus()]
    per_cpu = _write(tmp_path / "cpu.json", {"entries": [{"key": 2, "values": counts}]})
    routes = _write(tmp_path / "routes.json", [{"key": "08 00 00 00 0a 00 00 00", "value": "01 02 03 04"}])
    inits = [f"--map-init={name}={file}" for name, file in (("flows", flows), ("per_cpu", per_cpu), ("routes", routes))]
    status, report = _run(capsys, "load", OBJECT, str(DIR), "--pinning", conf, *inits)
    assert status == 0, report
    assert _dump(capsys, "flows") == [{"key": FLOW, "value": TOTALS}]
    assert _dump(capsys, "per_cpu")[2] == {"key": 2, "values": counts}
    assert _dump(capsys, "routes") == [{"key": "08 00 00 00 0a 00 00 00", "value": "01 02 03 04"}]
    for name in ("flows", "per_cpu", "routes"):
        pin, before = DIR / "maps" / name, _dump(capsys, name)
        ours = _write(tmp_path / "ours.json", {"map": {}, "entries": before})
        theirs = _write(tmp_path / "theirs.json", bpftool_json("map", "dump", "pinned", str(pin)))
        for file in (ours, theirs):
            for entry in before if name != "per_cpu" else ():
                subprocess.run(["bpftool", "map", "delete", "pinned", pin, "key", *_bytes(entry["key"])], check=True)
            assert _run(capsys, "map", "load", str(pin), file)[1]["set"] == len(before)
            assert _dump(capsys, name) == before


def _bytes(key: Any) -> list[str]:
    if isinstance(key, str):
        return ["hex", *key.split()]
    return ["1", "0", "0", "0", "2", "0", "0", "0", "53", "0", "17", str(5 | 31 << 3)]


@NEEDS_BLOOM_FILTER
def test_bytes_between_members_are_in_the_dump_and_come_back(capsys: Capture, conf: str, tmp_path: Path) -> None:
    assert _run(capsys, "load", OBJECT, str(DIR), "--pinning", conf)[0] == 0
    pin = str(DIR / "maps" / "flows")
    label = "hex:" + "00" * 16 + "61 00 62 00 00 00 00 00"
    file = _write(tmp_path / "f.json", [{"key": FLOW, "value": label}])
    assert _run(capsys, "map", "load", pin, file)[0] == 0
    (entry,) = _dump(capsys, "flows")
    assert entry["value"]["label"] == [97, 0, 98, 0, 0, 0, 0, 0]
    assert _run(capsys, "map", "load", pin, _write(tmp_path / "f.json", [entry]), "--replace")[0] == 0
    assert _dump(capsys, "flows") == [entry]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("flows", [{"key": {"port": 70000}, "value": {}}], "entry 0: key: member 'port': 70000 does not fit into 16"),
        ("flow", [], "map 'flow' does not exist, did you mean 'flows'?"),
        ("events", [], "a map of type ringbuf takes no entries from a file"),
        ("devices", [{"key": 0, "value": 4_000_000}], "entry 0: cannot set a map element"),
    ],
)
def test_refused_entries_leave_nothing(
    capsys: Capture, conf: str, tmp_path: Path, name: str, value: object, said: str
) -> None:
    before, pins = sandbox.object_ids(), sandbox.pin_tree()
    file = _write(tmp_path / "f.json", value)
    status, error = _run(capsys, "load", OBJECT, str(DIR), "--pinning", conf, "--map-init", f"{name}={file}")
    assert status
    assert said in error["message"]
    assert sandbox.pin_tree() == pins
    assert not any(sandbox.wait_until_freed(before).values())


def test_missing_file_of_entries_is_named(capsys: Capture, conf: str) -> None:
    status, error = _run(capsys, "load", OBJECT, str(DIR), "--pinning", conf, "--map-init", "flows=/nowhere.json")
    assert (status, error["code"]) == (66, "FileUnreadable")
    assert "'/nowhere.json' cannot be read" in error["message"]


def _document(number: int, value: str = "01 00 00 00 00 00 00 00") -> Document:
    items = [{"key": key.to_bytes(4, "little").hex(), "value": value} for key in range(number)]
    return Document("many.json", json.dumps(items).encode())


@pytest.mark.parametrize("type_", [MapType.HASH, MapType.ARRAY, MapType.LRU_HASH, MapType.PERCPU_HASH])
@pytest.mark.parametrize("batches", [True, False])
def test_ten_thousand_entries_are_set_with_and_without_batches(type_: MapType, *, batches: bool) -> None:
    calls: list[BpfCmd] = []

    def door(cmd: BpfCmd, attr: Any) -> int:
        calls.append(cmd)
        if cmd is BpfCmd.MAP_UPDATE_BATCH and not batches:
            raise OSError(errno.EINVAL, "no such command")
        return bpf_syscall(cmd, attr)

    bpf = Bpf(door)
    spec = map_spec(type=type_, max_entries=2 * MANY if type_ == MapType.LRU_HASH else MANY)
    rules = MapRules(init={"stats": _document(MANY)})
    with load(prepared([], [spec]), bpf, Pins(), rules=rules) as loaded:
        fd, info = loaded.maps["stats"].fd, loaded.maps["stats"].info
        one = (1).to_bytes(8, "little")
        size = len(one) * (len(possible_cpus()) if type_ == MapType.PERCPU_HASH else 1)
        read = list(lookup_batches(Bpf(), fd, 4, size, 1000))
        assert sum(batch.length for batch in read) >= MANY
        assert bpf.map_lookup(fd, (MANY - 1).to_bytes(4, "little"), size) == one * (size // 8)
        assert info.max_entries >= MANY
    assert (BpfCmd.MAP_UPDATE_ELEM in calls) is not batches
    assert calls.count(BpfCmd.MAP_UPDATE_BATCH) == 3


def test_refused_entry_of_a_map_in_use_puts_back_what_was_there() -> None:
    bpf = Bpf()
    spec = map_spec(type=MapType.LPM_TRIE, key_size=5, max_entries=8, flags=MapFlags.NO_PREALLOC, value_size=4)
    with load(prepared([], [spec]), bpf, Pins()) as loaded:
        fd, info = loaded.maps["stats"].fd, loaded.maps["stats"].info
        bpf.map_update(fd, bytes(5), b"old0")
        before = list(map_entries(bpf, fd, info))
        entries = [Entry(bytes(5), b"new0"), Entry(bytes([33, 0, 0, 0, 0]), b"new1")]
        with pytest.raises(LoaderError, match="entry 1: cannot set a map element"):
            restore_entries(bpf, fd, info, entries, replace=False)
        assert list(map_entries(bpf, fd, info)) == before


def test_failure_at_any_call_of_a_restore_leaves_the_map_as_it_was() -> None:
    with load(prepared([], [map_spec(type=MapType.HASH, max_entries=4)]), Bpf(), Pins()) as loaded:
        fd, info = loaded.maps["stats"].fd, loaded.maps["stats"].info
        for key in (b"a___", b"b___"):
            Bpf().map_update(fd, key, b"12345678")
        before = {entry.key: entry.values for entry in map_entries(Bpf(), fd, info)}
        entries = [Entry(key, b"87654321") for key in (b"b___", b"c___", b"d___")]
        for nth in itertools.count(1):
            door = FailingDoor(bpf_syscall, nth, errno.ENOMEM)
            try:
                restore_entries(Bpf(door), fd, info, entries, replace=True)
            except LoaderError:
                assert {entry.key: entry.values for entry in map_entries(Bpf(), fd, info)} == before
            if not door.failed:
                break
            assert nth < 40
            restore_entries(Bpf(), fd, info, [Entry(k, v[0]) for k, v in before.items()], replace=True)
        assert {entry.key for entry in map_entries(Bpf(), fd, info)} == {b"b___", b"c___", b"d___"}


def test_restore_that_does_not_fit_is_refused_before_the_first_write() -> None:
    with load(prepared([], [map_spec(type=MapType.HASH, max_entries=2)]), Bpf(), Pins()) as loaded:
        fd, info = loaded.maps["stats"].fd, loaded.maps["stats"].info
        Bpf().map_update(fd, b"a___", b"12345678")
        entries = [Entry(key, b"87654321") for key in (b"b___", b"c___")]
        with pytest.raises(ConfigError, match="the map would have 3 entries, and has room for 2"):
            restore_entries(Bpf(), fd, info, entries, replace=False)
        restore_entries(Bpf(), fd, info, entries, replace=True)
        assert {entry.key for entry in map_entries(Bpf(), fd, info)} == {b"b___", b"c___"}
