"""Kinds of attachment, ladders of modes and orders of TCX, as the planner sees them."""

import asyncio
import errno
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.daemon.fake_world import entry, prog, want
from xdploaderd.config.attachments import AttachmentConfig
from xdploaderd.daemon.execute.climbing import climb_down
from xdploaderd.daemon.plan.actions import Action, Attach, Detach, Refuse, Repair, Replace
from xdploaderd.daemon.plan.planner import make_plan
from xdploaderd.daemon.plan.rungs import note_of
from xdploaderd.daemon.plan.tcx_order import anchors_first, holds
from xdploaderd.daemon.plan.world import Observed, Occupant, Owned, Place, Record, Wanted, wanted_place
from xdploaderd.errors import AttachError, GapNeededError, HookBusyError, NoSuchInterfaceError
from xdploaderd.hooks import AttachKind, Hook, XdpMode
from xdploaderd.info import Interface, LinkInfo
from xdploaderd.uapi.bpf import Ifindex, LinkId, ProgId, ProgType

ETH0 = Interface(index=Ifindex(2), name="eth0", mtu=1500, features="1")
LADDER = (XdpMode.NATIVE, XdpMode.SKB)


def link(**fields: Any) -> AttachmentConfig:
    return entry(attach=AttachKind.LINK, **fields)


def tcx(name: str = "edge", **fields: Any) -> AttachmentConfig:
    return entry(name, hook=Hook.TC_INGRESS, attach=AttachKind.LINK, priority=0, handle=0, **fields)


def owned(config: AttachmentConfig, number: int = 7, *, links: tuple[LinkInfo, ...] = (), **record: Any) -> Owned:
    kind = ProgType.XDP if config.hook is Hook.XDP else ProgType.SCHED_CLS
    values = {"sha1": "a" * 40, "program": config.program, "hook": config.hook, "ifindex": 2, **record}
    known = Record(attachment=config.name, object=str(config.object), **values)
    return Owned(name=config.name, prog=prog(number, kind), record=known, links=links)


def place_of(config: AttachmentConfig, mode: XdpMode = XdpMode.NATIVE, **fields: Any) -> Place:
    place = wanted_place(config, ETH0)
    return replace(place, mode=mode if config.hook is Hook.XDP else place.mode, **fields)


def plan(wish: Wanted, there: Mapping[Place, int], *ours: Owned, chain: tuple[tuple[int, str], ...] = ()) -> Action:
    (action,) = plans(wish, there, *ours, chain=chain)
    return action


def plans(
    wish: Wanted, there: Mapping[Place, int], *ours: Owned, chain: tuple[tuple[int, str], ...] = ()
) -> tuple[Action, ...]:
    occupants = tuple(Occupant(place, ProgId(number)) for place, number in there.items())
    chains = {(ETH0.index, Hook.TC_INGRESS): tuple((ProgId(number), name) for number, name in chain)}
    world = Observed(interfaces=(ETH0,), occupants=occupants, owned={o.name: o for o in ours}, chains=chains)
    return make_plan((wish,), world)


@pytest.mark.parametrize(("wanted", "there"), [(entry(), link()), (link(), entry())], ids=["from link", "to link"])
def test_f44_change_of_kind_of_xdp_is_refused_and_says_from_what_to_what(
    wanted: AttachmentConfig, there: AttachmentConfig
) -> None:
    action = plan(want(wanted), {place_of(there): 7}, owned(wanted))
    assert isinstance(action, Refuse)
    assert isinstance(action.error, GapNeededError)
    assert "wanted by " in str(action.error)
    action = plan(want(replace(wanted, allow_gap=True)), {place_of(there): 7}, owned(wanted))
    assert isinstance(action, Replace)
    assert (action.gap, action.from_pin) == (True, True)
    assert "kind of attachment changes" in action.reason


def test_change_of_kind_of_tc_attaches_before_it_detaches() -> None:
    before = entry(hook=Hook.TC_INGRESS)
    action = plan(want(tcx()), {place_of(before): 7}, owned(before))
    assert isinstance(action, Attach)
    assert action.place.kind is AttachKind.LINK
    assert action.strays == (place_of(before),)


def test_two_links_on_one_tcx_hook_are_no_obstacle_to_each_other() -> None:
    other = tcx("other")
    action = plan(want(tcx()), {place_of(other): 9})
    assert isinstance(action, Attach)


def test_f7_dead_link_is_swept_before_anything_else_is_planned() -> None:
    dead = LinkInfo(id=LinkId(3), type=6, prog_id=ProgId(7), ifindex=Ifindex(0))
    ours = replace(owned(link(), links=(dead,)), leftovers=True)
    action = plan(want(link()), {}, ours)
    assert isinstance(action, Repair)
    assert "its link is dead" in action.reason


def test_link_that_holds_our_program_for_another_entry_is_taken_along() -> None:
    config = link()
    stray = place_of(config, slot="old")
    action, detach = plans(want(config), {stray: 7}, owned(config), owned(link(name="old"), 6))
    assert isinstance(action, Repair)
    assert action.astray == (stray,)
    assert isinstance(detach, Detach)
    assert detach.places == ()


def test_program_of_others_behind_our_link_is_told_of() -> None:
    config = link()
    action = plan(want(config), {place_of(config): 55}, owned(config))
    assert isinstance(action, Refuse)
    assert isinstance(action.error, HookBusyError)
    assert action.error.prog_id == 55


