"""Which command lines of tc are ours, what they say."""

import pytest

from xdploaderd.errors import UsageError
from xdploaderd.front.bpfspec import BpfMode
from xdploaderd.front.tc_filter_words import FilterCommand, FilterVerb, parse_filter_command
from xdploaderd.front.tc_options import parse_options
from xdploaderd.front.tc_qdisc import QdiscVerb, parse_qdisc_command
from xdploaderd.front.words import STATUS_FIELD, Words
from xdploaderd.net.tc_messages import DIRECT_ACTION, SKIP_HW


def command(text: str) -> FilterCommand | None:
    return parse_filter_command(Words(text.split()))


def ours(text: str) -> FilterCommand:
    found = command(text)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "verb"),
    [
        ("a dev v0 ingress bpf", FilterVerb.ADD),
        ("ch dev v0 ingress bpf", FilterVerb.CHANGE),
        ("rep dev v0 ingress bpf", FilterVerb.REPLACE),
        ("del dev v0 ingress bpf", FilterVerb.DELETE),
    ],
)
def test_verbs_are_abbreviated(text: str, verb: FilterVerb) -> None:
    assert ours(text).verb is verb


def test_every_word_of_a_filter_is_understood() -> None:
    found = ours("add dev v0 ingress pref 5 handle 0x2 proto ip bpf da classid 1:2 skip_hw obj f.o sec s verb")
    assert (found.handle, found.place.priority, found.place.protocol) == (2, 5, 0x800)
    assert found.options is not None
    assert (found.options.flags, found.options.flags_gen, found.options.classid) == (DIRECT_ACTION, SKIP_HW, 0x10002)
    assert found.options.spec is not None
    assert (found.options.spec.mode, found.options.spec.operand) == (BpfMode.OBJECT, "f.o")
    assert (found.options.spec.section, found.options.spec.verbose) == ("s", True)


@pytest.mark.parametrize(
    ("words", "mode"),
    [
        ("object-file f", BpfMode.OBJECT),
        ("o f", BpfMode.OBJECT),
        ("run obj f", BpfMode.OBJECT),
        ("pinned f", BpfMode.PINNED),
        ("object-pinned f", BpfMode.PINNED),
        ("fd f", BpfMode.PINNED),
        ("bytecode f", BpfMode.BYTECODE),
        ("bc f", BpfMode.BYTECODE),
        ("bytecode-file f", BpfMode.BYTECODE_FILE),
        ("bcf f", BpfMode.BYTECODE_FILE),
    ],
)
def test_programs_come_from_objects_pins_and_text(words: str, mode: BpfMode) -> None:
    options = ours(f"add dev v0 ingress bpf {words} da").options
    assert options is not None
    assert options.spec is not None
    assert options.spec.mode is mode


@pytest.mark.parametrize(
    "text",
    [
        "add dev v0 ingress flower skip_sw",
        "add dev v0 ingress bpf action mirred egress redirect dev v1 classid 1:1 obj f.o",
        "add dev v0 ingress bpf police rate 1mbit burst 10k",
        "add dev v0 ingress",
        "show dev v0",
        "get dev v0 ingress",
        "help",
        "",
    ],
)
def test_other_kinds_actions_and_verbs_are_left_to_tc(text: str) -> None:
    assert command(text) is None


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("add dev v0 ingress bpf nosuch f", 1),
        ("add dev v0 ingress bpf obj f obj g", 1),
        ("add dev v0 ingress bpf obj f verb sec s", 1),
        ("add dev v0 ingress bpf classid x obj f", 1),
        ("add dev v0 ingress handle x bpf obj f", 1),
        ("add dev v0 ingress bpf obj", 255),
        ("add dev v0 ingress bpf run obj f run obj g", 255),
        ("del dev v0 ingress handle 1", 255),
    ],
)
def test_wrong_words_end_as_they_do_with_tc(text: str, status: int) -> None:
    with pytest.raises(UsageError) as caught:
        command(text)
    assert caught.value.fields[STATUS_FIELD] == status


def test_filters_of_any_kind_are_deleted_by_place() -> None:
    assert ours("del dev v0 ingress pref 1").kind == ""
    assert ours("del dev v0 ingress pref 1 bpf").kind == "bpf"


def test_clsact_and_ingress_are_ours() -> None:
    found = parse_qdisc_command(Words(["add", "dev", "v0", "handle", "ffff:", "ingress"]))
    assert found is not None
    assert (found.verb, found.dev, found.kind) == (QdiscVerb.ADD, "v0", "ingress")
    assert parse_qdisc_command(Words(["del", "dev", "v0", "clsact"])) is not None


@pytest.mark.parametrize(
    "text", ["add dev v0 root fq", "show dev v0 clsact", "add dev v0", "add dev v0 ingress_block 1 clsact"]
)
def test_other_qdiscs_are_left_to_tc(text: str) -> None:
    assert parse_qdisc_command(Words(text.split())) is None


def test_clsact_takes_no_options() -> None:
    with pytest.raises(UsageError) as caught:
        parse_qdisc_command(Words(["add", "clsact", "dev", "v0"]))
    assert caught.value.fields[STATUS_FIELD] == 1


def test_options_are_abbreviated_and_kept_for_tc() -> None:
    found = parse_options(["-s", "-d", "-j", "-p", "--direct", "--socket", "/x", "filter", "show"])
    assert set(found.named) == {"-stats", "-details", "-json", "-pretty"}
    assert (found.options, found.words) == (("-s", "-d", "-j", "-p"), ("filter", "show"))
    assert (found.direct, found.socket) == (True, "/x")
    assert parse_options(["-b", "-"]).named == {"-batch": "-"}
    assert parse_options(["-force", "-batch", "f"]).options == ("-force",)
