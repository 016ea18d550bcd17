"""`xdploaderctl load` and `unload` on the real kernel, judged by bpftool."""

import ctypes
import itertools
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.builders.elf import object_of, program
from tests.kernel.loaded import BPFFS, DIR, OBJECTS, Capture, load_cli, pinned_tree
from tests.support.old_kernel import older_than
from tests.support.tools import bpftool_json
from xdploaderd.cli import load as cli_load
from xdploaderd.cli.main import main
from xdploaderd.kernel.syscall import bpf_syscall, checked_before
from xdploaderd.load.tree import load_tree
from xdploaderd.uapi.bpf import BpfCmd

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("pins_go")]


def test_load_tells_exactly_what_it_made(capsys: Capture, conf: str) -> None:
    status, report, err = load_cli(capsys, conf, "xdp_count.bpf.o")
    assert (status, err) == (0, "")
    (prog,), (frames,) = report["programs"], report["maps"]
    known = bpftool_json("prog", "show", "pinned", str(DIR / "xdp_count"))
    known_map = bpftool_json("map", "show", "pinned", str(BPFFS / "xdp_frames"))
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
    assert bpftool_json("map", "show", "pinned", str(DIR / "maps" / "xdp_frames"))["id"] == frames["id"]


def test_unload_removes_only_the_directory_and_a_second_load_reuses_the_map(capsys: Capture, conf: str) -> None:
    _, first, _ = load_cli(capsys, conf, "xdp_count.bpf.o")
    assert main(["unload", str(DIR)]) == 0
    assert pinned_tree() == {"xdp_frames"}
    capsys.readouterr()
    _, second, _ = load_cli(capsys, conf, "xdp_count.bpf.o")
    assert [(m["id"], m["reused"]) for m in second["maps"]] == [(first["maps"][0]["id"], True)]


def test_refused_program_leaves_nothing_and_tells_why(capsys: Capture, conf: str) -> None:
    status, report, err = load_cli(capsys, conf, "reject.bpf.o")
    assert (status, report, pinned_tree()) == (71, None, set())
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
    place = "" if older_than("6.9") else r"reject\.bpf\.c:\d+: "  # older verifiers quote the line and name no file
    assert re.search(rf"\(at {place}return \*\(__u8 \*\)", first)
    # Before 5.17 the registers after an instruction are not in a log of this level: the refusal itself has the one.
    told, state = ([first], r"R1\(id=0,off=0,r=0\)") if older_than("5.17") else (rest, r"R1(_w)?=pkt\((off=0,)?r=0[,)]")
    assert any(re.search(state, line) for line in told)
    if verbose:
        assert f"the end of {len(rest)} lines of log)" in first


def test_refusal_of_the_verifier_counts_the_lines_of_its_log(capsys: Capture, conf: str) -> None:
    _, _, err = load_cli(capsys, conf, "reject.bpf.o")
    told = json.loads(err)
    assert f"the end of {len(told['log'])} lines of log)" in told["message"]


def test_partial_load_lists_what_failed_and_exits_with_three(capsys: Capture, conf: str) -> None:
    status, report, _ = load_cli(capsys, conf, "reject.bpf.o", "--partial")
    assert status == 3
    assert [prog["name"] for prog in report["programs"]] == ["good"]
    assert [(failure["name"], failure["code"]) for failure in report["failed"]] == [("bad", "VerifierRejected")]
    assert pinned_tree() == {"app", "app/good", "app/maps", "app/maps/reject_count", "reject_count"}


def test_one_program_may_be_chosen(capsys: Capture, conf: str) -> None:
    status, report, _ = load_cli(capsys, conf, "reject.bpf.o", "--program", "good")
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
    found, report, err = load_cli(capsys, conf, name, *argv)
    assert (found, report, pinned_tree()) == (status, None, set())
    assert json.loads(err)["code"] == code


def test_type_may_be_given_for_a_section_that_does_not_say(capsys: Capture, conf: str) -> None:
    _, report, _ = load_cli(capsys, conf, "std_untyped.bpf.o", "--type", "untyped=tc")
    assert [prog["type"] for prog in report["programs"]] == ["sched_cls"]


def test_object_without_programs_loads_to_none(capsys: Capture, conf: str) -> None:
    status, report, _ = load_cli(capsys, conf, "maps_only.bpf.o")
    assert (status, report["programs"]) == (0, [])


@pytest.mark.parametrize(
    ("section", "why"),
    [
        ("?xdp", "'p' is loaded on demand: name it by --program"),
        (".text", "'p' without a section can only be called, want SEC(\"xdp\") or the like before a program"),
    ],
)
def test_object_of_which_nothing_is_loaded_tells_why(
    section: str, why: str, capsys: Capture, conf: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.o"
    path.write_bytes(object_of(program("p", section)).build())
    assert main(["load", str(path), str(DIR), "--pinning", conf]) == 0
    assert f"no program was loaded: {why}" in capsys.readouterr().out


def test_directory_that_is_not_empty_is_refused(capsys: Capture, conf: str) -> None:
    load_cli(capsys, conf, "xdp_pass.bpf.o")
    before = pinned_tree()
    status, _, err = load_cli(capsys, conf, "xdp_count.bpf.o")
    assert (status, json.loads(err)["code"], pinned_tree()) == (73, "PinFailed", before)


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
    status, report, err = load_cli(capsys, conf, "xdp_count.bpf.o")
    assert (status, report, pinned_tree()) == (130, None, set())
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
        status, report, err = load_cli(capsys, conf, "xdp_count.bpf.o")
    finally:
        signal.signal(number, old)
    assert (status, report, err, pinned_tree()) == (130, None, "xdploaderctl: interrupted\n", set())


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
    assert (done.returncode, pinned_tree()) == (status, set())


def test_legacy_object_is_pinned_as_iproute2_pins_it(capsys: Capture, conf: str) -> None:
    status, report, _ = load_cli(capsys, conf, "legacy_pin2.bpf.o", "--type", "tc")
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
    assert "nine/cnt" in pinned_tree()
