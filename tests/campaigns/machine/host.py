"""Interfaces and programs of others, and the hooks as ip(8) and tc(8) show them."""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.campaigns.machine.things import TCX
from tests.support.netns import ip, tc
from tests.support.rawbpf import RawPrograms, pin, pinned_link, returning, tcx_programs
from xdploaderd.hooks import Hook
from xdploaderd.uapi.bpf import ProgType

MODES = {1: "native", 2: "skb", 3: "offload"}  # XDP_ATTACHED_* of if_link.h
WORDS = {"native": "xdpdrv", "skb": "xdpgeneric"}  # of ip(8) for them
MTU, LARGE_MTU = "1500", "9000"  # with the latter on its other end, a veth refuses native mode
LINK_XDP = 6  # BPF_LINK_TYPE_XDP
ATTACH_TCX = {Hook.TC_INGRESS: 46, Hook.TC_EGRESS: 47}  # enum bpf_attach_type
OWN = Path("/sys/fs/bpf/xdploaderd")  # where the daemon's are
OTHERS = Path("/sys/fs/bpf/others")  # where the programs of others are pinned
XDP_PASS, TC_OK = 2, 0


class Spot(NamedTuple):
    """Where one program runs; `slot` is a filter's priority, 0 for XDP."""

    ifindex: int
    hook: Hook
    slot: int = 0


class Seen(NamedTuple):
    """What the tools show: the index of each interface by name, the program on each spot, the modes of XDP.

    `links`: what our pinned links tell of themselves; `chains`: the programs of the TCX hooks.
    """

    interfaces: Mapping[str, int]
    programs: Mapping[Spot, int]
    modes: Mapping[int, str]
    links: Mapping[Spot, int]
    chains: Mapping[tuple[int, Hook], tuple[int, ...]]


def add(name: str) -> None:
    """Make an interface, a veth whose other end gets a name from the kernel."""
    ip("-batch", "-", text=f"link add {name} type veth\nlink set {name} up\n")


def delete(names: Sequence[str]) -> None:
    """Delete interfaces, all at once."""
    if names:
        ip("-batch", "-", text="".join(f"link set {name} group 14\n" for name in names) + "link del group 14\n")


class Eyes:
    """ip(8) and tc(8), which answer one question after the other: to start them takes longer than to look."""

    def __init__(self) -> None:
        self._tools = {tool: _in_batch(tool) for tool in ("ip", "tc")}

    def close(self) -> None:
        """End the tools."""
        for tool in self._tools.values():
            tool.communicate()

    def observe(self, names: Sequence[str]) -> Seen:
        """Ask about the interfaces there are, `names` at most."""
        links = {link["ifname"]: link for link in self._ask("ip", "link show") if link["ifname"] in names}
        programs, modes = {}, {}
        for link in links.values():
            index = link["ifindex"]
            if "xdp" in link:
                programs[Spot(index, Hook.XDP)] = link["xdp"]["prog"]["id"]
                modes[index] = MODES[link["xdp"]["mode"]]
            for hook in (Hook.TC_INGRESS, Hook.TC_EGRESS):
                for item in self._ask("tc", f"filter show dev if{index} {_direction(hook)}"):  # names, it would cache
                    if "options" in item:
                        programs[Spot(index, hook, item["pref"])] = item["options"]["prog"]["id"]
        interfaces = {name: link["ifindex"] for name, link in links.items()}
        pinned = dict(_links())
        chains = {(i, h): tcx_programs(i, kind) for i in interfaces.values() for h, kind in ATTACH_TCX.items()}
        assert all(programs.get(spot) == number for spot, number in pinned.items() if not spot.slot), "XDP by link"
        return Seen(interfaces, programs | pinned, modes, pinned, chains)

    def index_of(self, name: str) -> int:
        """Return the index of an interface."""
        return next(int(link["ifindex"]) for link in self._ask("ip", "link show") if link["ifname"] == name)

    def peer_of(self, name: str) -> str:
        """Return the name of a veth's other end."""
        return next(str(link["link"]) for link in self._ask("ip", "link show") if link["ifname"] == name)

    def _ask(self, tool: str, question: str) -> Any:
        process = self._tools[tool]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{question}\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())


def _links() -> Iterator[tuple[Spot, int]]:
    hooks = {kind: hook for hook, kind in ATTACH_TCX.items()}
    for file in OWN.glob("*/link*"):
        link = pinned_link(file)
        hook = Hook.XDP if link.type == LINK_XDP else hooks[link.attach_type]
        slot = 0 if hook is Hook.XDP else TCX[file.parent.name]
        if link.ifindex:
            yield Spot(link.ifindex, hook, slot), link.prog_id


def _in_batch(tool: str) -> "subprocess.Popen[str]":
    command = [tool, "-j", "-force", "-batch", "-"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)


def _direction(hook: Hook) -> str:
    return hook.value.removeprefix("tc-")


def pin_others() -> Mapping[Hook, int]:
    """Pin a program of somebody else's for each kind of hook, and return its id by hook."""
    OTHERS.mkdir()
    ids = {}
    for kind, verdict, name in ((ProgType.XDP, XDP_PASS, "xdp"), (ProgType.SCHED_CLS, TC_OK, "tc")):
        with returning(kind, verdict, f"other_{name}") as prog:
            pin(prog, OTHERS / name)
            ids[name] = RawPrograms().prog_info(prog).id
    return {hook: ids["xdp" if hook is Hook.XDP else "tc"] for hook in Hook}


def take_off(name: str, spot: Spot, mode: str) -> None:
    """Take a program off, if there is one, of XDP in that mode."""
    if spot.hook is Hook.XDP:
        run("ip", "link", "set", name, WORDS[mode], "off")
    else:
        run("tc", "filter", "del", "dev", name, _direction(spot.hook), "pref", str(spot.slot))


def put_other(name: str, spot: Spot, mode: str) -> None:
    """Put the program of others on a hook by force, of XDP in that mode."""
    if spot.hook is Hook.XDP:
        run("ip", "-force", "link", "set", name, WORDS[mode], "pinned", str(OTHERS / "xdp"))
        return
    run("tc", "qdisc", "add", "dev", name, "clsact")
    what = ("pref", str(spot.slot), "handle", "1", "bpf", "da", "object-pinned", str(OTHERS / "tc"))
    tc("filter", "replace", "dev", name, _direction(spot.hook), *what)


def run(*command: str) -> None:
    """Run a tool that may find nothing to do."""
    subprocess.run(command, capture_output=True, check=False)
