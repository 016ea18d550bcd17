"""xdploaderctl wait and monitor beside a real daemon."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.support.daemon import OBJECTS, PATIENCE, ROOT, SLOWNESS, Daemon, tail_entry, xdp_entry
from tests.support.netns import Veth, add_veth, ip, veth_pair

pytestmark = pytest.mark.kernel


def begin(daemon: Daemon, *words: str) -> "subprocess.Popen[str]":
    """Start xdploaderctl."""
    environ = {**os.environ, "XDPLOADERD_SOCKET": str(daemon.state / "control")}
    command = [sys.executable, "-m", "xdploaderd.cli.main", *words]
    return subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_wait_tells_what_is_missing_and_ends_when_it_comes(daemon: Daemon) -> None:
    daemon.configure(xdp_entry())
    waiting = begin(daemon, "wait", "edge", "--timeout", str(PATIENCE))  # the daemon itself comes later
    daemon.start()
    told = daemon.ctl("wait", "edge", "--timeout", str(0.2 * SLOWNESS), status=3)
    assert "edge: waiting: no interface named 'veth0' yet" in told
    missing = json.loads(daemon.ctl("wait", "nobody", "--timeout", str(0.1 * SLOWNESS), "--json", status=3))
    assert missing == {"missing": {"nobody": "there is no attachment of that name"}}
    assert waiting.poll() is None
    with veth_pair():
        assert waiting.wait(PATIENCE) == 0
        daemon.ctl("wait", "--timeout", str(PATIENCE))
    waiting.communicate()


def test_everything_degraded_has_a_reason_and_what_failed_the_next_try(veths: Veth, daemon: Daemon) -> None:
    ip("link", "set", "veth8", "xdpgeneric", "obj", str(OBJECTS / "xdp_pass.bpf.o"), "sec", "xdp")
    broken = daemon.directory / "broken.o"
    broken.write_bytes(b"no object")
    failing = {
        "VerifierRejected": tail_entry("refused", object=OBJECTS / "reject.bpf.o", program="bad"),
        "FileUnreadable": tail_entry("nofile", object="/nonexistent.o", priority=2),
        "InvalidObject": tail_entry("broken", object=broken, priority=3),
        "NoSuchProgram": tail_entry("noprog", program="other", priority=4),
        "AttachFailed": xdp_entry(mode="offload"),
    }
    others = xdp_entry("absent", interface="nowhere"), xdp_entry("taken", interface="veth8")
    daemon.configure(*failing.values(), *others)
    daemon.start()
    found = {a["name"]: a for a in daemon.call("Status")["status"]["attachments"]}
    for code, entry in failing.items():
        one = found[str(entry["name"])]
        assert (one["state"], one["error_code"], bool(one["reason"])) == ("failed", code, True)
        assert time.monotonic() - 1 < one["retry_at"] < time.monotonic() + 32, code
    assert "no interface named 'nowhere' yet" in found["absent"]["reason"]
    assert (found["taken"]["state"], found["taken"]["error_code"]) == ("foreign", "HookBusy")
    told = daemon.ctl("status", status=3)
    assert told.count("; next try in ") == len(failing)


def test_wait_for_one_interface_of_an_entry_for_several(veths: Veth, daemon: Daemon) -> None:
    glob = {"name": "all", "match": "{name: 'veth*'}", "hook": "xdp", "object": OBJECTS / "xdp_count.bpf.o"}
    daemon.configure({**glob, "program": "xdp_count"})
    daemon.start()
    daemon.ctl("wait", "all", "all@veth8", "--timeout", str(PATIENCE))
    waiting = begin(daemon, "wait", "all@veth5", "--timeout", "20")
    assert "all@veth5: there is no attachment" in daemon.ctl("wait", "all@veth5", "--timeout", "0", status=3)
    daemon.end()
    daemon.start()  # to wait goes on over a restart
    add_veth("veth5", "peer5", veths.namespace)
    assert waiting.wait(PATIENCE) == 0
    waiting.communicate()
    ip("link", "del", "veth5")


def test_monitor_prints_a_line_for_each_change_and_ends_on_sigint(daemon: Daemon) -> None:
    daemon.configure(xdp_entry())
    daemon.start()
    following = begin(daemon, "monitor", "--json")
    assert following.stdout is not None
    assert json.loads(following.stdout.readline())["state"] == "waiting"
    with veth_pair():
        line = json.loads(following.stdout.readline())
        assert (line["name"], line["state"]) == ("edge", "attached")
        ip("link", "set", "veth0", "xdp", "off")
        assert json.loads(following.stdout.readline())["state"] == "foreign"
    daemon.configure()
    daemon.reload()
    states = [json.loads(following.stdout.readline())["state"] for _ in range(2)]
    assert states == ["waiting", "gone"]
    following.send_signal(signal.SIGINT)
    output, errors = following.communicate(timeout=PATIENCE)
    assert (following.returncode, output, errors) == (0, "", "")
    daemon.call("Status")
