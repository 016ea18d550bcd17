"""A shared program that an entry was to leave and has not: whose place that is."""

from dataclasses import replace

import pytest

from tests.daemon.fake_world import FakeWorld, entry, want
from xdploaderd.daemon.plan.actions import Detach
from xdploaderd.daemon.plan.planner import make_plan
from xdploaderd.daemon.plan.world import Place


def add(world: FakeWorld, name: str, *, at: Place | None = None, left: Place | None = None) -> None:
    """Pin program 7 for an entry, attached `at` one place and taken off the one `left`."""
    owned = world.add_owned(entry(name), 7)
    assert owned.record is not None
    record = replace(owned.record, ifindex=at.ifindex if at else 0, left=left.ifindex if left else 0)
    world.owned[name] = replace(owned, record=record)


@pytest.mark.parametrize("other_is_there", [False, True])
def test_place_left_is_cleared_unless_another_entry_has_it(*, other_is_there: bool) -> None:
    world = FakeWorld("eth0", "eth1")
    left = world.place("eth0")
    there = left if other_is_there else world.place("eth1")
    add(world, "gone", left=left)
    add(world, "stays", at=there)
    world.hooks = {left: 7, there: 7}
    (action,) = make_plan((want(entry("stays", there.ifname)),), world.observed())
    assert isinstance(action, Detach)
    assert (action.name, action.places) == ("gone", () if other_is_there else (left,))
