"""A real daemon on a private bus, called with busctl."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import Message
from dbus_fast.aio import MessageBus

from tests.support.bus import plain, private_bus
from tests.support.daemon import PATIENCE, Daemon, daemon_in, wait_for, xdp_entry, xdp_id
from tests.support.netns import Veth
from tests.support.tools import bpftool_json
from xdploaderd.errors import KernelError
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.syscall import Fd

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
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)


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


def test_maps_of_the_program_are_listed_and_opened_for_reading(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry(interface=veth.name))
    daemon.start()
    wait_for(lambda: OBJECT[0] in _busctl(daemon, "list", "--acquired").stdout, "the daemon's name on the bus")
    (frames,) = _call(daemon, "Maps", "s", "edge")
    theirs = bpftool_json("map", "show", "pinned", frames["pin"])
    assert (frames["id"], frames["type"], frames["max_entries"]) == (theirs["id"], "array", theirs["max_entries"])
    veth.send_in(3)
    for write in (False, True):
        with Fd(asyncio.run(_opened(daemon, "edge", "xdp_frames", write=write))) as fd:
            assert Bpf().map_lookup(fd, bytes(4), 8) == (3).to_bytes(8, sys.byteorder)
            if write:
                Bpf().map_update(fd, bytes(4), bytes(8))
            else:
                with pytest.raises(KernelError):
                    Bpf().map_update(fd, bytes(4), bytes(8))
    assert "open map 'xdp_frames' to write" in daemon.log()
    refused = _busctl(daemon, "call", *OBJECT, "OpenMap", "ssb", "edge", "nix", "false")
    assert "has no map 'nix'" in refused.stderr


def test_plan_tells_what_a_reload_would_do_and_does_nothing(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry(interface=veth.name))
    daemon.start()
    wait_for(lambda: OBJECT[0] in _busctl(daemon, "list", "--acquired").stdout, "the daemon's name on the bus")
    before = xdp_id()
    daemon.configure(xdp_entry(interface=veth.name, max_entries={"xdp_frames": 4}, on_mismatch="migrate"))
    assert _call(daemon, "Plan") == daemon.call("Plan")["actions"] != []
    assert xdp_id() == before


async def _opened(daemon: Daemon, name: str, map_name: str, *, write: bool) -> int:
    """Return the descriptor of a map as a client of the bus gets it."""
    bus = await MessageBus(bus_address=daemon.bus, negotiate_unix_fd=True).connect()
    try:
        destination, path, interface = OBJECT
        call = Message(destination=destination, path=path, interface=interface, member="OpenMap", signature="ssb",
                       body=[name, map_name, write])  # fmt: skip
        reply = await bus.call(call)
        assert reply is not None
        assert reply.signature == "h", reply.body
        return int(reply.unix_fds[reply.body[0]])
    finally:
        bus.disconnect()
