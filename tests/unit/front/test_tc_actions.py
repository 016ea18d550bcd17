"""The words behind `action` of a bpf filter, and the bytes they become."""

import struct

import pytest

from xdploaderd.errors import UsageError
from xdploaderd.front import tc_daemon
from xdploaderd.front.tc_action_words import parse_actions
from xdploaderd.front.tc_filter_words import parse_filter_command
from xdploaderd.front.words import STATUS_FIELD, Words
from xdploaderd.net.tc_actions import DETERM, GOTO_CHAIN, JUMP, NETRAND, Gact, RandomChoice, pack_actions
from xdploaderd.net.tc_messages import TC_H_MIN_INGRESS, FilterPlace


def actions(text: str) -> tuple[Gact, ...] | None:
    return parse_actions(Words(text.split()))


@pytest.mark.parametrize(
    ("text", "control"),
    [
        ("ok", 0),
        ("pass", 0),
        ("drop", 2),
        ("shot", 2),
        ("dr", 2),
        ("continue", -1),
        ("reclassify", 1),
        ("pipe", 3),
        ("trap", 8),
        ("gact ok", 0),
        ("goto chain 5", GOTO_CHAIN | 5),
        ("goto ch 5", GOTO_CHAIN | 5),
        ("jump 2", JUMP | 2),
    ],
)
def test_what_becomes_of_a_packet_is_one_word(text: str, control: int) -> None:
    assert actions(text) == (Gact(control=control),)


def test_options_of_an_action_follow_it() -> None:
    assert actions("drop random determ ok 7 index 3 cookie a1B2 hw_stats disabled no_percpu skip_hw skip_sw") == (
        Gact(
            control=2,
            index=3,
            random=RandomChoice(kind=DETERM, control=0, value=7),
            cookie=b"\xa1\xb2",
            hw_stats=0,
            flags=7,
        ),
    )
    assert actions("drop random netrand pipe 10000") == (
        Gact(control=2, random=RandomChoice(kind=NETRAND, control=3, value=10_000)),
    )


def test_actions_follow_each_other_with_and_without_the_word() -> None:
    assert actions("pipe action drop") == actions("pipe drop") == (Gact(control=3), Gact(control=2))


def test_shared_action_is_named_by_its_index() -> None:
    assert actions("gact index 9") == (Gact(index=9),)


def test_list_ends_where_the_filter_goes_on() -> None:
    words = Words(["ok", "classid", "1:1"])
    assert parse_actions(words) == (Gact(),)
    assert words.peek() == "classid"


@pytest.mark.parametrize(
    "text", ["mirred egress redirect dev v1", "ok action police rate 1mbit", "bpf obj f", "re", "d"]
)
def test_other_kinds_are_left_to_tc(text: str) -> None:
    assert actions(text) is None


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("", 255),
        ("gact", 255),
        ("gact nosuch", 255),
        ("goto", 255),
        ("goto table 1", 255),
        ("goto chain x", 255),
        ("jump 999999999999", 255),
        ("drop random often ok 1", 1),
        ("drop random determ ok", 1),
        ("drop random determ ok 10001", 1),
        ("drop index x", 1),
        ("drop index 08x", 1),
        ("drop cookie abc", 255),
        ("drop cookie " + "ab" * 17, 255),
        ("drop hw_stats never", 255),
        ("ok action", 1),
    ],
)
def test_wrong_words_end_as_they_do_with_tc(text: str, status: int) -> None:
    with pytest.raises(UsageError) as caught:
        actions(text)
    assert caught.value.fields[STATUS_FIELD] == status


def test_actions_are_packed_by_their_order() -> None:
    parms = struct.pack("=HHIIiii", 24, 2, 0, 0, 2, 0, 0)
    options = struct.pack("=HH", 4 + len(parms), 2 | 0x8000) + parms
    body = struct.pack("=HH", 9, 1) + b"gact\0\0\0\0" + options
    assert pack_actions([Gact(control=2)]) == struct.pack("=HH", 4 + len(body), 1) + body
    assert pack_actions([Gact(control=2)] * 2)[len(body) + 4 :] == struct.pack("=HH", 4 + len(body), 2) + body


def test_filter_with_an_action_of_tcs_keeps_the_place_of_its_program() -> None:
    text = "add dev v0 ingress bpf obj f.o sec s action mirred egress redirect dev v1"
    words = text.split()
    found = parse_filter_command(Words(words))
    assert found is not None
    assert found.foreign
    assert found.options is not None
    start, end = found.options.spec_at
    assert words[start:end] == ["obj", "f.o", "sec", "s"]


@pytest.mark.parametrize(("action", "taken"), [("", True), (" action ok", False)])
def test_filter_with_an_action_is_not_the_daemons(action: str, taken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tc_daemon, "qdisc_kind", lambda _ifindex: "clsact")
    found = parse_filter_command(Words(f"add dev v0 ingress bpf da obj f.o{action}".split()))
    assert found is not None
    assert tc_daemon.takes(found, FilterPlace(ifindex=1, parent=TC_H_MIN_INGRESS)) is taken
