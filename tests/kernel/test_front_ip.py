"""`xdploaderctl ip link set ... xdp` without the daemon: packets, exit statuses and what is left, judged by `ip`."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from tests.support import sandbox
from tests.support.daemon import wait_for
from tests.support.netns import Veth, ip, veth_pair
from tests.support.tools import bpftool_json
from xdploaderd.cli.main import main
from xdploaderd.front import bpf_root
from xdploaderd.front import load as front_load
from xdploaderd.front.bpfspec import BpfSpec, parse_bpf_spec
from xdploaderd.front.load import load_for_hook
from xdploaderd.front.words import Words
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.uapi.bpf import ProgType

pytestmark = pytest.mark.kernel
Capture = pytest.CaptureFixture[str]
OBJECTS = Path(__file__).parents[1] / "bpf"
BPFFS = Path("/sys/fs/bpf")
PASS, COUNT = str(OBJECTS / "xdp_pass.bpf.o"), str(OBJECTS / "xdp_count.bpf.o")
LEGACY, TAIL = str(OBJECTS / "legacy_pin2.bpf.o"), str(OBJECTS / "legacy_tail.bpf.o")


@pytest.fixture
def veth(_no_kernel_leak: None) -> Iterator[Veth]:
    with veth_pair() as pair:
        yield pair
    wait_for(
        lambda: not (BPFFS / "xdploaderctl").exists() or set_words("dev", "lo", "xdp", "off") is None,
        "nothing is kept for an interface",
    )
    sandbox.clear_pins()


def set_words(*words: str, force: bool = False) -> int | None:
    """Run our `ip link set` with these words; None for success, so that it reads as a condition."""
    options = ["-force"] if force else []
    return main(["ip", "--direct", *options, "link", "set", *words]) or None


def shown(name: str = "veth0") -> Any:
    """Return what `ip` shows of the interface."""
    return json.loads(ip("-j", "-d", "link", "show", "dev", name))[0]


def counted(pin: str, index: int) -> int:
    """Return an element of a pinned array of u64."""
    entries = bpftool_json("map", "dump", "pinned", pin)
    return int.from_bytes(bytes(int(byte, 16) for byte in entries[index]["value"]), "little")


@pytest.mark.parametrize(("word", "mode"), [("xdp", 1), ("xdpdrv", 1), ("xdpgeneric", 2)])
def test_program_sees_packets_until_it_is_taken_off(veth: Veth, word: str, mode: int) -> None:
    assert set_words("dev", "veth0", word, "obj", LEGACY) is None
    assert shown()["xdp"]["mode"] == mode
    veth.send_in(5)
    wait_for(lambda: counted("/sys/fs/bpf/tc/globals/cnt", 0) >= 5, "packets are counted")
    assert set_words("dev", "veth0", word, "off") is None
    assert "xdp" not in shown()


def test_second_program_needs_force(veth: Veth, capsys: Capture) -> None:
    assert set_words("veth0", "xdp", "obj", PASS) is None
    first = shown()["xdp"]["prog"]["id"]
    assert set_words("veth0", "xdp", "obj", COUNT) == 2
    assert "already attached" in capsys.readouterr().err
    assert shown()["xdp"]["prog"]["id"] == first
    assert set_words("veth0", "xdp", "obj", COUNT, force=True) is None
    assert shown()["xdp"]["prog"]["name"] == "xdp_count"


def test_generic_program_stays_when_native_is_taken_off(veth: Veth) -> None:
    assert set_words("veth0", "xdpgeneric", "obj", PASS) is None
    assert set_words("veth0", "xdp", "off") is None
    assert shown()["xdp"]["mode"] == 2
    assert set_words("veth0", "xdpdrv", "obj", PASS, force=True) == 2
    assert set_words("veth0", "xdpgeneric", "none") is None
    assert "xdp" not in shown()


def test_other_settings_go_along_in_any_order(veth: Veth) -> None:
    assert set_words("mtu", "1400", "xdpgeneric", "obj", PASS, "dev", "veth0", "alias", "edge") is None
    assert (shown()["mtu"], shown()["ifalias"], shown()["xdp"]["mode"]) == (1400, "edge", 2)
    assert not (BPFFS / "xdploaderctl").exists()
    assert set_words("veth0", "mtu", "1300", "xdpgeneric", "off") is None
    assert shown()["mtu"] == 1300
    assert "xdp" not in shown()


def test_renamed_interface_has_the_program(veth: Veth) -> None:
    assert set_words("veth0", "down") is None
    assert set_words("veth0", "name", "edge0", "xdp", "obj", PASS) is None
    assert shown("edge0")["xdp"]["prog"]["name"] == "xdp_pass"
    ip("link", "set", "edge0", "name", "veth0")


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("veth0", "xdp"), 255),
        (("veth0", "xdp", "off", "up"), 255),
        (("veth0", "xdp", "obj"), 255),
        (("veth0", "xdp", "bytecode", "1,6 0 0 1,"), 255),
        (("veth0", "xdp", "obj", PASS, "verbose", "section", "xdp"), 255),
        (("veth0", "xdp", "obj", PASS, "veth1"), 255),
        (("veth0", "xdp", "obj", "/nonexistent.o"), 255),
        (("veth0", "xdp", "obj", PASS, "sec", "nosuch"), 255),
        (("veth0", "xdp", "obj", str(OBJECTS / "reject.bpf.o"), "program", "bad"), 255),
        (("veth0", "xdp", "pinned", "/sys/fs/bpf/nosuch"), 255),
        (("xdp", "obj", PASS), 255),
        (("nosuch0", "xdp", "obj", LEGACY), 1),
        (("\udcff", "xdp", "obj", PASS), 1),
        (("veth0", "mtu", "17", "xdpgeneric", "obj", LEGACY), 2),
    ],
    ids=lambda value: "_".join(Path(word).name for word in value) if isinstance(value, tuple) else str(value),
)
def test_refusal_has_iproute2s_status_and_leaves_nothing(veth: Veth, words: tuple[str, ...], status: int) -> None:
    before = sandbox.pin_tree()
    assert set_words(*words) == status
    assert sandbox.pin_tree() == before
    assert "xdp" not in shown()


def test_pinned_map_is_no_program(veth: Veth) -> None:
    assert set_words("veth0", "xdp", "obj", LEGACY) is None
    assert set_words("veth0", "xdp", "pinned", "m:globals/cnt", force=True) == 2
    assert shown()["xdp"]["prog"]["name"]


def test_tail_calls_of_an_unpinned_array_stay(veth: Veth) -> None:
    assert set_words("veth0", "xdp", "obj", TAIL, "sec", "classifier") is None
    veth.send_in(3)
    wait_for(lambda: counted("/sys/fs/bpf/tc/globals/tail_hits", 1) >= 3, "tail calls are counted")
    assert os.listdir(BPFFS / "xdploaderctl") == [str(shown()["xdp"]["prog"]["id"])]


def test_named_namespace_is_entered_and_pins_stay_outside(veth: Veth) -> None:
    ip("netns", "add", "blue")
    try:
        ip("link", "set", "veth0", "netns", "blue")
        words = ["ip", "--direct", "-n", "blue", "link", "set", "veth0", "xdpgeneric", "obj", LEGACY]
        done = subprocess.run([sys.executable, "-m", "xdploaderd.cli.main", *words], check=False, capture_output=True)
        assert (done.returncode, done.stderr) == (0, b"")
        assert '"mode":2' in ip("-n", "blue", "-j", "link", "show", "veth0")
        assert (BPFFS / "tc/globals/cnt").exists()
    finally:
        ip("netns", "del", "blue")


def test_refused_program_leaves_the_old_one_and_no_pin(veth: Veth) -> None:
    assert set_words("veth0", "xdp", "obj", LEGACY) is None
    before, pins = shown()["xdp"]["prog"]["id"], sandbox.pin_tree()
    assert set_words("veth0", "xdp", "obj", str(OBJECTS / "reject.bpf.o"), "program", "bad", force=True) == 255
    assert (shown()["xdp"]["prog"]["id"], sandbox.pin_tree()) == (before, pins)


def test_xdp_and_tc_share_a_map(veth: Veth) -> None:
    assert set_words("veth0", "xdp", "obj", LEGACY) is None
    before = shown()["xdp"]["prog"]["id"]
    with load_for_hook(classifier(LEGACY), Bpf(), say=print, environ={}) as program:
        theirs = program.info.map_ids
    assert bpftool_json("prog", "show", "id", str(before))["map_ids"] == list(theirs)


def classifier(path: str) -> BpfSpec:
    return parse_bpf_spec(Words(["obj", path]), ProgType.SCHED_CLS, environ={})


def test_pins_go_with_a_command_in_ip_netns_exec(veth: Veth) -> None:
    ip("netns", "add", "blue")
    try:
        ip("link", "set", "veth0", "netns", "blue")
        before = sandbox.pin_tree()
        command = [sys.executable, "-m", "xdploaderd.cli.main", "ip", "--direct", "link", "set", "veth0", "xdp", "obj"]
        subprocess.run(["ip", "netns", "exec", "blue", *command, LEGACY], check=True)
        assert sandbox.pin_tree() == before
    finally:
        ip("netns", "del", "blue")


def test_signal_in_the_middle_leaves_nothing(veth: Veth, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sandbox.pin_tree()

    def interrupted(root: PurePosixPath, undo: ExitStack) -> None:
        bpf_root.make_hierarchy(root, undo)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(front_load, "make_hierarchy", interrupted)
    assert set_words("veth0", "xdp", "obj", LEGACY) == 130
    assert sandbox.pin_tree() == before
    assert "xdp" not in shown()
