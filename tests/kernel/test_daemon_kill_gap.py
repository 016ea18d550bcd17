"""A change that is cut short by a kill or a refused write: the daemon still knows where its programs are, and why."""

import json
from collections.abc import Mapping
from errno import ENOMEM

import pytest

from tests.campaigns.machine.core import Core
from tests.support.daemon import OBJECTS, tail_entry, tc_ids, xdp_entry, xdp_id, xdp_ids
from tests.support.netns import Veth, add_veth, ip, veth_pair
from xdploaderd.daemon.plan.status import State
from xdploaderd.daemon.service.requests import AttachRequest

pytestmark = pytest.mark.kernel

CHANGES = [
    ({"attach": "netlink"}, {"attach": "link"}),
    ({"attach": "link"}, {"attach": "netlink"}),
    ({"mode": "skb"}, {"mode": "native"}),
]


def configure(core: Core, fields: Mapping[str, str]) -> None:
    core.config.write_text(json.dumps({"attachments": [xdp_entry(**fields, allow_gap=True)]}, default=str))


@pytest.mark.parametrize("file", ["xdp_count.bpf.o", "xdp_count_v2.bpf.o"])
@pytest.mark.parametrize(("before", "after"), CHANGES)
def test_program_is_back_after_a_kill_in_the_gap_and_nobody_else_is_blamed(
    core: Core, before: Mapping[str, str], after: Mapping[str, str], file: str
) -> None:
    configure(core, before)
    core.start()
    configure(core, {**after, "object": str(OBJECTS / file)})
    core.kill_when(lambda: xdp_id() == 0, core.service.reload())
    assert xdp_id() == 0
    core.start()
    (edge,) = core.call(core.service.status()).attachments
    assert (edge.state, edge.prog_id) == (State.ATTACHED, xdp_id())


@pytest.mark.parametrize("there", [{"veth0", "veth1"}, {"veth1"}])
def test_program_that_moved_before_a_kill_is_missed_when_others_take_it_off(core: Core, there: set[str]) -> None:
    with veth_pair("veth1", "peer1"):
        configure(core, {})
        core.start()
        configure(core, {"interface": "veth1"})
        core.kill_when(lambda: xdp_ids().keys() == there, core.service.reload())
        assert xdp_ids().keys() == there
        core.start()
        assert xdp_ids().keys() == {"veth1"}
        ip("link", "set", "veth1", "xdp", "off")
        core.rest()
        (edge,) = core.call(core.service.status()).attachments
        assert (edge.state, xdp_ids()) == (State.FOREIGN, {})


@pytest.mark.parametrize("by_name", [False, True])
def test_filter_on_an_interface_made_anew_is_known_after_a_kill_and_another_name(
    veth: Veth, core: Core, *, by_name: bool
) -> None:
    core.config.write_text(json.dumps({"attachments": [tail_entry()]}, default=str))
    core.start()
    before = tc_ids()
    ip("link", "del", veth.name)
    add_veth(veth.name, veth.peer, veth.namespace)
    core.kill_when(lambda: tc_ids() == before, core.service.attach("tail") if by_name else core.service.reload())
    assert tc_ids() == before
    ip("-batch", "-", text="link set veth0 down\nlink set veth0 name veth7\nlink set veth7 up\n")
    core.start()
    (tail,) = core.call(core.service.status()).attachments
    assert (tail.state, tc_ids("veth7")) == (State.WAITING, [])
    ip("link", "del", "veth7")


def test_filter_that_cannot_be_taken_off_the_interface_it_leaves_is_taken_off_later(core: Core) -> None:
    def tail(interface: str) -> AttachRequest:
        return AttachRequest(entry={k: str(v) for k, v in tail_entry(interface=interface).items()})

    with veth_pair("veth1", "peer1"):
        core.config.touch()
        core.start()
        core.call(core.service.attach_object(tail("veth0")))
        before = tc_ids()
        core.writes.fail(3, ENOMEM)
        core.call(core.service.attach_object(tail("veth1")))
        assert core.writes.done.count("DELTFILTER") == 2  # the one that failed, and the next
        assert (tc_ids(), tc_ids("veth1")) == ([], before)