@pytest.mark.parametrize("mode", LADDER)
def test_any_rung_of_the_ladder_will_do(mode: XdpMode) -> None:
    config = entry(modes=LADDER)
    assert plans(want(config), {place_of(config, mode): 7}, owned(config)) == ()


@pytest.mark.parametrize(
    ("tried", "retake", "asked", "due"),
    [
        ("MTU 1500, features 1", False, False, False),
        ("MTU 9000, features 1", False, False, True),
        ("MTU 1500, features 3", False, False, True),
        ("MTU 1500, features 1", True, False, False),
        ("MTU 1500, features 1", True, True, True),
    ],
    ids=["as it was", "other MTU", "other features", "reload", "attach by name"],
)
def test_better_mode_is_tried_again_when_that_may_help(tried: str, retake: bool, asked: bool, due: bool) -> None:
    config = entry(modes=LADDER, allow_gap=True)
    ours, there = owned(config, refused="too large", tried=tried), {place_of(config, XdpMode.SKB): 7}
    wish = replace(want(config), retake=retake, asked=asked)
    actions = plans(wish, there, ours)
    assert [isinstance(action, Replace) and action.gap for action in actions] == [True] * due
    assert plans(replace(wish, config=replace(config, allow_gap=False)), there, ours) == ()


def climb(answers: Mapping[XdpMode, Exception | None]) -> tuple[Any, list[XdpMode]]:
    """Let each mode be refused as told; return what came of it and the modes that were tried."""
    tried: list[XdpMode] = []

    async def attach(place: Place) -> None:
        tried.append(place.mode)
        error = answers.get(place.mode)
        if error is not None:
            raise error

    place = wanted_place(entry(modes=LADDER), ETH0)
    try:
        return asyncio.run(climb_down(place, attach)), tried
    except AttachError as error:
        return error, tried


def test_refused_mode_leads_to_the_next_and_the_text_of_the_driver_is_kept() -> None:
    refusal = AttachError("refused", errno=errno.ERANGE, extack="Peer MTU is too large to set XDP")
    put, tried = climb({XdpMode.NATIVE: refusal})
    assert tried == list(LADDER)
    assert put.mode is XdpMode.SKB
    assert put.refused == "native mode was refused with MTU 1500: Peer MTU is too large to set XDP"


@pytest.mark.parametrize(
    "error",
    [
        HookBusyError("taken", prog_id=5, prog_name="x", errno=errno.EBUSY),
        NoSuchInterfaceError("gone", errno=errno.ENODEV),
        AttachError("not permitted", errno=errno.EPERM),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_says_nothing_of_the_mode_leads_to_no_other(error: AttachError) -> None:
    found, tried = climb({XdpMode.NATIVE: error})
    assert (found, tried) == (error, [XdpMode.NATIVE])


def test_note_tells_why_the_second_best_mode_runs() -> None:
    config = entry(modes=LADDER)
    ours = owned(config, refused="native mode was refused with MTU 9000: too large", tried="MTU 9000")
    note = note_of(want(config), ours, place_of(config, XdpMode.SKB))
    assert "runs in skb mode, wanted native: native mode was refused with MTU 9000: too large" in note
    assert note.endswith("; tried again only where the entry says `allow_gap: true`")
    assert note_of(want(config), ours, place_of(config)) == ""


@pytest.mark.parametrize(
    ("order", "ids", "expected"),
    [
        ("", (1, 7), True),
        ("first", (7, 1), True),
        ("first", (1, 7), False),
        ("last", (1, 7), True),
        ("last", (7, 1), False),
        ("before:other", (7, 5), True),
        ("before:other", (5, 7), False),
        ("after:5", (5, 7), True),
        ("after:p1", (7, 1), False),
        ("after:absent", (7, 1), True),
    ],
)
def test_order_holds_or_not(order: str, ids: tuple[int, ...], expected: bool) -> None:
    chain = [(ProgId(number), f"p{number}") for number in ids]
    assert holds(order, chain, owned(tcx()), {"other": owned(tcx("other"), 5)}) is expected


def test_lost_order_is_restored_only_when_asked_for_and_allowed() -> None:
    config = tcx(order="first", allow_gap=True)
    there, chain = {place_of(config): 7}, ((5, "x"), (7, "main"))
    ours = owned(config, order="first")
    assert plans(want(config), there, ours, chain=chain) == ()
    action = plan(replace(want(config), retake=True), there, ours, chain=chain)
    assert isinstance(action, Replace)
    assert action.gap
    assert plans(replace(want(replace(config, allow_gap=False)), retake=True), there, ours, chain=chain) == ()


def test_order_that_the_program_was_not_put_in_is_carried_out_unasked() -> None:
    config = tcx(order="first", allow_gap=True)
    there, chain = {place_of(config): 7}, ((5, "x"), (7, "main"))
    action = plan(want(config), there, owned(config, order="last"), chain=chain)
    assert isinstance(action, Replace)
    assert action.gap
    assert plans(want(config), there, owned(config, order="last"), chain=chain[::-1]) == ()


def test_entry_that_others_go_by_is_attached_before_them() -> None:
    names = ["c", "a", "b"]
    orders = {"c": "after:b", "a": "", "b": "before:a"}
    wishes = [want(tcx(name, order=orders[name])) for name in names]
    assert [wish.config.name for wish in anchors_first(wishes)] == ["a", "b", "c"]
    circle = [want(tcx("x", order="after:y")), want(tcx("y", order="after:x"))]
    assert anchors_first(circle) == circle
