"""A real daemon beside others: who takes its program off, or puts another in its place, is noticed, not fought."""

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.support.daemon import (
    OBJECTS,
    OWN_PINS,
    SLOWNESS,
    Daemon,
    counters,
    tail_entry,
    tc_ids,
    wait_for,
    xdp_entry,
    xdp_id,
)
from tests.support.netns import Veth, add_veth, ip, tc

pytestmark = pytest.mark.kernel

OTHER = ("obj", str(OBJECTS / "xdp_count_v2.bpf.o"), "sec", "xdp")


def is_attached(daemon: Daemon, name: str) -> bool:
    return bool(daemon.attachment(name)["state"] == "attached")


def take_off_xdp() -> None:
    ip("link", "set", "veth0", "xdp", "off")


def put_another_xdp() -> None:
    ip("-force", "link", "set", "veth0", "xdp", *OTHER)


def delete_clsact() -> None:
    tc("qdisc", "del", "dev", "veth0", "clsact")


def delete_filter() -> None:
    tc("filter", "del", "dev", "veth0", "ingress", "pref", "1")


def replace_filter() -> None:
    options = ("pref", "1", "handle", "1", "bpf", "da", "obj", str(OBJECTS / "std_globals.bpf.o"), "sec", "tc")
    tc("filter", "replace", "dev", "veth0", "ingress", *options)


CHANGES: list[tuple[str, Callable[[], None], str]] = [
    ("edge", take_off_xdp, "nothing is attached now"),
    ("edge", put_another_xdp, "'xdp_count'"),
    ("tail", delete_clsact, "nothing is attached now"),
    ("tail", delete_filter, "nothing is attached now"),
    ("tail", replace_filter, "has program"),
]


def seen_within_a_second(daemon: Daemon, name: str, state: str) -> dict[str, Any]:
    began = time.monotonic()
    wait_for(lambda: daemon.attachment(name)["state"] == state, f"{name} {state}")
    assert time.monotonic() - began < 1.0 * SLOWNESS
    return dict(daemon.attachment(name))


@pytest.mark.parametrize(("name", "change", "text"), CHANGES, ids=lambda value: getattr(value, "__name__", None))
def test_change_by_others_is_reported_within_a_second_and_nothing_is_done(
    veth: Veth, daemon: Daemon, name: str, change: Callable[[], None], text: str
) -> None:
    daemon.configure(xdp_entry(), tail_entry())
    daemon.start()
    ours = xdp_id(), tc_ids()
    lines = len(daemon.log().splitlines())
    change()
    theirs = xdp_id(), tc_ids()
    status = seen_within_a_second(daemon, name, "foreign")
    assert text in status["reason"]
    assert daemon.call("Status")["status"]["degraded"]
    time.sleep(0.2)
    assert (xdp_id(), tc_ids()) == theirs != ours
    (line,) = daemon.log().splitlines()[lines:]
    assert f"attachment '{name}': somebody took our program off" in line
    daemon.end()
    daemon.start()
    assert daemon.attachment(name)["state"] == "foreign"
    assert (xdp_id(), tc_ids()) == theirs


def test_program_in_our_place_is_told_by_id_name_and_tag(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry())
    daemon.start()
    put_another_xdp()
    status = seen_within_a_second(daemon, "edge", "foreign")
    assert f"program {xdp_id()} 'xdp_count'" in status["reason"]
    assert "tag " in status["reason"]
    assert status["error_code"] == "HookBusy"


@pytest.mark.parametrize("again", ["attach", "reload"])
def test_attach_and_reload_take_the_hook_back(veth: Veth, daemon: Daemon, again: str) -> None:
    daemon.configure(xdp_entry(), tail_entry())
    daemon.start()
    before = xdp_id(), tc_ids()
    take_off_xdp()
    delete_clsact()
    seen_within_a_second(daemon, "edge", "foreign")
    seen_within_a_second(daemon, "tail", "foreign")
    if again == "reload":
        daemon.reload()
    else:
        daemon.call("Attach", name="edge")
        assert xdp_id() == before[0]
        assert tc_ids() == []
        daemon.call("Attach", name="tail")
    assert (xdp_id(), tc_ids()) == before
    take_off_xdp()
    seen_within_a_second(daemon, "edge", "foreign")


@pytest.mark.parametrize(("name", "change"), [("edge", put_another_xdp), ("tail", delete_clsact)])
def test_restore_puts_the_program_back_within_a_second_three_times(
    veth: Veth, daemon: Daemon, name: str, change: Callable[[], None]
) -> None:
    daemon.configure(xdp_entry(on_foreign="restore"), tail_entry(on_foreign="restore"))
    daemon.start()
    ours = xdp_id(), tc_ids()
    for _ in range(3):
        change()
        began = time.monotonic()
        wait_for(lambda: (xdp_id(), tc_ids()) == ours, "ours again")
        assert time.monotonic() - began < 1.0 * SLOWNESS
        wait_for(lambda: daemon.attachment(name)["state"] == "attached", "the pass has ended")
    change()
    seen_within_a_second(daemon, name, "foreign")
    assert (xdp_id(), tc_ids()) != ours


def test_restart_of_the_daemon_is_no_way_to_be_restored_more_often(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry(on_foreign="restore"))
    daemon.start()
    ours = xdp_id()
    for number in range(3):
        take_off_xdp()
        wait_for(lambda: xdp_id() == ours, "ours again")
        wait_for(lambda: is_attached(daemon, "edge"), "the pass has ended")
        if number != 1:
            daemon.end()
            daemon.start()
    take_off_xdp()
    seen_within_a_second(daemon, "edge", "foreign")
    daemon.end()
    daemon.start()
    assert (daemon.attachment("edge")["state"], xdp_id()) == ("foreign", 0)
    daemon.reload()
    assert xdp_id() == ours


