"""G10: one bad entry among many changes nothing at a reload, wherever it stands and whatever is bad about it (F19)."""

from pathlib import Path

import pytest

from tests.campaigns import tracing
from tests.campaigns.figures import Figures, spread, timed
from tests.support.daemon import OBJECTS, Daemon, daemon_in, tail_entry, tc_ids, xdp_entry, xdp_id
from tests.support.kernel_writes import kernel_writes, to_file
from tests.support.netns import ip, two_veth_pairs
from tests.support.sandbox import pin_tree
from xdploaderd.errors import LoaderError

KINDS = ("syntax", "interface", "file", "verifier", "pin", "busy")
LOADING = ("BPF_BTF_LOAD", "BPF_MAP_CREATE", "BPF_PROG_LOAD", "BPF_MAP_UPDATE", "BPF_MAP_FREEZE", "BPF_PROG_BIND_MAP")
OWN_PIN = "/sys/fs/bpf/reject_count"  # of the object that the verifier refuses: made, and taken back
NEEDS_A_LOAD = ("verifier", "pin")  # only the kernel can tell: what is bad shows while the entry itself is loaded

Entry = dict[str, object]


def entries(count: int) -> list[Entry]:
    """Return entries on veth0: XDP, and tc filters with a program and an array each."""
    filters = [tail_entry(f"tail-{number}", priority=number) for number in range(2, count + 1)]
    return [xdp_entry(), *filters]


def bad_entry(kind: str, directory: Path) -> Entry:
    """Return an entry that cannot be carried out."""
    match kind:
        case "syntax":
            return xdp_entry("bad", interface="veth8", mode="fast")
        case "interface":
            return xdp_entry("bad", interface="a/b")
        case "file":
            return xdp_entry("bad", interface="veth8", object=directory / "none.o")
        case "verifier":
            return xdp_entry("bad", interface="veth8", object=OBJECTS / "reject.bpf.o", program="bad")
        case "pin":
            return xdp_entry("bad", interface="veth8", max_entries={"xdp_frames": 7})
        case _:
            ip("link", "set", "veth8", "xdpdrv", "obj", str(OBJECTS / "xdp_pass.bpf.o"), "sec", "xdp")
            return xdp_entry("bad", interface="veth8")


def world(interfaces: tuple[str, ...] = ("veth0", "veth8")) -> tuple[object, ...]:
    """Return the programs on the hooks, by id, and all pins."""
    return *((xdp_id(name), *tc_ids(name)) for name in interfaces), frozenset(pin_tree())


def run(directory: Path, rounds: int) -> Figures:
    """Reload `rounds` entries of which one is bad, first, in the middle and last; AssertionError where it is felt."""
    took: list[float] = []
    writes = dict.fromkeys(KINDS, 0)
    with two_veth_pairs(), daemon_in(directory) as daemon:
        good = entries(rounds - 1)
        daemon.configure(*good)
        daemon.start()
        bad_entry("busy", directory)  # ip(8) leaves directories of its own behind
        ip("link", "set", "veth8", "xdp", "off")
        before, programs = world(), _programs(daemon)
        for position in (0, rounds // 2, rounds - 1):
            for kind in KINDS:
                daemon.configure(*good[:position], bad_entry(kind, directory), *good[position:])
                seen = world()
                with tracing.traced(daemon.pid, to_file(directory / "trace")), timed(took):
                    _refused(daemon)
                _check_writes(kind, directory / "trace", writes)
                assert (world(), _programs(daemon)) == (seen, programs), f"{kind} at {position}"
            ip("link", "set", "veth8", "xdp", "off")
        assert world() == before
        daemon.configure(*good)
        with tracing.traced(daemon.pid, to_file(directory / "trace")):
            daemon.call("Reload")
        assert not kernel_writes(directory / "trace")
        daemon.configure()
        daemon.call("Reload")
    return {"entries": rounds, "bad ones": len(took), "changed": 0, "writes of the good reload": 0,
            **{f"writes, {kind}": number for kind, number in writes.items()}, **spread("refused", took)}  # fmt: skip


def _refused(daemon: Daemon) -> None:
    with pytest.raises(LoaderError, match=r"bad|a/b|fast"):
        daemon.call("Reload")


def _programs(daemon: Daemon) -> dict[str, int]:
    found = daemon.call("Status")["status"]["attachments"]
    assert {a["state"] for a in found} == {"attached"}, daemon.log()
    return {a["name"]: a["prog_id"] for a in found}


def _check_writes(kind: str, trace: Path, writes: dict[str, int]) -> None:
    found = kernel_writes(trace)
    more = [line for line in found if kind not in NEEDS_A_LOAD or not any(word in line for word in (*LOADING, OWN_PIN))]
    assert not more, f"{kind}: {more}"
    writes[kind] = max(writes[kind], len(found))
