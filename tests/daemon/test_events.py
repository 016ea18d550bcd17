"""The fields of the daemon's log lines, by which journalctl finds them."""

import logging
from dataclasses import replace

import pytest

from tests.daemon.fake_world import FakeWorld, prog, want
from xdploaderd.daemon.loop import events
from xdploaderd.daemon.loop.seams import Outcome
from xdploaderd.daemon.plan.actions import Attach, Change, Detach, Refuse, Repair, Replace
from xdploaderd.daemon.plan.status import State
from xdploaderd.daemon.plan.world import Occupant
from xdploaderd.errors import HookBusyError, VerifierError
from xdploaderd.hooks import Hook, XdpMode
from xdploaderd.uapi.bpf import ProgId

HERE = FakeWorld("eth0").place("eth0")
ATTACH = Attach(name="edge", wanted=want(), place=HERE, from_pin=False)
CURRENT = Occupant(HERE, ProgId(6))


def only(caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    (record,) = caplog.records
    return record


@pytest.mark.parametrize(
    ("action", "words", "interface"),
    [
        (ATTACH, "attached 'edge': program 7 'main' to xdp of 'eth0' (native)", "eth0"),
        (
            Replace(
                name="edge",
                wanted=want(),
                place=HERE,
                current=CURRENT,
                owner="edge",
                from_pin=False,
                reason="new object",
            ),
            "replaced 'edge': program 7 'main' on xdp of 'eth0' (native), was 6: new object",
            "eth0",
        ),
        (
            Detach(name="edge", places=(HERE,), forget=True, hook=Hook.XDP, interface="eth0", reason="gone"),
            "detached 'edge': program 7 'main' from xdp of 'eth0' (native): gone",
            "eth0",
        ),
        (
            Repair(name="edge", promote=True, hook=Hook.XDP, interface="eth0", reason="cut short"),
            "took over the program of 'edge': cut short",
            None,
        ),
        (
            Repair(name="edge", promote=False, hook=Hook.XDP, interface="eth0", reason="its link is dead"),
            "cleared up what was left of 'edge': its link is dead",
            None,
        ),
        (
            replace(ATTACH, restores=True, reason="somebody took it off"),
            "attached 'edge': program 7 'main' to xdp of 'eth0' (native): somebody took it off",
            "eth0",
        ),
    ],
)
def test_change_is_one_line_of_level_info_with_its_fields(
    caplog: pytest.LogCaptureFixture, action: Change, words: str, interface: str | None
) -> None:
    with caplog.at_level("INFO", logger="xdploaderd"):
        events.log_change(action, Outcome(prog(7), "b" * 40), "0badcafe")
    record = only(caplog)
    assert (record.levelname, record.getMessage()) == ("INFO", words)
    fields = {"OP_ID": "0badcafe", "ATTACHMENT": "edge", "PROG_ID": 7, "OBJECT_SHA1": "b" * 40}
    assert {name: getattr(record, name) for name in fields} == fields
    assert getattr(record, "IFNAME", None) == interface


@pytest.mark.parametrize(
    ("action", "taken", "told"),
    [
        (ATTACH, XdpMode.SKB, "attached 'edge': program 7 'main' to xdp of 'eth0' (skb)"),
        (
            Replace(name="edge", wanted=want(), place=HERE, current=CURRENT, owner="edge", from_pin=True, gap=True),
            XdpMode.SKB,
            "replaced 'edge': program 7 'main' on xdp of 'eth0' (skb), was 6: ",
        ),
        (
            Replace(
                name="edge",
                wanted=want(),
                place=HERE,
                current=replace(CURRENT, place=replace(HERE, mode=XdpMode.SKB)),
                owner="edge",
                from_pin=False,
            ),
            XdpMode.UNSPECIFIED,
            "replaced 'edge': program 7 'main' on xdp of 'eth0' (skb), was 6: ",
        ),
    ],
    ids=["second mode of a ladder", "with a gap", "in place"],
)
def test_mode_that_is_told_is_the_one_that_the_driver_took(
    caplog: pytest.LogCaptureFixture, action: Change, taken: XdpMode, told: str
) -> None:
    with caplog.at_level("INFO", logger="xdploaderd"):
        events.log_change(action, Outcome(prog(7), mode=taken), "0badcafe")
    assert only(caplog).getMessage() == told


def test_refused_program_brings_the_whole_verifier_log(caplog: pytest.LogCaptureFixture) -> None:
    events.log_failure(ATTACH, VerifierError("refused", errno=13, log=("0: one", "1: two")), "0badcafe")
    record = only(caplog)
    assert record.levelname == "ERROR"
    assert getattr(record, "ERROR_CODE", "") == "VerifierRejected"
    assert getattr(record, "VERIFIER_LOG", "") == "0: one\n1: two"
    assert getattr(record, "MESSAGE_ID", "") == events.MESSAGE_VERIFIER_REJECTED


def test_foreign_program_is_a_warning_with_its_id(caplog: pytest.LogCaptureFixture) -> None:
    error = HookBusyError("taken", prog_id=55, prog_name="theirs")
    events.log_refusal(Refuse(name="edge", wanted=want(), state=State.FOREIGN, error=error))
    record = only(caplog)
    assert (record.levelname, getattr(record, "PROG_ID", 0)) == ("WARNING", 55)
    assert getattr(record, "MESSAGE_ID", "") == events.MESSAGE_HOOK_BUSY