def test_yield_leaves_the_hook_to_the_other_and_is_as_wanted(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry(on_foreign="yield"))
    daemon.start()
    put_another_xdp()
    status = seen_within_a_second(daemon, "edge", "detached")
    assert f"program {xdp_id()}" in status["reason"]
    assert not daemon.call("Status")["status"]["degraded"]
    take_off_xdp()
    wait_for(lambda: "nothing" in daemon.attachment("edge")["reason"], "the other is gone")
    assert not xdp_id()
    daemon.reload()
    assert xdp_id()
    assert daemon.attachment("edge")["state"] == "attached"


def test_reload_that_one_interface_withstands_is_done_on_the_others(veth: Veth, daemon: Daemon) -> None:
    entry = {key: value for key, value in xdp_entry("all", on_foreign="yield").items() if key != "interface"}
    daemon.configure({**entry, "match": '{name: "veth[08]"}'})
    add_veth("veth8", "veth9", veth.namespace)
    try:
        daemon.start()
        ip("-force", "link", "set", "veth8", "xdp", *OTHER)
        seen_within_a_second(daemon, "all@veth8", "detached")
        daemon.reload()
        assert daemon.attachment("all@veth8")["state"] == "foreign"
        take_off_xdp()
        seen_within_a_second(daemon, "all@veth0", "detached")
        assert not xdp_id()
    finally:
        ip("link", "del", "veth8")


def test_interface_made_anew_is_no_change_by_others(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry(on_foreign="yield"), tail_entry(on_foreign="yield"))
    daemon.start()
    before = xdp_id(), tc_ids()
    for _ in range(5):
        ip("link", "del", "veth0")
        add_veth(veth.name, veth.peer, veth.namespace)
        wait_for(lambda: (xdp_id(), tc_ids()) == before, "the same programs again")
    assert "somebody" not in daemon.log()


@pytest.mark.parametrize("entry", [xdp_entry, tail_entry])
def test_program_that_gave_way_to_another_of_ours_was_not_taken_by_others(
    veth: Veth, daemon: Daemon, entry: Callable[..., dict[str, Any]]
) -> None:
    daemon.configure(entry("first"), entry("second", interface="other0"))
    daemon.start()
    before = xdp_id(), tc_ids()
    for old, new, attached in (("veth0", "other0", "second"), ("other0", "veth0", "first")):
        ip("link", "set", old, "down")
        ip("link", "set", old, "name", new)
        wait_for(partial(is_attached, daemon, attached), f"'{attached}' is attached")
    wait_for(lambda: daemon.attachment("second")["state"] == "waiting", "the interface is gone for the second")
    assert (xdp_id(), tc_ids()) == before
    assert "somebody" not in daemon.log()


def test_filter_that_others_made_one_whose_verdict_does_not_count_is_noticed(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(tail_entry())
    daemon.start()
    (ours,) = tc_ids()
    place = ("dev", "veth0", "ingress", "pref", "1", "handle", "1", "bpf")
    tc("filter", "replace", *place, "object-pinned", str(OWN_PINS / "tail/prog"))  # without direct-action
    status = seen_within_a_second(daemon, "tail", "foreign")
    assert "our program is in it, and decides nothing" in status["reason"]
    assert (tc_ids(), direct_action()) == ([ours], False)
    daemon.call("Attach", name="tail")
    assert (tc_ids(), direct_action(), daemon.attachment("tail")["state"]) == ([ours], True, "attached")
    daemon.configure(tail_entry(on_foreign="restore"))
    daemon.reload()
    tc("filter", "replace", *place, "object-pinned", str(OWN_PINS / "tail/prog"))
    wait_for(direct_action, "restored")
    assert tc_ids() == [ours]


def direct_action() -> bool:
    return "direct-action" in tc("filter", "show", "dev", "veth0", "ingress")


def test_clsact_that_others_made_after_they_deleted_ours_stays(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(tail_entry())
    daemon.start()
    delete_clsact()
    tc("qdisc", "add", "dev", "veth0", "clsact")
    seen_within_a_second(daemon, "tail", "foreign")
    daemon.call("Attach", name="tail")
    daemon.call("Detach", name="tail")
    assert tc_ids() == []
    assert "clsact" in tc("qdisc", "show", "dev", "veth0")


def test_maps_and_program_arrays_outlive_a_change_by_others(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(tail_entry())
    daemon.start()
    veth.send_in(3)
    wait_for(lambda: counters("tc/globals/tail_hits") == [3, 3], "three frames and three tail calls")
    delete_clsact()
    seen_within_a_second(daemon, "tail", "foreign")
    daemon.call("Attach", name="tail")
    veth.send_in(2)
    wait_for(lambda: counters("tc/globals/tail_hits") == [5, 5], "five frames and five tail calls")


def test_storm_of_events_that_overruns_the_buffer_is_followed_by_a_look(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry())
    daemon.start()
    os.kill(daemon.pid, signal.SIGSTOP)
    ip("-batch", "-", text="".join(f"link set veth0 alias {number}\n" for number in range(3000)))
    take_off_xdp()
    os.kill(daemon.pid, signal.SIGCONT)
    seen_within_a_second(daemon, "edge", "foreign")
