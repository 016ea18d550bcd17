"""What somebody does by hand while no daemon runs, after one was killed: to the files, or to an interface."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.campaigns.interrupted.operations import nothing
from tests.campaigns.interrupted.scene import Entry, Scene, add, delete
from tests.support.netns import ip


@dataclass(frozen=True, slots=True)
class ByHand:
    """`gap`: what it asks for leaves a moment without a program."""

    do: Callable[[Scene], None]
    gap: bool = False


def each(change: Callable[[Entry], Entry]) -> Callable[[Scene], None]:
    """Write every entry anew."""
    return lambda scene: scene.configure(*map(change, scene.entries))


def _on_i2(entry: Entry) -> Entry:
    return entry if "match" in entry else {**entry, "interface": "i2"}


def _named_otherwise(entry: Entry) -> Entry:
    return {**entry, "name": f"{entry['name']}x"}


def _other_priority(entry: Entry) -> Entry:
    return entry if entry["hook"] == "xdp" or "attach" in entry else {**entry, "priority": 33}


def _shared_or_not(entry: Entry) -> Entry:
    return {**entry, "maps": "per-interface" if entry.get("maps") == "shared" else "shared"}


def _other_kinds(scene: Scene) -> None:
    """Make links of what is none, and the other way round: filters with priorities of their own."""
    changed: list[Entry] = []
    for number, entry in enumerate(scene.entries):
        keys = {key: value for key, value in entry.items() if key not in ("order", "protocol", "priority")}
        kind = "netlink" if entry.get("attach") == "link" else "link"
        place = {"priority": 10 + number} if kind == "netlink" and entry["hook"] != "xdp" else {}
        changed.append({**keys, "attach": kind, "allow_gap": True, **place})
    scene.configure(*changed)


def _other_mode(entry: Entry) -> Entry:
    keys = {key: value for key, value in entry.items() if key != "modes"}
    return {**keys, "mode": "skb", "allow_gap": True} if entry["hook"] == "xdp" else entry


def _made_anew(scene: Scene) -> None:
    delete("i0", "i9")
    add("i0")


def _renamed(scene: Scene) -> None:
    there = scene.eyes.interfaces()
    old, new = next((pair for pair in (("i0", "i7"), ("i9", "i0")) if pair[0] in there), ("i1", "i7"))
    ip("-batch", "-", text=f"link set {old} down\nlink set {old} name {new}\nlink set {new} up\n")


def _by_match(scene: Scene) -> None:
    """Want each entry by a pattern of its interface's name; those that are by match already on every interface."""
    globs = tuple(entry for entry in scene.entries if "match" in entry)  # two patterns for one hook would be refused
    exact = () if globs else scene.entries
    scene.configure(
        *({**entry, "match": {"name": "i*"}} for entry in globs),
        *({**_without_interface(entry), "match": {"name": _pattern(str(entry["interface"]))}} for entry in exact),
    )


def _without_interface(entry: Entry) -> Entry:
    return {key: value for key, value in entry.items() if key != "interface"}


def _pattern(name: str) -> str:
    return f"{name[:-1]}[{name[-1]}]"


def _pinning(scene: Scene) -> None:
    (scene.directory / "pinning.conf").write_text("7 other\n")


BY_HAND: Mapping[str, ByHand] = {
    "nothing": ByHand(nothing),
    "old files again": ByHand(lambda s: s.configure(*s.first)),
    "no entry": ByHand(lambda s: s.configure()),
    "half of the entries": ByHand(lambda s: s.configure(*s.entries[::2])),
    "other objects": ByHand(lambda s: s.change("a", "tail", "maps")),
    "other names": ByHand(each(_named_otherwise)),
    "other interface": ByHand(each(_on_i2)),
    "other kind": ByHand(_other_kinds, gap=True),
    "mode skb": ByHand(each(_other_mode), gap=True),
    "other priority": ByHand(each(_other_priority)),
    "shared": ByHand(each(_shared_or_not)),
    "by match": ByHand(_by_match),
    "made anew": ByHand(_made_anew),
    "renamed": ByHand(_renamed),
    "pinning.conf": ByHand(_pinning),
}
