"""The same command lines twice, by the real `ip` and `tc` and by ours: what they end with and what they leave.

What cannot be equal is taken out: ids, times of load, BTF ids, addresses, our own directory on the BPF file system, and
the names of programs where the other loader gives none.
"""

import json
import os
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import sandbox

OBJECTS = Path(__file__).parents[1] / "bpf"
ROOT = Path(__file__).parents[2]
DEVICE, PEER = "veth0", "peer0"
OURS: Mapping[str, Sequence[str]] = {
    tool: (sys.executable, "-m", "xdploaderd.cli.main", tool, "--direct") for tool in ("ip", "tc")
}
_OWN_DIR = "xdploaderctl"
_VOLATILE_KEYS = frozenset({"id", "load_time", "created_by_uid", "btf_id", "ifindex", "link_index", "address"})
_VOLATILE_TEXT = re.compile(r"\b(id|load_time|btf_id) \d+ ?|^\d+: |link/ether \S+|promiscuity.*", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Step:
    """One command line, its exit status, and how interface, filters and BPF file system look behind it."""

    line: str
    status: int
    link: Any
    link_text: str
    filters: Any
    tree: tuple[str, ...]


def run_lines(lines: Sequence[str], tools: Mapping[str, Sequence[str]], *, names: bool = True) -> list[Step]:
    """Run lines, their first words as `tools` say, and clean up; interfaces are fresh and no pin is there before.

    Objects are named as in tests/bpf. Without `names`, names of programs are no part of the result.
    """
    subprocess.run(["ip", "link", "add", DEVICE, "type", "veth", "peer", "name", PEER], check=True)
    try:
        return [_run(line, tools, names=names) for line in lines]
    finally:
        subprocess.run(["ip", "link", "del", DEVICE], check=True)
        sandbox.clear_pins()


def _run(line: str, tools: Mapping[str, Sequence[str]], *, names: bool) -> Step:
    words = shlex.split(line)
    argv = [*tools.get(words[0], words[:1]), *words[1:]]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, check=False, cwd=OBJECTS, env=env, capture_output=True, stdin=subprocess.DEVNULL)
    return Step(
        line=line,
        status=done.returncode,
        link=_stable(_json("ip", "-j", "-d", "link", "show", "dev", DEVICE), names=names),
        link_text=_stable_text(_text("ip", "-d", "link", "show", "dev", DEVICE), names=names),
        filters=[
            _stable(_json("tc", "-j", "-d", *what, "show", "dev", DEVICE, *where), names=names)
            for what, where in ((("qdisc",), ()), (("filter",), ("ingress",)), (("filter",), ("egress",)))
        ],
        tree=_tree(),
    )


def _text(*argv: str) -> str:
    return subprocess.run(argv, check=False, capture_output=True, text=True).stdout


def _json(*argv: str) -> Any:
    return json.loads(_text(*argv) or "null")


def _stable(value: Any, *, names: bool) -> Any:
    if isinstance(value, list):
        return [_stable(item, names=names) for item in value]
    if not isinstance(value, dict):
        return value
    left_out = _VOLATILE_KEYS if names or "tag" not in value else _VOLATILE_KEYS | {"name"}
    return {key: _stable(item, names=names) for key, item in value.items() if key not in left_out}


def _stable_text(text: str, *, names: bool) -> str:
    stable = _VOLATILE_TEXT.sub("", text)
    return stable if names else re.sub(r"\bname \S* ", "", stable)


def _tree() -> tuple[str, ...]:
    """Return every path of the BPF file system with its mode, and where links lead."""
    found = []
    for path in map(Path, sorted(sandbox.pin_tree())):
        if path.suffix == ".debug" or _OWN_DIR in path.parts:
            continue
        leads_to = f" -> {os.readlink(path)}" if path.is_symlink() else ""
        found.append(f"{stat.filemode(path.lstat().st_mode)} {path}{leads_to}")
    return tuple(found)
