"""The cursor over words, and the grammar that names a program."""

import pytest

from xdploaderd.errors import UsageError
from xdploaderd.front.bpfspec import BpfMode, annotation, parse_bpf_spec
from xdploaderd.front.words import Words, matches
from xdploaderd.uapi.bpf import ProgType


def test_abbreviation_is_a_beginning_and_never_empty() -> None:
    assert matches("s", "section")
    assert matches("section", "section")
    assert not matches("", "section")
    assert not matches("sections", "section")


def test_missing_word_ends_with_255() -> None:
    words = Words(["dev"])
    assert words.take() == "dev"
    with pytest.raises(UsageError) as caught:
        words.take()
    assert caught.value.fields["exit_status"] == 255
    assert not words.accept("section")
    assert not words.accept_exact("program")


@pytest.mark.parametrize("mode", ["o", "obj", "object", "objec", "object-file", "object-f"])
def test_object_goes_by_many_words(mode: str) -> None:
    spec = parse_bpf_spec(Words([mode, "f.o"]), ProgType.XDP)
    assert (spec.mode, spec.operand, spec.section) == (BpfMode.OBJECT, "f.o", "")


@pytest.mark.parametrize("mode", ["object-p", "object-pinned", "p", "pinned", "fd", "f"])
def test_pin_goes_by_many_words(mode: str) -> None:
    assert parse_bpf_spec(Words([mode, "7"]), ProgType.XDP).mode is BpfMode.PINNED


def test_bytecode_is_for_filters_alone() -> None:
    assert parse_bpf_spec(Words(["bc", "1,6 0 0 1,"]), None, bytecode=True).mode is BpfMode.BYTECODE
    assert parse_bpf_spec(Words(["bytecode-", "file"]), None, bytecode=True).mode is BpfMode.BYTECODE_FILE
    with pytest.raises(UsageError, match="'bc' is no way to name a program") as caught:
        parse_bpf_spec(Words(["bc", "1,6 0 0 1,"]), ProgType.XDP, status=1)
    assert caught.value.fields["exit_status"] == 1


def test_options_are_read_in_their_order_and_the_rest_is_left() -> None:
    words = Words(["obj", "f.o", "s", "S", "program", "P", "v", "up"])
    spec = parse_bpf_spec(words, ProgType.XDP)
    assert (spec.section, spec.program, spec.verbose) == ("S", "P", True)
    assert words.rest() == ("up",)


def test_option_out_of_order_is_left_to_the_caller() -> None:
    words = Words(["obj", "f.o", "verbose", "section", "S"])
    assert parse_bpf_spec(words, ProgType.XDP).section == ""
    assert words.rest() == ("section", "S")


def test_program_is_not_abbreviated() -> None:
    words = Words(["obj", "f.o", "prog", "P"])
    assert parse_bpf_spec(words, ProgType.XDP).program == ""
    assert words.left == 2


def test_socket_of_the_environment_makes_export_no_word() -> None:
    words = ["obj", "f.o", "export", "/sock"]
    assert parse_bpf_spec(Words(words), ProgType.SCHED_CLS, environ={}).export == "/sock"
    left = Words(words)
    assert parse_bpf_spec(left, ProgType.SCHED_CLS, environ={"TC_BPF_UDS": "/env"}).export == "/env"
    assert left.peek() == "export"
    assert parse_bpf_spec(Words(words), ProgType.XDP, environ={"TC_BPF_UDS": "/env"}).export == ""


def test_type_is_a_classifier_unless_said() -> None:
    assert parse_bpf_spec(Words(["obj", "f.o"]), None).kind is ProgType.SCHED_CLS
    assert parse_bpf_spec(Words(["obj", "f.o", "type", "x"]), None).kind is ProgType.XDP
    with pytest.raises(UsageError, match="'kprobe' is no type"):
        parse_bpf_spec(Words(["obj", "f.o", "type", "kprobe"]), None)


def test_annotation_names_file_and_section_in_255_bytes() -> None:
    def name(*words: str) -> str:
        return annotation(parse_bpf_spec(Words(words), ProgType.SCHED_CLS, environ={}))

    assert name("obj", "/a/f.o") == "f.o:[classifier]"
    assert name("obj", "f.o", "sec", "x", "program", "p") == "f.o:[x]"
    assert name("pinned", "/sys/fs/bpf/p") == "p:[*fsobj]"
    assert len(name("obj", "f" * 300)) == 255
