"""xdploaderctl wait and monitor beside a real daemon."""

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.support.daemon import PATIENCE, ROOT, Daemon, xdp_entry
from tests.support.netns import ip, veth_pair

pytestmark = pytest.mark.kernel


def begin(daemon: Daemon, *words: str) -> "subprocess.Popen[str]":
    """Start xdploaderctl."""
    environ = {**os.environ, "XDPLOADERD_SOCKET": str(daemon.state / "control")}
    command = [sys.executable, "-m", "xdploaderd.cli.main", *words]
    return subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_wait_tells_what_is_missing_and_ends_when_it_comes(daemon: Daemon) -> None:
    daemon.configure(xdp_entry())
    waiting = begin(daemon, "wait", "edge", "--timeout", "20")  # the daemon itself comes later
    daemon.start()
    told = daemon.ctl("wait", "edge", "--timeout", "0.2", status=3)
    assert "edge: waiting: no interface named 'veth0' yet" in told
    missing = json.loads(daemon.ctl("wait", "nobody", "--timeout", "0.1", "--json", status=3))
    assert missing == {"missing": {"nobody": "there is no attachment of that name"}}
    assert waiting.poll() is None
    with veth_pair():
        assert waiting.wait(20) == 0
        daemon.ctl("wait", "--timeout", "5")
    waiting.communicate()


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
