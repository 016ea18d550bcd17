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


def _other_kind(entry: Entry) -> Entry:
    kind = {"link": "netlink"}.get(str(entry.get("attach", "netlink")), "link")
    keys = {k: v for k, v in entry.items() if k not in ("order", "protocol") and (kind == "netlink" or k != "priority")}
    return {**keys, "attach": kind, "allow_gap": True}


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


def _by_match(entry: Entry) -> Entry:
    """Want it on every interface, or, for one that has been, on its own by a pattern."""
    keys = {key: value for key, value in entry.items() if key not in ("interface", "match")}
    interface = str(entry.get("interface", ""))
    return {**keys, "match": {"name": f"{interface[:-1]}[{interface[-1]}]" if interface else "i*"}}


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
    "other kind": ByHand(each(_other_kind), gap=True),
    "mode skb": ByHand(each(_other_mode), gap=True),
    "other priority": ByHand(each(_other_priority)),
    "shared": ByHand(each(_shared_or_not)),
    "by match": ByHand(each(_by_match)),
    "made anew": ByHand(_made_anew),
    "renamed": ByHand(_renamed),
    "pinning.conf": ByHand(_pinning),
}
