"""Our own `ip link show`, equal to the real one's in all that it shows."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.netns import Veth, ip, veth_pair
from xdploaderd.cli.main import main

pytestmark = pytest.mark.kernel
Capture = pytest.CaptureFixture[str]
PASS = str(Path(__file__).parents[1] / "bpf/xdp_pass.bpf.o")


@pytest.fixture
def veth() -> Iterator[Veth]:
    with veth_pair() as pair:
        subprocess.run(["bpftool", "prog", "load", PASS, "/sys/fs/bpf/pass"], check=True)
        try:
            yield pair
        finally:
            Path("/sys/fs/bpf/pass").unlink()


def ours(capsys: Capture, *words: str) -> str:
    capsys.readouterr()
    assert main(["ip", "--direct", *words]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("word", ["", "xdp", "xdpgeneric"])
@pytest.mark.parametrize("words", [("link",), ("link", "show"), ("l", "sh", "dev", "veth0"), ("link", "list", "up")])
def test_text_is_that_of_ip(veth: Veth, capsys: Capture, word: str, words: tuple[str, ...]) -> None:
    if word:
        ip("link", "set", "veth0", word, "pinned", "/sys/fs/bpf/pass")
    assert ours(capsys, *words) == ip(*words)


@pytest.mark.parametrize("word", ["", "xdp", "xdpgeneric"])
@pytest.mark.parametrize("details", [(), ("-d",)])
def test_json_is_that_of_ip(veth: Veth, capsys: Capture, word: str, details: tuple[str, ...]) -> None:
    if word:
        ip("link", "set", "veth0", word, "pinned", "/sys/fs/bpf/pass")
    theirs = json.loads(ip(*details, "-j", "link", "show"))
    mine = json.loads(ours(capsys, *details, "-j", "link", "show"))
    assert [{key: row[key] for key in row if key in shown} for row, shown in zip(theirs, mine, strict=True)] == mine
    assert all("xdp" in mine[at] for at, row in enumerate(theirs) if "xdp" in row)
    if not details:
        assert mine == theirs


def test_details_of_a_program_are_shown(veth: Veth, capsys: Capture) -> None:
    ip("link", "set", "veth0", "xdp", "pinned", "/sys/fs/bpf/pass")
    line = next(line for line in ip("-d", "link", "show", "veth0").splitlines() if "prog/xdp" in line)
    assert line in ours(capsys, "-d", "link", "show", "veth0").splitlines()


def test_down_peer_master_and_other_kinds_are_told(veth: Veth, capsys: Capture) -> None:
    ip("link", "add", "br0", "type", "bridge")
    ip("link", "add", "d0", "type", "veth", "peer", "name", "d1")
    ip("link", "set", "d0", "master", "br0", "alias", "edge port", "up")
    try:
        assert "alias edge port" in ip("link")
        assert ours(capsys, "link") == ip("link")
        assert json.loads(ours(capsys, "-j", "link")) == json.loads(ip("-j", "link"))
    finally:
        ip("link", "del", "d0")
        ip("link", "del", "br0")


def test_what_only_the_real_tool_can_show_is_refused(veth: Veth, capsys: Capture) -> None:
    assert main(["ip", "--direct", "addr", "show", "veth0"]) == 0
    assert main(["ip", "--direct", "link", "show", "type", "veth"]) == 255
    assert main(["ip", "--direct", "link", "show", "nosuch0"]) == 1


def test_interfaces_are_shown_without_a_real_ip(veth: Veth, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xdploaderd.front.dispatch.real_tool", lambda _tool: "")
    assert main(["ip", "link", "show", "veth0"]) == 0
    assert "veth0" in capsys.readouterr().out
    assert main(["ip", "addr"]) == 255
    assert "'addr' is the real 'ip's" in capsys.readouterr().err
