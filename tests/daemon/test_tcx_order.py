"""TCX programs of ours whose orders contradict each other: a reload of all moves none of them to and fro."""

from dataclasses import replace

import pytest

from tests.daemon.fake_world import want
from tests.daemon.test_links import owned, place_of, tcx
from xdploaderd.daemon.plan import tcx_order
from xdploaderd.daemon.plan.world import Observed
from xdploaderd.hooks import Hook
from xdploaderd.info import Interface
from xdploaderd.uapi.bpf import Ifindex, ProgId

ETH0 = Interface(index=Ifindex(2), name="eth0")


def is_due(orders: dict[str, str], chain: str, name: str, *, asked: bool = False) -> bool:
    """Tell whether a reload puts entry `name` in its order, with programs of others where `chain` has an `x`."""
    numbers = {name: ProgId(number) for number, name in enumerate(orders, 1)}
    configs = {name: tcx(name, order=order, allow_gap=True) for name, order in orders.items()}
    ours = {name: owned(config, numbers[name], order=config.order) for name, config in configs.items()}
    programs = tuple((numbers.get(each, ProgId(99)), each) for each in chain)
    observed = Observed(interfaces=(ETH0,), owned=ours, chains={(ETH0.index, Hook.TC_INGRESS): programs})
    wish = replace(want(configs[name]), retake=True, asked=asked)
    return tcx_order.is_due(wish, observed, ours[name], place_of(configs[name]))


@pytest.mark.parametrize(
    ("orders", "chain"),
    [
        ({"a": "first", "b": "first"}, "ab"),
        ({"a": "last", "b": "last"}, "ba"),
        ({"a": "before:b", "b": "before:a"}, "ab"),
        ({"a": "before:b", "b": "before:c", "c": "before:a"}, "abc"),
        ({"a": "last", "b": "after:a"}, "ba"),
    ],
)
def test_reload_moves_no_program_to_the_cost_of_another_of_ours(orders: dict[str, str], chain: str) -> None:
    assert not any(is_due(orders, chain, name) for name in orders)
    assert any(is_due(orders, chain, name, asked=True) for name in orders)


@pytest.mark.parametrize(
    ("orders", "chain"),
    [
        ({"a": "first", "b": "last"}, "xab"),
        ({"a": "first", "b": "first"}, "xab"),
        ({"a": "after:b", "b": ""}, "axb"),
        ({"a": "after:x", "b": "last"}, "axb"),
        ({"a": "last", "b": ""}, "abx"),
    ],
)
def test_reload_puts_back_what_costs_no_other_its_order(orders: dict[str, str], chain: str) -> None:
    assert is_due(orders, chain, "a")
