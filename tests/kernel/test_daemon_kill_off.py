"""A program that is being taken off when the daemon is killed: off or on, it is as the files of the next start say."""

import json
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest

from tests.campaigns.machine.core import Clock, Core
from tests.campaigns.machine.settling import GRACE
from tests.support.daemon import OWN_PINS, tail_entry, tc_ids, xdp_entry, xdp_ids
from tests.support.netns import Veth, ip, tc, two_veth_pairs
from tests.support.old_kernel import NEEDS_TCX
from tests.support.rawbpf import ATTACH_TCX_INGRESS, tcx_programs
from xdploaderd.daemon.plan.status import State

pytestmark = [pytest.mark.kernel, NEEDS_TCX]

Entry = dict[str, object]
MakeEntry = Callable[..., Entry]
MOST_CALLS = 60
FEWEST_CALLS = 5  # that such a change takes: fewer, and nothing was killed
MATCH = {"interface": None, "match": {"altname": "edge*"}}


@pytest.fixture
def veth() -> Iterator[Veth]:
    """Yield the pair of veth0, which has another name besides; veth8 and its peer are there too."""
    with two_veth_pairs() as pair:
        ip("link", "property", "add", "dev", "veth0", "altname", "edge0")
        yield pair


def configure(core: Core, entries: Sequence[Entry]) -> None:
    wanted = [{key: value for key, value in entry.items() if value is not None} for entry in entries]
    core.config.write_text(json.dumps({"attachments": wanted}, default=str))


def states(core: Core) -> set[State]:
    return {status.state for status in core.call(core.service.status()).attachments}


def running() -> Mapping[str, int]:
    """Return the program of each of our interfaces that has one, on whatever hook."""
    programs = dict(xdp_ids())
    for name in ("veth0", "veth8"):
        chain = tcx_programs(socket.if_nametoindex(name), ATTACH_TCX_INGRESS)
        programs.update((name, prog_id) for prog_id in (*tc_ids(name), *chain))
    return programs


def pinned() -> set[str]:
    return {path.name for path in OWN_PINS.iterdir()} if OWN_PINS.exists() else set()


@pytest.mark.parametrize("attach", ["netlink", "link"])
@pytest.mark.parametrize("make", [xdp_entry, tail_entry])
def test_entry_that_matches_again_after_a_kill_is_attached_and_nobody_else_is_blamed(
    core: Core, make: MakeEntry, attach: str
) -> None:
    configure(core, [make(**MATCH, attach=attach)])
    core.start()
    before = running().keys()
    for calls in range(MOST_CALLS):
        ip("link", "property", "del", "dev", "veth0", "altname", "edge0")
        core.kill_in(core.one_pass(), calls)
        survived = not pinned()
        ip("link", "property", "add", "dev", "veth0", "altname", "edge0")
        core.start()
        assert (states(core), running().keys()) == ({State.ATTACHED}, before), f"killed at call {calls}"
        if survived:
            break
    assert FEWEST_CALLS < calls < MOST_CALLS - 1


@pytest.mark.parametrize("attach", ["netlink", "link"])
@pytest.mark.parametrize("make", [xdp_entry, tail_entry])
def test_entry_that_goes_is_off_after_a_kill_and_leaves_the_shared_program_to_the_other(
    core: Core, clock: Clock, make: MakeEntry, attach: str
) -> None:
    both = [make(name, interface=name, maps="shared", attach=attach) for name in ("veth0", "veth8")]
    for calls in range(MOST_CALLS):
        configure(core, both)
        core.start()
        (shared,) = set(running().values())
        configure(core, both[1:])
        core.kill_in(core.service.reload(), calls)
        survived = pinned() == {"veth8"}
        core.start()
        clock.ahead += 2 * GRACE  # an entry that is gone before the start leaves an orphan
        core.look()
        assert (states(core), running(), pinned()) == ({State.ATTACHED}, {"veth8": shared}, {"veth8"}), f"call {calls}"
        core.end()
        if survived:
            break
    assert FEWEST_CALLS < calls < MOST_CALLS - 1


def has_clsact() -> bool:
    return "clsact" in tc("qdisc", "show", "dev", "veth0")


@pytest.mark.parametrize("others", [False, True], ids=["made for it", "of others"])
def test_clsact_goes_with_the_filter_that_a_kill_left_to_nobody(core: Core, clock: Clock, *, others: bool) -> None:
    if others:
        tc("qdisc", "add", "dev", "veth0", "clsact")
    for calls in range(MOST_CALLS):
        configure(core, [])
        core.start()
        configure(core, [tail_entry()])
        core.kill_in(core.service.reload(), calls)
        survived = (OWN_PINS / "tail" / "prog").exists()
        configure(core, [])
        core.start()
        clock.ahead += 2 * GRACE
        core.kill_in(core.one_pass(), calls // 2)  # which takes it off
        core.start()
        clock.ahead += 2 * GRACE
        core.look()
        assert (tc_ids(), pinned(), has_clsact()) == ([], set(), others), f"killed at call {calls}"
        core.end()
        if survived:
            break
    assert FEWEST_CALLS < calls < MOST_CALLS - 1


def test_clsact_with_filters_of_others_is_theirs_when_ours_has_gone(core: Core) -> None:
    configure(core, [tail_entry()])
    core.start()
    tc("filter", "add", "dev", "veth0", "ingress", "pref", "9", "bpf", "bytecode", "1,6 0 0 0,")
    configure(core, [])
    core.call(core.service.reload())
    core.writes.done.clear()
    core.look()
    assert (tc_ids(), has_clsact(), core.writes.done) == ([], True, [])
    tc("filter", "del", "dev", "veth0", "ingress", "pref", "9")
    core.rest()
    assert (has_clsact(), core.writes.done) == (True, [])
