#!/usr/bin/env python3
"""Show the whole way on this machine's kernel: two object files, one interface, counted packets, nothing left behind.

`./dev demo` runs it as root. Everything happens in mount and network namespaces of the demo's own: a fresh BPF file
system, an empty /run (so that no system bus is met), and a veth pair whose other end sits in a second one.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.ending import end_with
from tools.namespaces import enter_namespaces, mount

BIN = Path(sys.executable).parent
CHECKOUT = Path(__file__).resolve().parents[1]
OBJECTS = CHECKOUT / "tests" / "bpf"
BPFFS = Path("/sys/fs/bpf")
XDP_MAP = BPFFS / "demo_xdp_count"
TC_MAP = BPFFS / "tc" / "globals" / "demo_tc_count"
HERE, PEER, PORT = "192.0.2.1", "192.0.2.2", 7777  # addresses that only this demo's two namespaces have
PACKETS = 20
START_SECONDS = 30.0
STOP_SECONDS = 10.0

CONFIG = """\
attachments:
  - name: demo-xdp
    interface: demo0
    hook: xdp
    object: {objects}/demo_xdp.bpf.o
    program: demo_xdp
    mode: native
  - name: demo-in
    interface: demo0
    hook: tc-ingress
    object: {objects}/demo_tc_legacy.bpf.o
    program: demo_ingress
  - name: demo-out
    interface: demo0
    hook: tc-egress
    object: {objects}/demo_tc_legacy.bpf.o
    program: demo_egress
"""
CLIENT = """
import socket, sys
here, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.settimeout(5)
    for number in range(count):
        sock.sendto(b"packet %d" % number, (here, port))
        sock.recv(100)
