"""A real daemon process in the sandbox's namespaces, with configuration, socket and state of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from tests.support import forked
from tests.support.sandbox import pin_tree
from tests.support.tools import bpftool_json
from xdploaderd.control.client import ControlClient

ROOT = Path(__file__).parents[2]
OBJECTS = ROOT / "tests/bpf"
BPFFS = Path("/sys/fs/bpf")
OWN_PINS = BPFFS / "xdploaderd"
PATIENCE = float(os.environ.get("XDPLOADERD_TEST_PATIENCE", "10"))  # seconds; emulated machines need more
SLOWNESS = PATIENCE / 10  # what the seconds of a goal are multiplied by there: a goal is one of real machines
POLL = 0.05  # seconds


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Poll until `condition` holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.01)


class Process(Protocol):
    """What a Daemon asks of its process; subprocess.Popen is one."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...


Spawn = Callable[[Sequence[str], Mapping[str, str], int], Process]  # command line, environment, standard error


class Daemon:
    """Configuration, process, and what the service manager was told."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "xdploaderd.yaml"
        self.whole_directory = False  # --config DIRECTORY, with its conf.d
        self.pinning = directory / "pinning.conf"
        self.state = directory / "state"
        self.data = directory / "data"
        self.errors = directory / "stderr"
        self.bus = "none"
        self.orphan_grace = 60.0  # seconds
        self.pinning.write_text("")
        self._pins = pin_tree()
        self.configure()
        self.process: Process | None = None
        self.spawn: Spawn = _popen
        self._manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._manager.bind(str(directory / "notify"))
        self._manager.settimeout(PATIENCE)

    def configure(self, *entries: Mapping[str, object]) -> None:
        """Write the configuration; JSON is YAML but for bare words, so values that are words stay unquoted."""
        lines = ["attachments:" if entries else "attachments: []"]
        for entry in entries:
            lines += [
                f"{'  - ' if number == 0 else '    '}{key}: {_plain(value)}"
                for number, (key, value) in enumerate(entry.items())
            ]
        self.config.write_text("\n".join(lines) + "\n")

    def command(self, *more: str) -> list[str]:
        """Return the command line."""
        paths = {
            "--config": self.directory if self.whole_directory else self.config,
            "--pinning": self.pinning,
            "--state-dir": self.state,
            "--data-dir": self.data,
            "--orphan-grace": self.orphan_grace,
        }
        options = [str(word) for pair in paths.items() for word in pair]
        return [sys.executable, "-m", "xdploaderd", *options, "--bus", self.bus, *more]

    def run(self, *more: str) -> "subprocess.CompletedProcess[str]":
        """Run a daemon that is expected to end by itself."""
        return subprocess.run(
            self.command(*more), cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE
        )

    def start(self, *, prefix: Sequence[str] = (), may_end: bool = False) -> None:
        """Start it and wait until it says that all was tried once, or, with `may_end`, ends."""
        environ = {**os.environ, "NOTIFY_SOCKET": str(self.directory / "notify")}
        self._forget_last_run()
        with self.errors.open("ab") as errors:
            self.process = self.spawn([*prefix, *self.command()], environ, errors.fileno())
        self._wait_ready(may_end=may_end)

    def _wait_ready(self, *, may_end: bool) -> None:
        deadline = time.monotonic() + PATIENCE
        self._manager.settimeout(POLL)
        ended = False
        while not ended:
            with suppress(TimeoutError):
                if "READY=1" in self._manager.recv(4096).decode().split("\n"):
                    break
            ended = self.process is None or self.process.poll() is not None
            assert may_end or not ended, f"the daemon ended: {self.log()[-2000:]}"
            assert time.monotonic() < deadline, f"the daemon did not tell that it is ready: {self.log()[-2000:]}"
        self._manager.settimeout(PATIENCE)

    def _forget_last_run(self) -> None:
        """Drop the pid of a process that was killed, and what it told."""
        with suppress(FileNotFoundError):
            os.truncate(self.state / "lock", 0)
        self._manager.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                self._manager.recv(4096)
        self._manager.settimeout(PATIENCE)

    def told(self, wanted: str) -> list[str]:
        """Return the lines of the next message to the service manager that has the line `wanted`."""
        while True:
            try:
                lines = self._manager.recv(4096).decode().split("\n")
            except TimeoutError:
                raise AssertionError(f"the daemon did not tell {wanted}: {self.log()}") from None
            if wanted in lines:
                return lines

    @property
    def pid(self) -> int:
        """The daemon's own process, which may run below a tracer."""
        assert self.process is not None
        lock = self.state / "lock"
        return int((lock.read_text() if lock.exists() else "") or self.process.pid)

    def log(self) -> str:
        """Return what it wrote to standard error."""
        return self.errors.read_text()

    def changes(self) -> list[str]:
        """Return the log lines about changes made in the kernel."""
        return [line for line in self.log().splitlines() if line.startswith("INFO")]

    def reload(self) -> None:
        """Send SIGHUP and wait for the end of the reload."""
        assert self.process is not None
        os.kill(self.pid, signal.SIGHUP)
        self.told("RELOADING=1")
        self.told("READY=1")

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send the signal and return the exit status."""
        assert self.process is not None
        os.kill(self.pid, number)
        status = self.process.wait(PATIENCE)
        self.process = None
        return status

    def call(self, method: str, *, descriptors: Sequence[int] = (), **parameters: object) -> Mapping[str, Any]:
        """Call the daemon over its control socket."""
        return ControlClient(self.state / "control").call(method, parameters, descriptors=descriptors)

    def ctl(self, *words: str, status: int = 0) -> str:
        """Run xdploaderctl, which must end with that status, and return what it prints, errors too."""
        environ = {**os.environ, "XDPLOADERD_SOCKET": str(self.state / "control")}
        command = [sys.executable, "-m", "xdploaderd.cli.main", *words]
        done = _run(command, environ)
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def names(self) -> list[str]:
        """Return the names of all attachments."""
        return [a["name"] for a in self.call("List")["attachments"]]

    def attachment(self, name: str) -> Mapping[str, Any]:
        """Return the status of one attachment."""
        found: Mapping[str, Any] = next(a for a in self.call("List")["attachments"] if a["name"] == name)
        return found

    def close(self) -> None:
        """End the process, if there is one, and remove everything it pinned."""
        if self.process is not None and self.process.poll() is None:
            self.end(signal.SIGKILL)
        self._manager.close()
        self.close_pins()

    def close_pins(self) -> None:
        """Remove everything that was pinned since the daemon was made, as a reboot does."""
        for path in sorted(map(Path, pin_tree() - self._pins), reverse=True):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def _popen(command: Sequence[str], environ: Mapping[str, str], errors: int) -> Process:
    if forked.FORKED and forked.is_ours(command):
        return forked.fork(command, environ, errors=errors)
    return subprocess.Popen(command, cwd=ROOT, env=environ, stderr=errors)


def _run(command: Sequence[str], environ: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    if forked.FORKED:
        return forked.run(command, environ)
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)


@contextmanager
def daemon_in(directory: Path) -> Iterator[Daemon]:
    """A Daemon that is gone, with all it pinned, at the end of the block."""
    directory.chmod(0o700)
    daemon = Daemon(directory)
    try:
        yield daemon
    finally:
        daemon.close()


def xdp_entry(name: str = "edge", **fields: object) -> dict[str, object]:
    """Return an entry that counts the frames of veth0 at XDP, in the map pinned as xdp_frames."""
    entry = {"name": name, "interface": "veth0", "hook": "xdp", "object": OBJECTS / "xdp_count.bpf.o"}
    return {**entry, "program": "xdp_count", **fields}


def tail_entry(name: str = "tail", **fields: object) -> dict[str, object]:
    """Return an entry of the legacy dialect that counts at tc ingress, in two programs joined by a tail call."""
    entry = {"name": name, "interface": "veth0", "hook": "tc-ingress", "object": OBJECTS / "legacy_tail.bpf.o"}
    return {**entry, "program": "tail_main", **fields}


def xdp_id(interface: str = "veth0") -> int:
    """Return the id of the XDP program as ip(8) sees it, 0 for none."""
    output = subprocess.run(["ip", "-j", "link", "show", interface], capture_output=True, text=True, check=True).stdout
    return int(json.loads(output)[0].get("xdp", {}).get("prog", {}).get("id", 0))


def xdp_ids() -> Mapping[str, int]:
    """Return the ids of the XDP programs of all interfaces that have one, as ip(8) sees them."""
    output = subprocess.run(["ip", "-j", "link", "show"], capture_output=True, text=True, check=True).stdout
    return {link["ifname"]: int(link["xdp"]["prog"]["id"]) for link in json.loads(output) if "xdp" in link}


def tc_ids(interface: str = "veth0", direction: str = "ingress") -> list[int]:
    """Return the ids of the programs of the bpf filters as tc(8) sees them."""
    command = ["tc", "-j", "filter", "show", "dev", interface, direction]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    filters = json.loads(output) if output.strip() else []
    return [f["options"]["prog"]["id"] for f in filters if f.get("options", {}).get("prog")]


def counters(pin: str) -> list[int]:
    """Return the values of a pinned array of u64, as bpftool(8) reads them; those of CPUs are added up."""
    return _counters("pinned", str(BPFFS / pin))


def counters_of(prog_id: int) -> list[int]:
    """Return the values of the only map of a program, as `counters` does."""
    (map_id,) = bpftool_json("prog", "show", "id", str(prog_id))["map_ids"]
    return _counters("id", str(map_id))


def _counters(*words: str) -> list[int]:
    return [sum(_number(value) for value in _values(entry)) for entry in bpftool_json("map", "dump", *words)]


def data_of(prog_id: int) -> Mapping[str, Any]:
    """Return the variables of a program's data sections by name, as bpftool(8) reads them."""
    found: dict[str, Any] = {}
    for map_id in bpftool_json("prog", "show", "id", str(prog_id)).get("map_ids", ()):
        for entry in bpftool_json("map", "dump", "id", str(map_id)):
            for variables in entry.get("formatted", {}).get("value", {}).values():
                found |= {name: value for variable in variables for name, value in variable.items()}
    return found


def _values(entry: Mapping[str, Any]) -> list[Any]:
    if "values" in entry:
        return [value["value"] for value in entry["values"]]
    return [entry["value"]]


def _number(octets: Sequence[str]) -> int:
    return int.from_bytes(bytes(int(octet, 16) for octet in octets), sys.byteorder)


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
