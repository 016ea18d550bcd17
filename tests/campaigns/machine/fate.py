"""What fate and others do, to the interfaces and hooks and to the model alike."""

import shutil

from tests.campaigns.machine import host
from tests.campaigns.machine.bench import Bench
from tests.campaigns.machine.host import OWN, Spot
from tests.campaigns.machine.modes import NATIVE, SKB
from tests.campaigns.machine.things import Prog
from tests.support.rawbpf import set_map_word
from xdploaderd.hooks import Hook


def add(bench: Bench, name: str) -> None:
    host.add(name)
    index = bench.model.interfaces[name] = bench.eyes.index_of(name)
    bench.model.mtus[index] = int(host.MTU)


def delete(bench: Bench, name: str) -> None:
    host.delete([name])
    index = bench.model.interfaces.pop(name)
    bench.model.clear(*(spot for spot in bench.model.hooks if spot.ifindex == index))


def make_anew(bench: Bench, name: str) -> None:
    delete(bench, name)
    add(bench, name)


def rename(bench: Bench, name: str, new: str) -> None:
    host.run("ip", "link", "set", name, "name", new)
    bench.model.interfaces[new] = bench.model.interfaces.pop(name)


def set_link(bench: Bench, name: str, words: str) -> None:
    """Bring an interface up or down, or set its MTU."""
    host.run("ip", "link", "set", name, *words.split())
    index = bench.model.interfaces[name]
    if words.startswith("mtu"):
        bench.model.mtus[index] = int(words.split()[1])
    bench.down = bench.down | {index} if words == "down" else bench.down - {index} if words == "up" else bench.down


def set_peer_mtu(bench: Bench, name: str, mtu: str) -> None:
    """Set the MTU of a veth's other end, which the driver may refuse native mode for; in that mode it stays small."""
    peer = bench.eyes.peer_of(name)
    host.run("ip", "link", "set", peer, "mtu", mtu)
    index = bench.model.interfaces[name]
    if bench.model.modes.get(index) != NATIVE:
        bench.model.refusing = bench.model.refusing - {index} | ({index} if mtu == host.LARGE_MTU else set())


def take_off(bench: Bench, spot: Spot, name: str) -> None:
    """Somebody takes whatever there is off a hook."""
    bench.silent = _is_silent(bench, spot)
    host.take_off(name, spot, bench.model.modes.get(spot.ifindex, NATIVE))
    if spot not in bench.model.links:
        bench.model.clear(spot)


def put_other(bench: Bench, spot: Spot, name: str) -> None:
    """Somebody puts his own program on a hook, whatever is there."""
    bench.silent = _is_silent(bench, spot)
    mode = bench.model.modes.get(spot.ifindex, SKB if spot.ifindex in bench.model.refusing else NATIVE)
    host.put_other(name, spot, mode)
    if spot not in bench.model.links:  # else the kernel refuses it
        bench.model.hooks[spot] = bench.others[spot.hook]
        bench.model.modes |= {spot.ifindex: mode} if spot.hook is Hook.XDP else {}


def _is_silent(bench: Bench, spot: Spot) -> bool:
    """Whether the kernel tells nobody of a change (netdev_state_change)."""
    return spot.ifindex in bench.down and spot.hook is Hook.XDP


def delete_clsact(bench: Bench, name: str) -> None:
    """Somebody deletes clsact with all filters."""
    host.run("tc", "qdisc", "del", "dev", name, "clsact")
    index = bench.model.interfaces[name]
    bench.model.clear(*(spot for spot in bench.model.hooks if spot.ifindex == index and spot.slot > 0))


def write_file(bench: Bench, file: str, content: str) -> None:
    """Somebody replaces an object file; it is noticed by nobody until somebody asks."""
    bench.put_file(file, content)
    if bench.alive:
        bench.core.look()


def write_map(bench: Bench, prog: Prog, value: int) -> None:
    """Somebody, mostly the program itself, writes into its map."""
    set_map_word(prog.store.id, value)
    prog.store.value = value


def unpin(bench: Bench, name: str) -> None:
    """Somebody removes what is pinned for an attachment: what is no link runs on, known by its record alone."""
    linked = {s: bench.model.hooks[s].id for s in bench.model.spots_of(name) if s in bench.model.links}
    shutil.rmtree(OWN / name)
    bench.model.clear(*linked)
    own = bench.model.unpinned[name] = bench.model.own.pop(name)
    own.maps = False
    bench.wait_until_off(linked)
    if bench.alive:
        bench.core.look()


def detach_link(bench: Bench, name: str) -> None:
    """Somebody detaches the links of an attachment, of which the kernel tells nobody."""
    for file in OWN.glob(f"{name}/link*"):
        host.run("bpftool", "link", "detach", "pinned", str(file))
    bench.model.clear(*bench.model.links.intersection(bench.model.spots_of(name)))
    if bench.alive:
        bench.core.look()


def lose_state(bench: Bench, file: str, harm: str) -> None:
    """A state file is gone or damaged when the daemon starts: what it told is lost, and costs a load at most."""
    path = bench.core.state / file
    if path.exists():
        raw = path.read_bytes()
        path.unlink() if harm == "gone" else path.write_bytes(
            raw[:-1] + b"?" if harm == "changed" else raw[: len(raw) // 2]
        )
    match file:
        case "held":
            bench.model.held = set()
        case "runtime":
            bench.model.runtime = {}
        case "records":
            for own in bench.model.own.values():
                own.prog.key, own.on, own.left = None, 0, 0
            bench.model.unpinned = {}
