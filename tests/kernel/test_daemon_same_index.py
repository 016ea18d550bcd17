"""A real daemon whose interfaces come back with the index that they had: from another namespace, or made anew so."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from tests.support.daemon import OBJECTS, Daemon, tail_entry, tc_ids, wait_for, xdp_entry, xdp_id
from tests.support.netns import add_veth, in_namespace, ip, new_namespace, tc, veth_pair
from tests.support.old_kernel import older_than

pytestmark = pytest.mark.kernel


def entries() -> list[dict[str, object]]:
    tcx = {"hook": "tc-ingress", "object": OBJECTS / "tc_count.bpf.o", "program": "count_in", "attach": "link"}
    made = [xdp_entry(), tail_entry()]
    return made if older_than("6.6") else [*made, {**xdp_entry("tcx"), **tcx}]


@contextmanager
def stopped(daemon: Daemon) -> Iterator[None]:
    """Let the daemon see the end of the block alone, with all events of it at once."""
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(daemon.pid, signal.SIGCONT)


def stands(daemon: Daemon) -> dict[str, tuple[str, int]]:
    return {a["name"]: (a["state"], a["prog_id"]) for a in daemon.call("List")["attachments"]}


def waits(daemon: Daemon) -> bool:
    return {state for state, _ in stands(daemon).values()} == {"waiting"}


def there_and_back(meanwhile: Callable[[], None]) -> None:
    """Move veth0 to another network namespace and back."""
    away = new_namespace()
    try:
        ip("link", "set", "veth0", "netns", f"/proc/{os.getpid()}/fd/{away}")
        meanwhile()
        in_namespace(away, lambda: ip("link", "set", "veth0", "netns", str(os.getpid())))
    finally:
        os.close(away)


def made_anew(meanwhile: Callable[[], None]) -> None:
    """Make veth0 anew with the index that it has."""
    index = socket.if_nametoindex("veth0")
    ip("link", "del", "veth0")
    meanwhile()
    ip("link", "add", "veth0", "index", str(index), "type", "veth", "peer", "name", "peer0")


@pytest.mark.parametrize("change", [there_and_back, made_anew])
@pytest.mark.parametrize("seen", [True, False])
def test_f11_interface_that_comes_back_with_its_index_is_no_change_by_others(
    daemon: Daemon, change: Callable[[Callable[[], None]], None], seen: bool
) -> None:
    with veth_pair():
        daemon.configure(*entries())
        daemon.start()
        before = stands(daemon)
        if seen:
            change(lambda: wait_for(partial(waits, daemon), "gone"))
        else:
            with stopped(daemon):
                change(lambda: None)
        ours = before["edge"][1], [before["tail"][1]]
        wait_for(lambda: (xdp_id(), tc_ids()) == ours, "the same programs again")
        wait_for(lambda: stands(daemon) == before, "as before")
        assert "somebody took" not in daemon.log()
        ip("link", "set", "veth0", "xdp", "off")
        tc("qdisc", "del", "dev", "veth0", "clsact")
        wait_for(lambda: stands(daemon)["edge"][0] == stands(daemon)["tail"][0] == "foreign", "others are seen")


def test_f11_interface_that_was_away_at_the_end_of_the_daemon_gets_its_filter_from_the_next_one(daemon: Daemon) -> None:
    with veth_pair():
        daemon.configure(*entries())
        daemon.start()
        before = stands(daemon)

        def restart() -> None:
            daemon.end(signal.SIGKILL)
            daemon.start()
            assert waits(daemon)
            daemon.end(signal.SIGKILL)

        there_and_back(restart)
        daemon.start()
        assert stands(daemon) == before


def test_clsact_that_others_made_on_an_interface_that_is_back_stays(daemon: Daemon) -> None:
    with veth_pair():
        daemon.configure(tail_entry())
        daemon.start()
        with stopped(daemon):
            there_and_back(lambda: None)
            tc("qdisc", "add", "dev", "veth0", "clsact")
        wait_for(tc_ids, "the filter is back")
        daemon.configure()
        daemon.reload()
        assert not tc_ids()
        assert "clsact" in tc("qdisc", "show", "dev", "veth0")


def test_departures_tell_of_interfaces_that_are_back_and_of_no_bridge_port(daemon: Daemon) -> None:
    daemon.configure(xdp_entry(on_foreign="yield"))
    with veth_pair() as veth:
        ip("link", "add", "bridge0", "type", "bridge")
        try:
            ip("link", "set", "veth0", "master", "bridge0")
            daemon.start()
            with stopped(daemon):  # the bridge tells that its port is gone, and others take the program off
                ip("link", "set", "veth0", "nomaster")
                ip("link", "set", "veth0", "xdp", "off")
            wait_for(lambda: stands(daemon)["edge"][0] == "detached", "others took it off")
        finally:
            ip("link", "del", "bridge0")
        ip("link", "del", "veth0")
        add_veth(veth.name, veth.peer, veth.namespace)
        wait_for(xdp_id, "made anew")
