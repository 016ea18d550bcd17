"""G1: replacing a running program loses no packet, and none passes without a program."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.campaigns.figures import Figures, spread, timed
from tests.campaigns.flood import Seen, flood
from tests.support.daemon import OBJECTS, Daemon, daemon_in
from tests.support.netns import veth_pair

RATE = 45_000  # packets a second that are asked for; the goal is 30,000
VERSIONS = ("stamp.bpf.o", "stamp_v2.bpf.o")
XDP = {"name": "edge", "interface": "veth0", "hook": "xdp", "mode": "native", "program": "stamp_xdp"}
TC = {"name": "shape", "interface": "veth0", "hook": "tc-ingress", "program": "stamp_tc"}


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to replace programs: which entries there are, and whether a whole reload does it."""

    entries: tuple[Mapping[str, object], ...]
    reload: bool


KINDS: Mapping[str, Kind] = {
    "xdp-netlink": Kind((XDP,), reload=False),
    "xdp-link": Kind(({**XDP, "attach": "link"},), reload=False),
    "tc-filter": Kind((TC,), reload=False),
    "tcx-link": Kind(({**TC, "attach": "link"},), reload=False),
    "reload": Kind((XDP, TC), reload=True),
}


def run(directory: Path, rounds: int, kind: str = "xdp-netlink") -> Figures:
    """Replace `rounds` times under a flood; AssertionError where a packet is lost or passed without a program."""
    chosen = KINDS[kind]
    took: list[float] = []
    with veth_pair() as veth, daemon_in(directory) as daemon:
        change = _changer(daemon, directory, chosen)
        change(0)
        with flood(veth, RATE) as sender:
            sender.began()
            for number in range(1, rounds + 1):
                with timed(took):
                    change(number % 2)
            seen = sender.end()
    _check(seen, chosen)
    stamps = {"xdp": seen.xdp, "tc": seen.tc}
    without = sum(stamps["xdp" if entry["hook"] == "xdp" else "tc"][0] for entry in chosen.entries)
    return {
        "replaced": rounds,
        "packets": seen.sent,
        "packets/s": seen.rate,
        "lost": seen.lost,
        "without a program": without,
        **spread("replace", took),
    }


def _changer(daemon: Daemon, directory: Path, kind: Kind) -> Callable[[int], None]:
    """Start the daemon and return what puts a version of every program in force."""
    if not kind.reload:
        daemon.start()

        def attach(version: int) -> None:
            for entry in kind.entries:
                daemon.call("AttachObject", entry={**entry, "object": str(OBJECTS / VERSIONS[version])})

        return attach
    file = directory / "stamp.o"
    file.write_bytes((OBJECTS / VERSIONS[0]).read_bytes())
    daemon.configure(*({**entry, "object": file} for entry in kind.entries))
    daemon.start()

    def reload(version: int) -> None:
        file.write_bytes((OBJECTS / VERSIONS[version]).read_bytes())
        daemon.call("Reload")

    return reload


def _check(seen: Seen, kind: Kind) -> None:
    assert (seen.lost, seen.again) == (0, 0), seen
    for stamps in (seen.xdp if entry["hook"] == "xdp" else seen.tc for entry in kind.entries):
        assert stamps[0] == 0, f"packets without a program: {seen}"
        assert min(stamps[1:]) > 0, f"only one version saw packets: {seen}"
        assert sum(stamps) == seen.sent, seen
