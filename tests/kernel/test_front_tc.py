"""`xdploaderctl tc ...` without the daemon: packets, exit statuses and what is left, judged by `tc` and bpftool."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import sandbox
from tests.support.netns import Veth, tc, veth_pair
from tests.support.tools import bpftool_json
from xdploaderd.cli.main import main
from xdploaderd.front.ip_xdp import clean_up
from xdploaderd.kernel.bpf import Bpf

pytestmark = pytest.mark.kernel
Capture = pytest.CaptureFixture[str]
OBJECTS = Path(__file__).parents[1] / "bpf"
BPFFS = Path("/sys/fs/bpf")
GLOBALS = BPFFS / "tc/globals"
SECONDS = 5.0
COUNT, LEGACY = str(OBJECTS / "tc_count.bpf.o"), str(OBJECTS / "legacy_pin2.bpf.o")
TAIL, GRAFT = str(OBJECTS / "legacy_tail.bpf.o"), str(OBJECTS / "legacy_graft.bpf.o")
ON_V0 = ("dev", "veth0", "ingress")


@pytest.fixture
def veth(_no_kernel_leak: None) -> Iterator[Veth]:
    with veth_pair() as pair:
        tc("qdisc", "add", "dev", "veth0", "clsact")
        yield pair
    wait(nothing_is_kept)
    sandbox.clear_pins()


def nothing_is_kept() -> bool:
    """Remove the program arrays of programs that are gone, and tell whether that was all of them."""
    clean_up(Bpf())
    return not (BPFFS / "xdploaderctl").exists()


def wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def run(*words: str) -> int:
    """Run our tc, without the daemon."""
    return main(["tc", "--direct", *words])


def filters(direction: str = "ingress") -> list[dict[str, Any]]:
    """Return the filters as tc shows them."""
    entries = json.loads(tc("-j", "filter", "show", "dev", "veth0", direction) or "[]")
    return [entry for entry in entries if "options" in entry]


def counted(pin: Path, index: int) -> int:
    """Return an element of a pinned array of u64."""
    entries = bpftool_json("map", "dump", "pinned", str(pin))
    return int.from_bytes(bytes(int(byte, 16) for byte in entries[index]["value"]), "little")


def test_packets_of_both_directions_are_counted(veth: Veth) -> None:
    assert run("filter", "add", *ON_V0, "bpf", "da", "obj", COUNT, "sec", "tc/ingress") == 0
    assert run("filter", "add", "dev", "veth0", "egress", "bpf", "da", "obj", COUNT, "sec", "tc") == 0
    veth.send_in(4)
    veth.send_out(6)
    wait(lambda: (counted(GLOBALS / "tc_frames", 0), counted(GLOBALS / "tc_frames", 1)) == (4, 6))
    (shown,) = filters()
    assert (shown["pref"], shown["protocol"], shown["options"]["bpf_name"]) == (
        49152,
        "all",
        "tc_count.bpf.o:[tc/ingress]",
    )


def test_filter_without_handle_is_a_new_instance(veth: Veth) -> None:
    for verb in ("add", "add", "replace"):
        assert run("filter", verb, *ON_V0, "pref", "7", "bpf", "da", "obj", LEGACY, "sec", "classifier") == 0
    assert sorted(f["options"]["handle"] for f in filters()) == ["0x1", "0x2", "0x3"]


def test_replace_by_priority_and_handle_changes_the_program_alone(veth: Veth) -> None:
    place = (*ON_V0, "pref", "7", "handle", "1", "bpf", "da")
    assert run("filter", "add", *place, "obj", LEGACY) == 0
    before = filters()[0]["options"]["prog"]["id"]
    assert run("filter", "replace", *place, "obj", COUNT, "sec", "tc") == 0
    (shown,) = filters()
    assert shown["options"]["prog"]["name"] == "count_out"
    assert shown["options"]["prog"]["id"] != before
    assert run("filter", "change", *place, "obj", LEGACY) == 0
    assert filters()[0]["options"]["prog"]["name"] == "cls_main"


def test_taken_place_is_refused_with_2_and_no_pin_is_left(veth: Veth, capsys: Capture) -> None:
    assert run("filter", "add", *ON_V0, "pref", "7", "handle", "1", "bpf", "da", "obj", LEGACY) == 0
    before = sandbox.pin_tree()
    assert run("filter", "add", *ON_V0, "pref", "7", "handle", "1", "bpf", "da", "obj", COUNT, "sec", "tc") == 2
    assert "already exists" in capsys.readouterr().err
    assert run("filter", "add", *ON_V0, "pref", "7", "protocol", "ip", "bpf", "da", "obj", COUNT, "sec", "tc") == 2
    assert sandbox.pin_tree() == before
    assert [f["options"]["prog"]["name"] for f in filters()] == ["cls_main"]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("dev", "veth0", "bpf", "da", "obj", LEGACY), 2),
        (("dev", "nosuch0", "ingress", "bpf", "da", "obj", LEGACY), 1),
        ((*ON_V0, "bpf", "da", "obj", "/nonexistent.o"), 1),
        ((*ON_V0, "bpf", "da", "obj", LEGACY, "sec", "nosuch"), 1),
        ((*ON_V0, "bpf", "da", "obj", str(OBJECTS / "reject.bpf.o"), "program", "bad"), 1),
        ((*ON_V0, "bpf", "da", "obj", LEGACY, "export", "/nonexistent"), 1),
        ((*ON_V0, "bpf", "da"), 2),
        ((*ON_V0, "bpf", "bytecode", "2,6 0 0 1,"), 1),
        ((*ON_V0, "pref", "70000", "bpf", "da", "obj", LEGACY), 255),
        ((*ON_V0, "bpf", "da", "pinned", "/sys/fs/bpf/nosuch"), 1),
    ],
    ids=lambda value: "_".join(Path(word).name for word in value) if isinstance(value, tuple) else str(value),
)
def test_refusal_has_tcs_status_and_leaves_nothing(veth: Veth, words: tuple[str, ...], status: int) -> None:
    before = sandbox.pin_tree()
    assert run("filter", "add", *words) == status
    assert sandbox.pin_tree() == before
    assert not filters()


def test_bytecode_decides_about_packets(veth: Veth) -> None:
    text = "2,40 0 0 12,6 0 0 4294967295"
    assert run("filter", "add", *ON_V0, "protocol", "0x88b5", "bpf", "bytecode", text, "classid", "1:2") == 0
    shown = tc("filter", "show", "dev", "veth0", "ingress").splitlines()
    assert (
        shown[1] == f"filter protocol [34997] pref 49152 bpf chain 0 handle 0x1 flowid 1:2 not_in_hw bytecode '{text}'"
    )


def test_bytecode_of_a_file_is_what_tcpdump_prints(veth: Veth, tmp_path: Path) -> None:
    (tmp_path / "arp").write_text("4\n40 0 0 12\n21 0 1 2054\n6 0 0 262144\n6 0 0 0\n")
    assert run("filter", "add", *ON_V0, "bpf", "bytecode-file", str(tmp_path / "arp")) == 0
    insns = filters()[0]["options"]["bytecode"]["insns"]
    assert [insn["code"] for insn in insns] == [40, 21, 6, 6]


def test_pinned_program_is_attached_and_named_as_such(veth: Veth) -> None:
    assert run("filter", "add", *ON_V0, "bpf", "da", "obj", GRAFT) == 0
    prog_id = str(filters()[0]["options"]["prog"]["id"])
    subprocess.run(["bpftool", "prog", "pin", "id", prog_id, str(BPFFS / "tc/entry")], check=True)
    assert run("filter", "add", "dev", "veth0", "egress", "bpf", "da", "pinned", "m:entry") == 0
    (shown,) = filters("egress")
    assert (shown["options"]["bpf_name"], str(shown["options"]["prog"]["id"])) == ("m:entry:[*fsobj]", prog_id)


def test_egress_of_the_ingress_qdisc_is_refused(veth: Veth, capsys: Capture) -> None:
    tc("qdisc", "del", "dev", "veth0", "clsact")
    tc("qdisc", "add", "dev", "veth0", "ingress")
    assert run("filter", "add", "dev", "veth0", "egress", "bpf", "da", "obj", LEGACY) == 2
    assert "'ingress', which knows no egress" in capsys.readouterr().err
    assert run("filter", "add", "dev", "veth0", "parent", "ffff:", "bpf", "da", "obj", LEGACY) == 0


def test_deleting_goes_by_place(veth: Veth) -> None:
    for pref in ("5", "6"):
        assert run("filter", "add", *ON_V0, "pref", pref, "bpf", "da", "obj", LEGACY) == 0
    assert run("filter", "del", *ON_V0, "pref", "7", "bpf") == 2
    assert run("filter", "del", *ON_V0, "pref", "5", "handle", "1", "bpf") == 0
    assert [f["pref"] for f in filters()] == [6]
    assert run("filter", "del", *ON_V0) == 0
    assert not filters()


def test_tail_calls_of_an_unpinned_array_stay_while_the_filter_is_there(veth: Veth) -> None:
    assert run("filter", "add", *ON_V0, "bpf", "da", "obj", TAIL) == 0
    veth.send_in(3)
    wait(lambda: counted(GLOBALS / "tail_hits", 1) >= 3)
    assert os.listdir(BPFFS / "xdploaderctl") == [str(filters()[0]["options"]["prog"]["id"])]


def test_grafted_program_is_called(veth: Veth) -> None:
    assert run("filter", "add", *ON_V0, "bpf", "da", "obj", GRAFT) == 0
    before = veth_dropped()
    assert run("exec", "bpf", "graft", "m:globals/jmp_tc", "key", "0", "obj", GRAFT, "sec", "aaa") == 0
    veth.send_in(3)
    wait(lambda: veth_dropped() >= before + 3)


def veth_dropped() -> int:
    """Return the packets that clsact dropped."""
    (shown,) = [q for q in json.loads(tc("-s", "-j", "qdisc", "show", "dev", "veth0")) if q["kind"] == "clsact"]
    return int(shown["drops"])


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("m:globals/jmp_tc", "key", "9", "obj", GRAFT, "sec", "aaa"), 255),
        (("m:globals/jmp_tc", "key", "x", "obj", GRAFT, "sec", "aaa"), 255),
        (("m:globals/jmp_tc", "obj", GRAFT, "sec", "aaa"), 234),
        (("m:globals/nosuch", "key", "0", "obj", GRAFT, "sec", "aaa"), 255),
        (("m:globals/cnt", "key", "0", "obj", GRAFT, "sec", "aaa"), 234),
        (("m:globals/jmp_tc", "key", "0", "obj", GRAFT, "sec", "nosuch"), 255),
    ],
    ids=lambda value: "_".join(Path(word).name for word in value) if isinstance(value, tuple) else str(value),
)
def test_graft_that_cannot_be_ends_as_tcs(veth: Veth, words: tuple[str, ...], status: int) -> None:
    assert run("filter", "add", *ON_V0, "bpf", "da", "obj", GRAFT) == 0
    assert run("filter", "add", *ON_V0, "bpf", "da", "obj", LEGACY) == 0
    assert run("exec", "bpf", "graft", *words) == status


def test_exported_maps_are_known_to_the_command_that_imports_them(veth: Veth, tmp_path: Path) -> None:
    path, report = tmp_path / "maps", tmp_path / "report"
    script = "echo $BPF_NUM_MAPS; for id in 0 2748; do eval fd=\\$BPF_MAP$id; readlink /proc/self/fd/$fd; done"
    ctl = [sys.executable, "-m", "xdploaderd.cli.main", "tc", "exec", "bpf", "import", str(path), "run"]
    with report.open("w") as out, subprocess.Popen([*ctl, "sh", "-c", script], stdout=out) as importer:
        wait(path.exists)
        assert run("filter", "add", *ON_V0, "bpf", "da", "obj", TAIL, "export", str(path)) == 0
        assert importer.wait(SECONDS) == 0
    assert report.read_text().split("\n") == ["2", "anon_inode:bpf-map", "anon_inode:bpf-map", ""]
    assert not path.exists()


def test_batch_stops_at_the_first_failure_unless_forced(veth: Veth, tmp_path: Path, capfd: Capture) -> None:
    obj = tmp_path / "old.o"
    shutil.copy(LEGACY, obj)
    lines = [
        "# two filters and a failure",
        f"filter add dev veth0 ingress pref 1 bpf da obj {obj}",
        "filter add dev veth0 ingress pref 2 bpf bytecode '1,6 0 0 1,6 0 0 1,'",
        "qdisc show dev veth0",
        f"filter add dev veth0 ingress pref 3 bpf da \\\n  obj {obj}",
    ]
    (tmp_path / "batch").write_text("\n".join(lines))
    assert run("-batch", str(tmp_path / "batch")) == 1
    assert "line 3" in capfd.readouterr().err
    assert [f["pref"] for f in filters()] == [1]
    assert run("filter", "del", *ON_V0) == 0
    assert run("-force", "-b", str(tmp_path / "batch")) == 1
    assert [f["pref"] for f in filters()] == [1, 3]
    assert "qdisc clsact ffff:" in capfd.readouterr().out


def test_clsact_comes_and_goes(veth: Veth) -> None:
    batch = "qdisc del dev veth0 clsact\nqdisc add dev veth0 clsact\nqdisc add dev veth0 clsact\n"
    assert subprocess.run(ctl("-b", "-"), input=batch, text=True, capture_output=True, check=False).returncode == 1
    assert "clsact" in tc("qdisc", "show", "dev", "veth0")


def ctl(*words: str) -> list[str]:
    """Return the command line of our tc."""
    return [sys.executable, "-m", "xdploaderd.cli.main", "tc", "--direct", *words]


@pytest.mark.parametrize("options", [(), ("-j",), ("-d",), ("-d", "-j"), ("-j", "-p"), ("-s",)])
def test_without_a_tc_filters_are_shown_as_tc_shows_them(
    veth: Veth, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    assert run("filter", "add", *ON_V0, "bpf", "da", "obj", COUNT, "sec", "tc", "classid", "1:1") == 0
    assert run("filter", "add", *ON_V0, "pref", "7", "proto", "arp", "bpf", "skip_hw", "bc", "2,6 0 0 1,6 0 0 0") == 0
    assert run("filter", "add", "dev", "veth0", "egress", "chain", "3", "bpf", "obj", LEGACY) == 0
    shows = [
        ("filter", "show", *place)
        for place in (
            ON_V0,
            ("dev", "veth0", "egress"),
            ("dev", "veth0", "parent", "ffff:fff2", "pref", "7"),
            (*ON_V0, "protocol", "arp"),
            ("dev", "veth0", "egress", "chain", "3"),
            ("dev", "veth0"),
            ("dev", "nosuch0", "ingress"),
            ("block", "7"),
        )
    ]
    shows += [("filter", "ls", *ON_V0), ("f", "l", *ON_V0), ("filter", "lst", "dev", "veth0", "egress")]
    shows += [("filter", "get", *ON_V0, "protocol", "arp", "pref", "7", "handle", "1", "bpf")]
    if "-s" not in options:
        shows += [("qdisc", "show", "dev", "veth0"), ("qdisc", "show", "dev", "veth0", "clsact")]
    for words in shows:
        real = subprocess.run(["tc", *options, *words], capture_output=True, text=True, check=False)
        with monkeypatch.context() as patch:
            patch.setattr("xdploaderd.front.dispatch.real_tool", lambda _tool: "")
            capfd.readouterr()
            assert main(["tc", *options, *words]) == real.returncode
        printed = capfd.readouterr().out
        if "-p" in options and real.stdout:
            assert json.loads(printed) == json.loads(real.stdout)
        else:
            assert printed == real.stdout
