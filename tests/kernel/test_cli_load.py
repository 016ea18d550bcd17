"""`xdploaderctl load`, `unload` and `map dump` on the real kernel, judged by bpftool."""

import ctypes
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from tests.support import sandbox
from tests.support.old_kernel import skip_if_told_lacking
from xdploaderd.cli import load as cli_load
from xdploaderd.cli.main import main
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.syscall import bpf_syscall, checked_before
from xdploaderd.load.tree import load_tree
from xdploaderd.uapi.bpf import BpfCmd

pytestmark = pytest.mark.kernel
Capture = pytest.CaptureFixture[str]
OBJECTS = Path(__file__).parents[1] / "bpf"
BPFFS = Path("/sys/fs/bpf")
DIR = BPFFS / "app"


@pytest.fixture(autouse=True)
def _empty_afterwards(_no_kernel_leak: None) -> Iterator[None]:
    before = set(os.listdir(BPFFS))
    yield
    for name in set(os.listdir(BPFFS)) - before:
        path = BPFFS / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture
def conf(tmp_path: Path) -> str:
    """Return an empty pinning.conf: the defaults, whatever this machine has."""
    path = tmp_path / "pinning.conf"
    path.write_text("")
    path.chmod(0o644)
    return str(path)


def _load(capsys: Capture, conf: str, name: str, *argv: str) -> tuple[int, Any, str]:
    status = main(["load", str(OBJECTS / name), str(DIR), "--json", "--pinning", conf, *argv])
    captured = capsys.readouterr()
    skip_if_told_lacking(status, captured.err)
    return status, json.loads(captured.out) if captured.out else None, captured.err


def _bpftool(*argv: str) -> Any:
    done = subprocess.run(["bpftool", "-j", *argv], capture_output=True, check=True)
    return json.loads(done.stdout) if done.stdout else None


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


def _tree() -> set[str]:
    return {name.removeprefix(f"{BPFFS}/") for name in sandbox.pin_tree()} - {"maps.debug", "progs.debug"}


def test_load_tells_exactly_what_it_made(capsys: Capture, conf: str) -> None:
    status, report, err = _load(capsys, conf, "xdp_count.bpf.o")
    assert (status, err) == (0, "")
    (prog,), (frames,) = report["programs"], report["maps"]
    known = _bpftool("prog", "show", "pinned", str(DIR / "xdp_count"))
    known_map = _bpftool("map", "show", "pinned", str(BPFFS / "xdp_frames"))
    assert report == {
        "object": "xdp_count",
        "dialect": "standard",
        "why": report["why"],
        "programs": [
            {
                "name": "xdp_count",
                "section": "xdp",
                "id": known["id"],
                "type": "xdp",
                "tag": known["tag"],
                "pins": [f"{DIR}/xdp_count"],
            }
        ],
        "maps": [
            {
                "name": "xdp_frames",
                "id": known_map["id"],
                "type": "array",
                "rule": "btf",
                "pins": [f"{BPFFS}/xdp_frames", f"{DIR}/maps/xdp_frames"],
                "reused": False,
            }
        ],
        "failed": [],
    }
    assert prog["id"] == known["id"]
    assert _bpftool("map", "show", "pinned", str(DIR / "maps" / "xdp_frames"))["id"] == frames["id"]


def test_unload_removes_only_the_directory_and_a_second_load_reuses_the_map(capsys: Capture, conf: str) -> None:
    _, first, _ = _load(capsys, conf, "xdp_count.bpf.o")
    assert main(["unload", str(DIR)]) == 0
    assert _tree() == {"xdp_frames"}
    capsys.readouterr()
    _, second, _ = _load(capsys, conf, "xdp_count.bpf.o")
    assert [(m["id"], m["reused"]) for m in second["maps"]] == [(first["maps"][0]["id"], True)]


def test_refused_program_leaves_nothing_and_tells_why(capsys: Capture, conf: str) -> None:
    status, report, err = _load(capsys, conf, "reject.bpf.o")
    assert (status, report, _tree()) == (71, None, set())
    error = json.loads(err)
    assert error["code"] == "VerifierRejected"
    assert "prog 'bad'" in error["message"]
    assert any("invalid access to packet" in line for line in error["log"])


