"""`xdploaderctl map dump` on the real kernel, judged by bpftool."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.loaded import BPFFS, DIR, Capture, load_cli
from tests.support.tools import bpftool_json
from xdploaderd.cli.main import main
from xdploaderd.kernel.bpf import Bpf

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("pins_go")]


def _dump(capsys: Capture, pin: Path) -> Any:
    assert main(["map", "dump", str(pin), "--json"]) == 0
    return json.loads(capsys.readouterr().out)["entries"]


def _plain(shown: dict[str, Any]) -> dict[str, Any]:
    """Undo what differs: bpftool 7.1 shows bit fields in hex, and text without a final NUL as numbers."""

    def plain(value: Any) -> Any:
        if isinstance(value, str):
            return int(value, 16) if value.startswith("0x") else list(value.encode())
        return value

    return {name: plain(value) for name, value in shown.items()}


def test_map_dump_agrees_with_bpftool(capsys: Capture, conf: str) -> None:
    load_cli(capsys, conf, "std_maps.bpf.o")
    pin = DIR / "maps" / "flows"
    key = [*range(12)]
    value = [*range(100, 124)]
    words = ["key", *map(str, key), "value", *map(str, value)]
    subprocess.run(["bpftool", "map", "update", "pinned", str(pin), *words], check=True)
    (ours,), (theirs,) = _dump(capsys, pin), bpftool_json("map", "dump", "pinned", str(pin))
    for part in ("key", "value"):
        assert _plain(ours[part]) == _plain(theirs["formatted"][part])


def test_map_dump_shows_each_cpu(capsys: Capture, conf: str) -> None:
    load_cli(capsys, conf, "std_maps.bpf.o")
    pin = DIR / "maps" / "per_cpu"
    words = ["key", "1", "0", "0", "0", "value", "7", *["0"] * 7]
    subprocess.run(["bpftool", "map", "update", "pinned", str(pin), *words], check=True)
    theirs = bpftool_json("map", "dump", "pinned", str(pin))
    assert [entry["values"] for entry in _dump(capsys, pin)] == [entry["formatted"]["values"] for entry in theirs]


def test_map_without_btf_is_dumped_as_hex(capsys: Capture, conf: str) -> None:
    load_cli(capsys, conf, "legacy_pin2.bpf.o", "--type", "xdp")
    assert _dump(capsys, BPFFS / "tc" / "globals" / "cnt")[0]["key"] == "00 00 00 00"


def test_map_dump_text_tells_shape_entries_and_count(capsys: Capture, conf: str) -> None:
    _, report, _ = load_cli(capsys, conf, "xdp_count.bpf.o")
    assert main(["map", "dump", str(BPFFS / "xdp_frames")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"map {report['maps'][0]['id']} 'xdp_frames', array: key 4 bytes, value 8 bytes, at most 1 entries",
        "0: 0",
        "1 entry",
    ]


def test_map_that_never_ends_is_dumped_once(capsys: Capture, conf: str, monkeypatch: pytest.MonkeyPatch) -> None:
    load_cli(capsys, conf, "std_maps.bpf.o")
    monkeypatch.setattr(Bpf, "map_next_key", lambda *_: b"\0\0\0\0")
    assert len(_dump(capsys, DIR / "maps" / "first")) == 1


@pytest.mark.parametrize(
    ("pin", "status", "code"),
    [
        ("/sys/fs/bpf/none", 73, "PinFailed"),
        ("/etc/passwd", 73, "PinFailed"),
        ("/sys/fs/bpf", 73, "PinFailed"),
        (f"{DIR}/use_maps", 73, "PinFailed"),
        (f"{DIR}/maps/events", 64, "Usage"),
        (f"{DIR}/maps/bloom", 64, "Usage"),
    ],
)
def test_what_cannot_be_dumped_is_told(pin: str, status: int, code: str, capsys: Capture, conf: str) -> None:
    load_cli(capsys, conf, "std_maps.bpf.o")
    assert main(["map", "dump", pin]) == status
    captured = capsys.readouterr()
    assert (captured.out, captured.err.split(": ")[1]) == ("", code)
