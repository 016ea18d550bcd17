"""Numbers, class ids, protocols and places of tc's command lines."""

import pytest

from xdploaderd.errors import UsageError
from xdploaderd.front.tc_place import PlaceWords, parse_handle, parse_place
from xdploaderd.front.tc_words import classid_text, parse_classid, parse_number, parse_protocol, protocol_text
from xdploaderd.front.words import STATUS_FIELD, Words
from xdploaderd.net.tc_messages import IFINDEX_BLOCK, FilterPlace


@pytest.mark.parametrize(
    ("word", "value"),
    [("0", 0), ("10", 10), ("010", 8), ("0x10", 16), ("+7", 7), ("65535", 65535)],
)
def test_numbers_are_those_of_c(word: str, value: int) -> None:
    assert parse_number(word, 0xFFFF) == value


@pytest.mark.parametrize("word", ["", "-1", "65536", "1x", "08", "0x", "x", "9" * 40, "1 "])
def test_what_is_no_number_is_none(word: str) -> None:
    assert parse_number(word, 0xFFFF) is None


@pytest.mark.parametrize(
    ("word", "classid", "shown"),
    [
        ("root", 0xFFFFFFFF, "root"),
        ("none", 0, "none"),
        ("1:1", 0x10001, "1:1"),
        ("ffff:fff2", 0xFFFFFFF2, "ffff:fff2"),
        ("a:", 0xA0000, "a:"),
        (":5", 5, ":5"),
        ("1", 1, ":1"),
        ("10001", 0x10001, "1:1"),
    ],
)
def test_class_ids_are_hexadecimal(word: str, classid: int, shown: str) -> None:
    assert parse_classid(word) == classid
    assert classid_text(classid) == shown


@pytest.mark.parametrize("word", ["", "x", "1:2:3", "10000:1", "1:10000", "g:1"])
def test_what_is_no_class_id_is_none(word: str) -> None:
    assert parse_classid(word) is None


@pytest.mark.parametrize(
    ("word", "number", "shown"),
    [
        ("all", 3, "all"),
        ("IP", 0x800, "ip"),
        ("ipv4", 0x800, "ip"),
        ("802.1q", 0x8100, "802.1Q"),
        ("802.1ad", 0x88A8, "802.1ad"),
        ("lldp", 0x88CC, "LLDP"),
        ("0x86dd", 0x86DD, "ipv6"),
        ("39321", 39321, "[39321]"),
    ],
)
def test_protocols_have_names_and_numbers(word: str, number: int, shown: str) -> None:
    assert parse_protocol(word) == number
    assert protocol_text(number) == shown


def place(text: str) -> PlaceWords:
    return parse_place(Words(text.split()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dev v0 ingress", FilterPlace(ifindex=7, parent=0xFFFFFFF2)),
        ("egress dev v0 pref 5", FilterPlace(ifindex=7, parent=0xFFFFFFF3, priority=5)),
        ("dev v0 parent ffff: prio 0x10", FilterPlace(ifindex=7, parent=0xFFFF0000, priority=16)),
        ("dev v0 root proto ip chain 2", FilterPlace(ifindex=7, parent=0xFFFFFFFF, protocol=0x800, chain=2)),
        ("block 9 pr 3 ch 0", FilterPlace(ifindex=IFINDEX_BLOCK, parent=9, priority=3, chain=0)),
    ],
)
def test_place_is_told_in_any_order_and_abbreviated(text: str, expected: FilterPlace) -> None:
    assert place(text).at(7) == expected


def test_place_ends_at_the_first_word_that_is_none_of_it() -> None:
    words = Words(["dev", "v0", "bpf", "da"])
    parse_place(words)
    assert words.peek() == "bpf"


@pytest.mark.parametrize(
    "text",
    [
        "dev v0 dev v1",
        "dev v0 block 1",
        "block 0",
        "ingress egress",
        "ingress parent 1:",
        "parent x",
        "pref 70000",
        "pref 1 prio 2",
        "protocol nosuch",
        "chain x",
        "dev",
    ],
)
def test_wrong_or_second_value_ends_with_255(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        place(text)
    assert caught.value.fields[STATUS_FIELD] == 255


def test_handle_that_is_no_number_ends_with_1() -> None:
    assert parse_handle(place("handle 0x10")) == 16
    with pytest.raises(UsageError) as caught:
        parse_handle(place("handle x"))
    assert caught.value.fields[STATUS_FIELD] == 1