@pytest.mark.parametrize("verbose", [False, True])
def test_refusal_of_the_verifier_is_told_with_source_and_registers(verbose: bool, capsys: Capture, conf: str) -> None:
    argv = ["load", str(OBJECTS / "reject.bpf.o"), str(DIR), "--pinning", conf, *(["--verbose"] if verbose else [])]
    assert main(argv) == 71
    first, *rest = capsys.readouterr().err.splitlines()
    assert "invalid access to packet" in first
    assert re.search(r"\(at reject\.bpf\.c:\d+: return \*\(__u8 \*\)", first)
    assert any("R1=pkt(r=0)" in line for line in rest)
    if verbose:
        assert f"the end of {len(rest)} lines of log)" in first


def test_refusal_of_the_verifier_counts_the_lines_of_its_log(capsys: Capture, conf: str) -> None:
    _, _, err = _load(capsys, conf, "reject.bpf.o")
    told = json.loads(err)
    assert f"the end of {len(told['log'])} lines of log)" in told["message"]


def test_partial_load_lists_what_failed_and_exits_with_three(capsys: Capture, conf: str) -> None:
    status, report, _ = _load(capsys, conf, "reject.bpf.o", "--partial")
    assert status == 3
    assert [prog["name"] for prog in report["programs"]] == ["good"]
    assert [(failure["name"], failure["code"]) for failure in report["failed"]] == [("bad", "VerifierRejected")]
    assert _tree() == {"app", "app/good", "app/maps", "app/maps/reject_count", "reject_count"}


def test_one_program_may_be_chosen(capsys: Capture, conf: str) -> None:
    status, report, _ = _load(capsys, conf, "reject.bpf.o", "--program", "good")
    assert (status, [prog["name"] for prog in report["programs"]]) == (0, ["good"])


@pytest.mark.parametrize(
    ("name", "argv", "status", "code"),
    [
        ("reject.bpf.o", ["--program", "godo"], 65, "NoSuchProgram"),
        ("reject.bpf.o", ["--type", "nosuch=xdp"], 65, "NoSuchProgram"),
        ("reject.bpf.o", ["--type", "xpd"], 64, "Usage"),
        ("std_untyped.bpf.o", [], 65, "InvalidObject"),
        ("big_endian.bpf.o", [], 65, "InvalidObject"),
        ("README.md", [], 65, "InvalidObject"),
        ("missing.o", [], 66, "FileUnreadable"),
        ("xdp_pass.bpf.o", ["--pinning", "/nonexistent"], 66, "FileUnreadable"),
    ],
)
def test_wrong_request_is_refused_and_leaves_nothing(
    name: str, argv: list[str], status: int, code: str, capsys: Capture, conf: str
) -> None:
    found, report, err = _load(capsys, conf, name, *argv)
    assert (found, report, _tree()) == (status, None, set())
    assert json.loads(err)["code"] == code


def test_type_may_be_given_for_a_section_that_does_not_say(capsys: Capture, conf: str) -> None:
    _, report, _ = _load(capsys, conf, "std_untyped.bpf.o", "--type", "untyped=tc")
    assert [prog["type"] for prog in report["programs"]] == ["sched_cls"]


def test_object_without_programs_loads_to_none(capsys: Capture, conf: str) -> None:
    status, report, _ = _load(capsys, conf, "maps_only.bpf.o")
    assert (status, report["programs"]) == (0, [])


def test_directory_that_is_not_empty_is_refused(capsys: Capture, conf: str) -> None:
    _load(capsys, conf, "xdp_pass.bpf.o")
    before = _tree()
    status, _, err = _load(capsys, conf, "xdp_count.bpf.o")
    assert (status, json.loads(err)["code"], _tree()) == (73, "PinFailed", before)


@pytest.mark.parametrize("directory", ["/sys/fs/bpf", "/tmp/app", "relative", "/sys/fs/bpf/a/../b"])
def test_directory_where_nothing_can_be_pinned_is_refused(directory: str, capsys: Capture, conf: str) -> None:
    assert main(["load", str(OBJECTS / "xdp_pass.bpf.o"), directory, "--pinning", conf]) == 73
    assert capsys.readouterr().err.count("\n") == 1
    assert not os.path.exists("/tmp/app")


def test_interrupt_while_pinning_leaves_nothing(capsys: Capture, conf: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load_tree

    def interrupted(*args: Any) -> Any:
        whole(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_load, "load_tree", interrupted)
    status, report, err = _load(capsys, conf, "xdp_count.bpf.o")
    assert (status, report, _tree()) == (130, None, set())
    assert err == "xdploaderctl: interrupted\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_signal_while_pinning_leaves_nothing(
    capsys: Capture, conf: str, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, nth: int
) -> None:
    pins = itertools.count(1)

    def door(cmd: BpfCmd, attr: ctypes.Structure) -> int:
        result = bpf_syscall(cmd, attr)
        if cmd is BpfCmd.OBJ_PIN and next(pins) == nth:
            os.kill(os.getpid(), number)
        return result

    monkeypatch.setattr(cli_load, "checked_before", lambda check: checked_before(check, door))
    old = signal.signal(number, signal.default_int_handler)
    try:
        status, report, err = _load(capsys, conf, "xdp_count.bpf.o")
    finally:
        signal.signal(number, old)
    assert (status, report, err, _tree()) == (130, None, "xdploaderctl: interrupted\n", set())


