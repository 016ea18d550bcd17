"""A daemon's control socket with canned replies, for tests of the command line."""

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

INTERFACE = "org.xdploaderd.Loader"


@contextmanager
def fake_daemon(path: Path, reply: Mapping[str, Any]) -> Iterator[list[Mapping[str, Any]]]:
    """Answer every call on `path` with `reply`; yield the list of calls as they arrive."""
    calls: list[Mapping[str, Any]] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=_serve, args=(listener, reply, calls))
        thread.start()
        try:
            yield calls
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
            thread.join()


def _serve(listener: socket.socket, reply: Mapping[str, Any], calls: list[Mapping[str, Any]]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            received = b""
            while not received.endswith(b"\0") and (chunk := connection.recv(65536)):
                received += chunk
            if received:
                calls.append(json.loads(received[:-1]))
                connection.sendall(json.dumps(reply).encode() + b"\0")


def attachment(**fields: Any) -> dict[str, Any]:
    """Return an attachment as the daemon tells it."""
    return {
        "name": "edge",
        "interface": "eth0",
        "hook": "xdp",
        "object": "/o/fw.o",
        "program": "xdp_pass",
        "mode": "unspecified",
        "state": "attached",
        "origin": "configured",
        "priority": 0,
        "handle": 0,
        "ifindex": 2,
        "prog_id": 17,
        "prog_name": "xdp_pass",
        "prog_tag": "0123456789abcdef",
        "actual_mode": "native",
        "chain": [],
        "position": 0,
        "note": "",
        "dialect": "standard",
        "why": "no trigger",
        "object_sha1": "",
        "pins": [],
        "reason": "",
        "error_code": "",
    } | fields


def daemon_status(*attachments: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """Return a daemon's status."""
    return {
        "version": "1.2.3",
        "pid": 42,
        "degraded": False,
        "config": "/etc/xdploaderd/xdploaderd.yaml",
        "pinning": "",
        "config_error": "",
        "attachments": list(attachments),
    } | fields
