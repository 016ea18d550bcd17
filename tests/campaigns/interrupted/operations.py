"""What a daemon is killed in: what is in force before, what happens, and what the daemon then does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.campaigns.interrupted.scene import GRACE_SECONDS, Entry, Scene, add, delete
from tests.support.netns import ip, tc

EDGE: Entry = {"name": "edge", "interface": "i0", "hook": "xdp", "object": "a", "program": "stamp_xdp"}
SIDE: Entry = {"name": "side", "interface": "i0", "hook": "tc-egress", "object": "a", "program": "stamp_tc"}
TAIL: Entry = {"name": "tail", "interface": "i0", "hook": "tc-ingress", "object": "tail", "program": "tail_main"}
WIRE: Entry = {**EDGE, "name": "wire", "interface": "i1", "attach": "link"}
TCX: Entry = {**SIDE, "name": "tcx", "interface": "i1", "attach": "link"}
USUAL = (EDGE, TAIL, WIRE, TCX)
GAP: Entry = {"allow_gap": True}


def nothing(_scene: Scene) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """`entries` are in force, `happens` changes files or interfaces, and `act` is what the daemon does then.

    `gap`: it leaves a moment without a program. `asks`: for something that is in no file.
    """

    entries: tuple[Entry, ...]
    act: Callable[[Scene], None]
    before: Callable[[Scene], None] = nothing
    happens: Callable[[Scene], None] = nothing
    gap: bool = False
    asks: bool = False


def _reload(scene: Scene) -> None:
    scene.request("reload")


def _rest(scene: Scene) -> None:
    scene.core.rest()


def _to(*entries: Entry) -> Callable[[Scene], None]:
    return lambda scene: scene.configure(*entries)


def _orphaned(scene: Scene) -> None:
    """Have programs without entries, whose grace time is over."""
    scene.core.end()
    scene.configure(EDGE)
    scene.start()
    scene.clock.ahead += GRACE_SECONDS


def _made_anew(scene: Scene) -> None:
    delete("i0")
    add("i0")


def _deleted(scene: Scene) -> None:
    delete("i0")


def _renamed(scene: Scene) -> None:
    ip("link", "set", "i0", "down")
    ip("link", "set", "i0", "name", "i9")
    ip("link", "set", "i9", "up")


def _altname_moved(scene: Scene) -> None:
    ip("link", "property", "del", "dev", "i0", "altname", "alt-i0")
    ip("link", "property", "add", "dev", "i2", "altname", "alt-i0")


def _altname_gone(scene: Scene) -> None:
    ip("link", "property", "del", "dev", "i0", "altname", "alt-i0")


def _taken_off(scene: Scene) -> None:
    ip("link", "set", "i0", "xdp", "off")
    tc("qdisc", "del", "dev", "i0", "clsact")


def _low_mtu(scene: Scene) -> None:
    ip("link", "set", "pi0", "mtu", "1500")
    ip("link", "set", "i0", "mtu", "1500")


def _high_mtu(scene: Scene) -> None:
    scene.configure()
    scene.request("reload")
    ip("link", "set", "pi0", "mtu", "9000")
    ip("link", "set", "i0", "mtu", "9000")
    scene.configure(*scene.first)
    scene.request("reload")


def _runtime(scene: Scene) -> None:
    """Attach two runtime entries where globs have their programs."""
    scene.attach_runtime({**EDGE, "name": "mine", "object": "b"})
    scene.attach_runtime({**TAIL, "name": "theirs", "object": "b", "program": "stamp_tc"})


def _runtime_ends(scene: Scene) -> None:
    scene.request("detach", "mine")
    scene.request("detach", "theirs")


def _at(interface: str, *entries: Entry) -> tuple[Entry, ...]:
    return tuple({**entry, "interface": interface} for entry in entries)


def _each(entries: tuple[Entry, ...], **fields: object) -> tuple[Entry, ...]:
    return tuple({**entry, **fields} for entry in entries)


def _glob(entry: Entry, called: str, **match: str) -> Entry:
    return {**{key: value for key, value in entry.items() if key != "interface"}, "name": called, "match": match}


GLOBS = _glob(EDGE, "all", name="i*"), _glob(TAIL, "tails", name="i*")
BY_ALTNAME = _glob(EDGE, "alts", altname="alt*"), _glob(TAIL, "alttails", altname="alt*")
SHARED = _each(
    (EDGE, {**EDGE, "name": "edge1", "interface": "i1"}, TAIL, {**TAIL, "name": "tail1", "interface": "i1"}),
    maps="shared",
)
LADDER: Entry = {**EDGE, "modes": ["native", "skb"], **GAP}
KEEP: Entry = {**EDGE, "object": "maps", "program": "use_maps", "keep_maps": ["flows"]}


def _ordered(first: str, second: str) -> tuple[Entry, ...]:
    base: Entry = {**SIDE, "attach": "link", **GAP}
    one, two = {**base, "name": "one", "order": first}, {**base, "name": "two", "object": "b", "order": second}
    return one, two, {**base, "name": "three"}


def _changed(*names: str) -> Callable[[Scene], None]:
    return lambda scene: scene.change(*names)


def _kinds(attach: str) -> tuple[Entry, ...]:
    return _each((EDGE, SIDE), attach=attach, **GAP)


def _reloaded(entries: tuple[Entry, ...], happens: Callable[[Scene], None], *, gap: bool = False) -> Operation:
    return Operation(entries=entries, happens=happens, act=_reload, gap=gap)


def _noticed(entries: tuple[Entry, ...], happens: Callable[[Scene], None]) -> Operation:
    return Operation(entries=entries, happens=happens, act=_rest)


def _asked(
    entries: tuple[Entry, ...], act: Callable[[Scene], None], before: Callable[[Scene], None] = nothing
) -> Operation:
    return Operation(entries=entries, act=act, before=before, asks=True)


RELOADS: Mapping[str, Operation] = {
    "changed": _reloaded(USUAL, _changed("a", "tail")),
    "ended": _reloaded(USUAL, _to()),
    "begun": _reloaded((), _to(*USUAL)),
    "exchanged": _reloaded((EDGE, TAIL), _to(SIDE, WIRE)),
    "moved": _reloaded((EDGE, TAIL), _to(*_at("i2", EDGE, TAIL))),
    "named otherwise": _reloaded(USUAL, _to(*({**entry, "name": f"{entry['name']}2"} for entry in USUAL))),
    "priority": _reloaded((TAIL,), _to({**TAIL, "priority": 9})),
    "exact begun": _reloaded(GLOBS, _to(*GLOBS, EDGE, TAIL)),
    "exact ended": _reloaded((*GLOBS, EDGE, TAIL), _to(*GLOBS)),
    "shared changed": _reloaded(SHARED, _changed("a", "tail")),
    "shared ended": _reloaded(SHARED, _to()),
    "shared moved": _reloaded(SHARED[::2], _to(*SHARED[1::2])),
    "shared no more": _reloaded(SHARED, _to(*_each(SHARED, maps="per-interface"))),
    "maps kept": _reloaded((KEEP,), _changed("maps")),
    "maps kept ended": _reloaded((KEEP,), _to()),
    "order": _reloaded(_ordered("first", "last"), _to(*_ordered("last", "first")), gap=True),
    "order by name": _reloaded(_ordered("first", "after:one"), _to(*_ordered("last", "before:one")), gap=True),
    "to link": _reloaded(_kinds("netlink"), _to(*_kinds("link")), gap=True),
    "to netlink": _reloaded(_kinds("link"), _to(*_kinds("netlink")), gap=True),
    "to skb": _reloaded(({**EDGE, "mode": "native", **GAP},), _to({**EDGE, "mode": "skb", **GAP}), gap=True),
    "to protocol": _reloaded(({**TAIL, **GAP},), _to({**TAIL, "protocol": "ip", **GAP}), gap=True),
}
PASSES: Mapping[str, Operation] = {
    "orphans swept": Operation(entries=USUAL, before=_orphaned, act=lambda scene: scene.core.look()),
    "made anew": _noticed((EDGE, TAIL, SIDE), _made_anew),
    "links made anew": _noticed(_at("i0", WIRE, TCX), _made_anew),
    "deleted": _noticed((EDGE, TAIL, *_at("i0", TCX)), _deleted),
    "shared deleted": _noticed(SHARED, _deleted),
    "renamed": _noticed(GLOBS, _renamed),
    "renamed away": _noticed((EDGE, TAIL), _renamed),
    "altname moved": _noticed(_at("alt-i0", EDGE, TAIL), _altname_moved),
    "altname of links moved": _noticed(_at("alt-i0", WIRE, TCX), _altname_moved),
    "match ended": _noticed(BY_ALTNAME, _altname_gone),
    "taken off": _noticed(_each((EDGE, TAIL), on_foreign="restore"), _taken_off),
    "better mode": Operation(entries=(LADDER,), before=_high_mtu, happens=_low_mtu, act=_rest, gap=True),
    "better mode by link": Operation(
        entries=({**LADDER, "attach": "link"},), before=_high_mtu, happens=_low_mtu, act=_rest, gap=True
    ),
}
REQUESTS: Mapping[str, Operation] = {
    "detach": _asked(USUAL, lambda scene: scene.request("detach", "tail")),
    "detach of a link": _asked(USUAL, lambda scene: scene.request("detach", "tcx")),
    "attach": _asked(
        USUAL, lambda scene: scene.request("attach", "tail"), lambda scene: scene.request("detach", "tail")
    ),
    "runtime entries": _asked(GLOBS, _runtime),
    "heirs": _asked(GLOBS, _runtime_ends, _runtime),
}
OPERATIONS: Mapping[str, Operation] = {**RELOADS, **PASSES, **REQUESTS}