@pytest.mark.parametrize(("stdout", "status"), [("/dev/full", 70), ("broken pipe", 141)])
def test_load_that_cannot_be_told_is_taken_back(conf: str, stdout: str, status: int) -> None:
    if stdout == "/dev/full":
        out = os.open(stdout, os.O_WRONLY)
    else:
        reading, out = os.pipe()
        os.close(reading)
    argv = ["load", str(OBJECTS / "xdp_count.bpf.o"), str(DIR), "--pinning", conf]
    done = subprocess.run([sys.executable, "-m", "xdploaderd.cli.main", *argv], stdout=out, check=False)
    os.close(out)
    assert (done.returncode, _tree()) == (status, set())


def test_legacy_object_is_pinned_as_iproute2_pins_it(capsys: Capture, conf: str) -> None:
    status, report, _ = _load(capsys, conf, "legacy_pin2.bpf.o", "--type", "tc")
    assert (status, report["dialect"]) == (0, "legacy")
    assert report["maps"][0]["pins"] == [f"{BPFFS}/tc/globals/cnt", f"{DIR}/maps/cnt"]
    assert report["maps"][0]["rule"] == "bpf_elf_map"


def test_pinning_value_that_is_not_configured_is_a_warning(capsys: Capture, conf: str) -> None:
    argv = ["load", str(OBJECTS / "legacy_pin9.bpf.o"), str(DIR), "--type", "xdp", "--pinning", conf]
    assert main(argv) == 0
    assert "warning: map 'cnt': not pinned, no configuration says where pinning value 9 goes" in capsys.readouterr().err
    assert main(["unload", str(DIR)]) == 0
    Path(conf).write_text("9 nine\n")
    assert main(argv) == 0
    assert "warning" not in capsys.readouterr().err
    assert "nine/cnt" in _tree()


def test_map_dump_agrees_with_bpftool(capsys: Capture, conf: str) -> None:
    _load(capsys, conf, "std_maps.bpf.o")
    pin = DIR / "maps" / "flows"
    key = [*range(12)]
    value = [*range(100, 124)]
    words = ["key", *map(str, key), "value", *map(str, value)]
    subprocess.run(["bpftool", "map", "update", "pinned", str(pin), *words], check=True)
    (ours,), (theirs,) = _dump(capsys, pin), _bpftool("map", "dump", "pinned", str(pin))
    for part in ("key", "value"):
        assert _plain(ours[part]) == _plain(theirs["formatted"][part])


def test_map_dump_shows_each_cpu(capsys: Capture, conf: str) -> None:
    _load(capsys, conf, "std_maps.bpf.o")
    pin = DIR / "maps" / "per_cpu"
    words = ["key", "1", "0", "0", "0", "value", "7", *["0"] * 7]
    subprocess.run(["bpftool", "map", "update", "pinned", str(pin), *words], check=True)
    theirs = _bpftool("map", "dump", "pinned", str(pin))
    assert [entry["values"] for entry in _dump(capsys, pin)] == [entry["formatted"]["values"] for entry in theirs]


def test_map_without_btf_is_dumped_as_hex(capsys: Capture, conf: str) -> None:
    _load(capsys, conf, "legacy_pin2.bpf.o", "--type", "xdp")
    assert _dump(capsys, BPFFS / "tc" / "globals" / "cnt")[0]["key"] == "00 00 00 00"


