"""A real daemon on a private bus, called with busctl."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.bus import plain, private_bus
from tests.support.daemon import Daemon, daemon_in, wait_for, xdp_entry, xdp_id
from tests.support.netns import Veth

pytestmark = pytest.mark.kernel
OBJECT = ["org.xdploaderd1", "/org/xdploaderd1", "org.xdploaderd1.Manager"]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    (tmp_path / "daemon").mkdir()
    with private_bus(tmp_path) as address, daemon_in(tmp_path / "daemon") as made:
        made.bus = address
        yield made


def _busctl(daemon: Daemon, *args: str) -> "subprocess.CompletedProcess[str]":
    command = ["busctl", f"--address={daemon.bus}", "--json=short", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)


def _call(daemon: Daemon, *args: str) -> Any:
    done = _busctl(daemon, "call", *OBJECT, *args)
    assert done.returncode == 0, done.stderr
    return plain(json.loads(done.stdout)["data"][0])


def test_every_method_acts_on_the_kernel_and_every_change_is_signalled(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry(interface=veth.name))
    daemon.start()
    wait_for(lambda: OBJECT[0] in _busctl(daemon, "list", "--acquired").stdout, "the daemon's name on the bus")
    command = ["busctl", f"--address={daemon.bus}", "--json=short", "monitor", OBJECT[0]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as monitor:
        try:
            output, errors = monitor.stdout, monitor.stderr
            assert output is not None
            assert errors is not None
            errors.readline()  # it tells that it listens
            (edge,) = _call(daemon, "ListAttachments")
            assert (edge["state"], edge["prog_id"]) == ("attached", xdp_id())
            assert _call(daemon, "Detach", "s", "edge")["state"] == "detached"
            assert xdp_id() == 0
            assert _call(daemon, "Attach", "s", "edge")["state"] == "attached"
            assert xdp_id() != 0
            assert _call(daemon, "Reload")["degraded"] is False
            assert _call(daemon, "Status") == daemon.call("Status")["status"]
            signals = iter(lambda: json.loads(output.readline()), None)
            changes = (s["payload"]["data"][0] for s in signals if s.get("member") == "AttachmentChanged")
            assert [plain(next(changes))["state"] for _ in range(2)] == ["detached", "attached"]
        finally:
            monitor.kill()
    refused = _busctl(daemon, "call", *OBJECT, "Attach", "s", "nix")
    assert refused.returncode != 0
    assert "no attachment named 'nix'" in refused.stderr