"""


class DemoError(Exception):
    """What did not go as it should."""


def step(number: int, text: str) -> None:
    """Say what comes next."""
    print(f"\n[{number}/6] {text}", flush=True)


def run(*argv: str) -> str:
    """Run a command that must succeed; return what it printed."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=CHECKOUT)
    if done.returncode:
        raise DemoError(f"'{' '.join(argv)}' ended with {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def ctl(*arguments: str) -> str:
    """Run xdploaderctl as a user would."""
    return run(str(BIN / "xdploaderctl"), *arguments)


def show(*arguments: str) -> None:
    """Show a command and what it prints."""
    print(f"$ xdploaderctl {' '.join(arguments)}", flush=True)
    print(ctl(*arguments), end="", flush=True)


def make_network() -> None:
    """Enter the namespaces; make the BPF file system and the veth pair: demo0 here, demo1 in namespace `demo-peer`."""
    try:
        enter_namespaces()
        mount("tmpfs", "/run")
        mount("bpf", str(BPFFS), "mode=0700")
    except OSError as error:
        raise DemoError(f"{error.filename}: {error.strerror} (root with BPF and namespaces is needed)") from error
    run("ip", "netns", "add", "demo-peer")
    run("ip", "link", "add", "demo0", "type", "veth", "peer", "name", "demo1", "netns", "demo-peer")
    for where, name, address in ((), "demo0", HERE), (("-n", "demo-peer"), "demo1", PEER):
        run("ip", *where, "address", "add", f"{address}/24", "dev", name)
        run("ip", *where, "link", "set", name, "up")


@contextmanager
def daemon(folder: Path) -> Iterator[None]:
    """Run the daemon with the demo's configuration; it has ended, and left the programs attached, afterwards."""
    log = folder / "daemon.log"
    options = {"config": "xdploaderd.yaml", "pinning": "pinning.conf", "socket": "control", "state-dir": "state"}
    argv = [str(BIN / "xdploaderd"), *(f"--{name}={folder / value}" for name, value in options.items()), "--bus=none"]
    with log.open("w") as out, subprocess.Popen(argv, stdout=out, stderr=out) as process:
        try:
            wait_for_daemon(process)
            yield
        except DemoError as error:
            raise DemoError(f"{error}\nthe daemon said:\n{log.read_text()}") from error
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                raise DemoError(f"the daemon did not end within {STOP_SECONDS:g} s") from None


def wait_for_daemon(process: "subprocess.Popen[bytes]") -> None:
    """Return when all is attached; DemoError when the daemon ends or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        done = subprocess.run([BIN / "xdploaderctl", "status", "--json"], capture_output=True, text=True, check=False)
        if done.returncode == 0 and len(json.loads(done.stdout)["attachments"]) == CONFIG.count("- name:"):
            return
        if process.poll() is not None:
            raise DemoError(f"the daemon ended with {process.returncode}")
        if time.monotonic() > deadline:
            raise DemoError(f"not all is attached after {START_SECONDS:g} s: {done.stdout}{done.stderr}")
        time.sleep(0.1)


def send_packets() -> None:
    """Send packets from the peer's namespace and answer each."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HERE, PORT))
        sock.settimeout(5)
        echo = threading.Thread(target=answer, args=(sock,), daemon=True)
        echo.start()
        run("ip", "netns", "exec", "demo-peer", sys.executable, "-c", CLIENT, HERE, str(PORT), str(PACKETS))
        echo.join()


def answer(sock: socket.socket) -> None:
    """Send PACKETS datagrams back to where they came from."""
    for _ in range(PACKETS):
        try:
            data, peer = sock.recvfrom(2048)
        except TimeoutError:
            return  # the client tells what is missing
        sock.sendto(data, peer)


def counters(pin: Path) -> list[int]:
    """Return the values of a pinned array of 64-bit counters; a map without BTF shows them as bytes."""
    entries: list[dict[str, Any]] = json.loads(ctl("map", "dump", str(pin), "--json"))["entries"]
    values = [entry["value"] for entry in entries]
    return [v if isinstance(v, int) else int.from_bytes(bytes.fromhex(v), sys.byteorder) for v in values]


def check_moved(counts: dict[str, int], least: int) -> None:
    """Raise DemoError that names each counter below `least`."""
    low = [f"{name} counted {count}" for name, count in counts.items() if count < least]
    if low:
        raise DemoError(f"{', '.join(low)}, want at least {least}")


def read_counters() -> dict[str, int]:
    """Return what each of the three programs counted."""
    tc = counters(TC_MAP)
    return {"demo-xdp": sum(counters(XDP_MAP)), "demo-in": tc[0], "demo-out": tc[1]}


def check_removed() -> None:
    """Raise DemoError when a program is still on the interface, or pinned."""
    link = json.loads(run("ip", "-json", "link", "show", "dev", "demo0"))[0]
    filters = [run("tc", "filter", "show", "dev", "demo0", hook) for hook in ("ingress", "egress")]
    pins = [str(pin) for pin in (BPFFS / "xdploaderd").rglob("*") if not pin.is_dir()]
    if "xdp" in link or any("bpf" in text for text in filters) or pins:
        raise DemoError(f"something is left: xdp {link.get('xdp')}, filters {filters}, pins {pins}")


def walk(folder: Path) -> None:
    """Walk the whole way once."""
    step(1, "a BPF file system, and a veth pair into a second network namespace")
    make_network()
    (folder / "xdploaderd.yaml").write_text(CONFIG.format(objects=OBJECTS))
    (folder / "pinning.conf").write_text(f"root {BPFFS}\n")
    os.environ["XDPLOADERD_SOCKET"] = str(folder / "control")
    print("demo0 (192.0.2.1) here, demo1 (192.0.2.2) in demo-peer")

    step(2, "the daemon loads a standard object for XDP and an iproute2 object for tc, and attaches them")
    print(CONFIG.format(objects="tests/bpf"), end="")
    with daemon(folder):
        show("status")
        for name in ("demo_xdp.bpf.o", "demo_tc_legacy.bpf.o"):
            show("explain-pin", "--pinning", str(folder / "pinning.conf"), str((OBJECTS / name).relative_to(CHECKOUT)))

        step(3, f"{PACKETS} packets from the peer, each answered")
        before = read_counters()
        send_packets()

        step(4, "what the programs counted, read from their pinned maps")
        show("map", "dump", str(XDP_MAP))
        show("map", "dump", str(TC_MAP))
        moved = {name: count - before[name] for name, count in read_counters().items()}
        check_moved(moved, PACKETS)
        print("since the first packet: " + ", ".join(f"{name} {count}" for name, count in moved.items()))

        step(5, "an empty configuration: the daemon takes off what is its own")
        (folder / "xdploaderd.yaml").write_text("attachments: []\n")
        show("plan")
        show("reload")
        check_removed()

    step(6, "the daemon has ended; pins, namespaces and interfaces go")
    XDP_MAP.unlink()
    TC_MAP.unlink()
    run("ip", "netns", "del", "demo-peer")


def main() -> int:
    """Walk in namespaces of the demo's own, which end with this process; return the exit status."""
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="xdploaderd-demo-") as folder:
            walk(Path(folder))
    except DemoError as error:
        print(f"\ndemo: failed: {error}", file=sys.stderr)
        return 1
    print(f"\nAll counted, all removed, in {time.monotonic() - began:.1f} s. The README goes on from here by hand.")
    return 0


if __name__ == "__main__":
    end_with(main)