def test_map_dump_text_tells_shape_entries_and_count(capsys: Capture, conf: str) -> None:
    _, report, _ = _load(capsys, conf, "xdp_count.bpf.o")
    assert main(["map", "dump", str(BPFFS / "xdp_frames")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"map {report['maps'][0]['id']} 'xdp_frames', array: key 4 bytes, value 8 bytes, at most 1 entries",
        "0: 0",
        "1 entry",
    ]


def test_map_that_never_ends_is_dumped_once(capsys: Capture, conf: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _load(capsys, conf, "std_maps.bpf.o")
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
    _load(capsys, conf, "std_maps.bpf.o")
    assert main(["map", "dump", pin]) == status
    captured = capsys.readouterr()
    assert (captured.out, captured.err.split(": ")[1]) == ("", code)


def test_variables_and_sizes_given_by_name_are_in_the_kernel(capsys: Capture, conf: str) -> None:
    argv = ["--global", "start=100", "--global", "banner=world", "--global", "custom=0x20"]
    status, report, err = _load(capsys, conf, "std_globals.bpf.o", *argv)
    assert (status, err) == (0, "")
    shown: dict[str, Any] = {}
    for found in report["maps"]:
        (entry,) = _bpftool("map", "dump", "pinned", found["pins"][-1])
        (variables,) = entry["formatted"]["value"].values()
        for variable in variables:
            shown |= variable
    assert (shown["start"], shown["custom"], shown["limit"]) == (100, 32, 7)


def test_members_given_by_name_are_in_the_kernel(capsys: Capture, conf: str) -> None:
    values = ("conf.limit=9", "conf.ports[1].high=7", "conf.level=0", "conf.name=x")
    argv = [word for value in values for word in ("--global", value)]
    status, _, err = _load(capsys, conf, "std_conf.bpf.o", *argv)
    assert (status, err) == (0, "")
    with Bpf().obj_get(PurePosixPath(DIR) / "settings") as settings:
        assert Bpf().prog_run(settings, bytes(64)).retval == 9234700


def test_size_given_by_name_is_in_the_kernel(capsys: Capture, conf: str) -> None:
    _, report, _ = _load(capsys, conf, "std_maps.bpf.o", "--max-entries", "flows=2048")
    (pin,) = [found["pins"][-1] for found in report["maps"] if found["name"] == "flows"]
    assert _bpftool("map", "show", "pinned", pin)["max_entries"] == 2048


def test_map_is_shared_by_objects_under_a_name_of_its_own(capsys: Capture, conf: str) -> None:
    _, first, _ = _load(capsys, conf, "xdp_count.bpf.o", "--share", "xdp_frames=all/hits")
    main(["unload", str(DIR)])
    capsys.readouterr()
    _, second, _ = _load(capsys, conf, "xdp_count_v2.bpf.o", "--share", f"xdp_frames={BPFFS}/all/hits")
    (made,), (used,) = first["maps"], second["maps"]
    assert (made["reused"], used["reused"]) == (False, True)
    assert made["id"] == used["id"]
    assert str(BPFFS / "all" / "hits") in used["pins"]


def test_shared_map_that_differs_is_refused_by_its_fields(capsys: Capture, conf: str) -> None:
    _load(capsys, conf, "xdp_count.bpf.o", "--share", "xdp_frames=hits")
    main(["unload", str(DIR)])
    capsys.readouterr()
    share = ("--share", "xdp_frames=hits", "--max-entries", "xdp_frames=7")
    status, report, err = _load(capsys, conf, "xdp_count.bpf.o", *share)
    assert (status, report) == (73, None)
    assert json.loads(err)["differences"] == ["max entries: wanted 7, found 1"]


@pytest.mark.parametrize("pin", ["../hits", "/tmp/hits", "a.b", "n" * 256])
def test_map_is_shared_below_the_root_of_pins_only(pin: str, capsys: Capture, conf: str) -> None:
    status, report, err = _load(capsys, conf, "xdp_count.bpf.o", "--share", f"xdp_frames={pin}")
    assert (status, report, _tree()) == (73, None, set())
    assert json.loads(err)["code"] == "PinFailed"


def test_map_left_out_stops_only_programs_that_use_it(capsys: Capture, conf: str) -> None:
    _, report, err = _load(capsys, conf, "reject.bpf.o", "--no-map", "reject_count")
    assert (report, _tree()) == (None, set())
    assert "can be reached, but map 'reject_count' is left out" in json.loads(err)["message"]


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["--global", "strat=1"], "OverrideRefused"),
        (["--global", "start=x"], "OverrideRefused"),
        (["--global", "start"], "Usage"),
        (["--global", "start=1", "--global", "start=2"], "Usage"),
        (["--max-entries", "start=x"], "Usage"),
        (["--max-entries", "start=1"], "OverrideRefused"),
        (["--no-map", "start"], "OverrideRefused"),
    ],
)
def test_value_that_the_object_cannot_take_is_refused(argv: list[str], code: str, capsys: Capture, conf: str) -> None:
    status, report, err = _load(capsys, conf, "std_globals.bpf.o", *argv)
    assert (status, report, _tree()) == (64, None, set())
    assert json.loads(err)["code"] == code
