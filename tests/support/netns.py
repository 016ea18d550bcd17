"""A veth pair whose peer sits in a second network namespace, and frames sent from either side."""

import ctypes
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

CLONE_NEWNET = 0x40000000
CARRIER_SECONDS = 5.0
FRAME = bytes.fromhex("ffffffffffff 020000000001 88b5") + bytes(50)  # 64 bytes, EtherType for local experiments

_libc = ctypes.CDLL(None, use_errno=True)
T = TypeVar("T")


def _check(result: int, what: str) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), what)


def _in_thread(action: Callable[[], T]) -> T:
    """Run `action` in a thread of its own, which may leave the namespace without taking the process along."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(action())
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def new_namespace() -> int:
    """Return a descriptor of a new network namespace, which lives as long as it is open."""

    def make() -> int:
        _check(_libc.unshare(CLONE_NEWNET), "unshare")
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    return _in_thread(make)


def in_namespace(namespace: int, action: Callable[[], T]) -> T:
    """Run `action` in that namespace; sockets it opens stay there."""

    def run() -> T:
        _check(_libc.setns(namespace, CLONE_NEWNET), "setns")
        return action()

    return _in_thread(run)


def ip(*args: str, namespace: int | None = None, text: str = "") -> str:
    """Run ip(8), in the current or the given namespace, with `text` as input, and return what it prints."""
    prefix = [] if namespace is None else ["nsenter", f"--net=/proc/self/fd/{namespace}"]
    fds = () if namespace is None else (namespace,)
    command = [*prefix, "ip", *args]
    return subprocess.run(command, check=True, capture_output=True, text=True, pass_fds=fds, input=text).stdout


def tc(*args: str) -> str:
    """Run tc(8) and return what it prints."""
    return subprocess.run(["tc", *args], check=True, capture_output=True, text=True).stdout


def packet_socket(interface: str) -> socket.socket:
    """Open a socket that sends frames out of an interface of the current namespace."""
    sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)  # protocol 0: it receives nothing
    try:
        sender.bind((interface, 0))
    except BaseException:
        sender.close()
        raise
    return sender


@dataclass(frozen=True, slots=True)
class Veth:
    """`name` in the current namespace, `peer` in `namespace`; both up and, having no addresses, silent."""

    name: str
    peer: str
    namespace: int

    def send_in(self, count: int, frame: bytes = FRAME) -> None:
        """Let the peer send frames: XDP and tc ingress of `name` see them, soon after."""
        with in_namespace(self.namespace, lambda: packet_socket(self.peer)) as sender:
            for _ in range(count):
                sender.send(frame)

    def send_out(self, count: int, frame: bytes = FRAME) -> None:
        """Send frames out of `name`: its tc egress sees them."""
        with packet_socket(self.name) as sender:
            for _ in range(count):
                sender.send(frame)


@contextmanager
def veth_pair(name: str = "veth0", peer: str = "peer0") -> Iterator[Veth]:
    """Make a veth pair with its peer in a new namespace; both are gone afterwards, also when `name` was deleted."""
    namespace = new_namespace()
    try:
        add_veth(name, peer, namespace)
        yield Veth(name, peer, namespace)
    finally:
        subprocess.run(["ip", "link", "del", name], check=False, capture_output=True)
        os.close(namespace)


def add_veth(name: str, peer: str, namespace: int) -> None:
    """Make (or make again) the pair of a Veth, up and silent."""
    path = f"/proc/self/fd/{namespace}"
    command = ["ip", "link", "add", name, "type", "veth", "peer", "name", peer, "netns", path]
    subprocess.run(command, check=True, capture_output=True, pass_fds=(namespace,))
    for end, where in ((peer, namespace), (name, None)):
        ip("link", "set", end, "addrgenmode", "none", namespace=where)
        ip("link", "set", end, "up", namespace=where)
    for end, where in ((peer, namespace), (name, None)):
        _wait_for_carrier(end, where)


def _wait_for_carrier(end: str, where: int | None) -> None:
    """Return when the kernel has noticed the link, up to a second after the fact: until then it drops what is sent."""
    deadline = time.monotonic() + CARRIER_SECONDS
    while '"operstate":"UP"' not in ip("-json", "link", "show", "dev", end, namespace=where):
        assert time.monotonic() < deadline, f"'{end}' has no carrier after {CARRIER_SECONDS} s"
        time.sleep(0.01)


@contextmanager
def two_veth_pairs() -> Iterator[Veth]:
    """Make the pair of veth_pair() and a second one, veth8 and veth9, that ends in the same namespace."""
    with veth_pair() as pair:
        add_veth("veth8", "veth9", pair.namespace)
        yield pair
        ip("link", "del", "veth8")
