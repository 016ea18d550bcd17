"""What words of `ip` mean: its options, `link set`, batches, and which lines are ours at all."""

import os
from pathlib import Path

import pytest

from xdploaderd.errors import FileError, UsageError
from xdploaderd.front import dispatch
from xdploaderd.front.batch import BatchLine, Runners, read_batch, run_batch, split_words
from xdploaderd.front.ip_options import parse_options
from xdploaderd.front.ip_words import XdpClause, parse_link_set
from xdploaderd.hooks import XdpMode
from xdploaderd.net import messages


def test_options_are_taken_off_and_kept_for_the_real_tool() -> None:
    command = parse_options(["-d", "--json", "-fo", "-n", "blue", "--direct", "-f", "inet", "link", "show"])
    assert command.words == ("link", "show")
    assert command.options == ("-d", "--json", "-fo", "-f", "inet")
    assert (command.force, command.netns, command.direct, command.batch) == (True, "blue", True, "")


def test_f_alone_is_family_and_b_is_batch() -> None:
    command = parse_options(["-f", "inet6", "-b", "file", "--socket", "/s"])
    assert not command.force
    assert (command.batch, command.socket, command.words) == ("file", "/s", ())


@pytest.mark.parametrize(
    ("word", "mode"),
    [
        ("xdp", XdpMode.UNSPECIFIED),
        ("xdpgeneric", XdpMode.SKB),
        ("xdpdrv", XdpMode.NATIVE),
        ("xdpoffload", XdpMode.OFFLOAD),
    ],
)
def test_clause_is_found_with_its_mode(word: str, mode: XdpMode) -> None:
    wanted = parse_link_set(["dev", "eth0", word, "off"])
    assert wanted.alone
    assert wanted.dev == "eth0"
    assert wanted.clauses == (XdpClause(word=word, mode=mode, spec=None),)


def test_values_of_settings_are_no_clauses_and_no_devices() -> None:
    wanted = parse_link_set(["alias", "xdp", "addr", "02:00:00:00:00:01", "mas", "br0", "eth0", "t", "100"])
    assert wanted.dev == "eth0"
    assert wanted.clauses == ()
    assert not wanted.alone


def test_everything_keeps_its_place() -> None:
    wanted = parse_link_set(["up", "xdp", "obj", "f.o", "verb", "eth0", "vf", "0", "vlan", "7", "xdp", "none"])
    assert [part if isinstance(part, str) else part.word for part in wanted.parts] == [
        *("up", "xdp", "dev", "eth0", "vf", "0", "vlan", "7", "xdp")
    ]
    assert wanted.clauses[-1].spec is None


def test_name_that_is_no_utf8_is_a_name() -> None:
    assert parse_link_set(["dev", "\udcff", "xdp", "off"]).dev == "\udcff"
    assert b"\xff\0" in messages.pack_link_get(name="\udcff")


def test_device_may_be_given_by_its_new_name() -> None:
    assert parse_link_set(["name", "eth0", "xdp", "off"]).dev == "eth0"


@pytest.mark.parametrize(
    "words",
    [
        ["eth0", "xdp"],
        ["xdpoffload", "off"],
        ["eth0", "xdp", "off", "up"],
        ["eth0", "eth1", "xdp", "off"],
        ["dev"],
        ["mtu"],
        ["dev", "et/h", "xdp", "off"],
        ["help"],
    ],
    ids=" ".join,
)
def test_wrong_words_end_with_255(words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse_link_set(words)
    assert caught.value.fields["exit_status"] == 255


def test_words_of_a_batch_line_are_quoted_without_escapes() -> None:
    assert split_words('link set  \'an "edge\'\tx"y z"') == ("link", "set", 'an "edge', 'x"y', 'z"')
    with pytest.raises(UsageError, match="does not end"):
        split_words("alias 'edge")
    with pytest.raises(UsageError, match="at most 511"):
        split_words("a " * 512)


def test_batch_has_comments_blank_and_continued_lines(tmp_path: Path) -> None:
    file = tmp_path / "batch"
    file.write_text("# first\n\nlink show # all\nlink \\\nset\n")
    assert [(line.number, line.words) for line in read_batch(str(file))] == [
        (3, ("link", "show")),
        (5, ("link", "set")),
    ]
    file.write_text("link set\0 dev eth0\n")
    assert [line.words for line in read_batch(str(file))] == [("link", "set")]
    file.write_text("link \\\n")
    with pytest.raises(UsageError, match="ends with a backslash"):
        list(read_batch(str(file)))
    with pytest.raises(FileError, match="no such file"):
        list(read_batch(str(tmp_path / "nosuch")))


@pytest.mark.parametrize(("force", "own", "expected"), [(False, 2, 1), (True, 2, 1), (True, 255, 255), (True, 0, 0)])
def test_runs_of_other_lines_go_to_the_real_tool_at_once(force: bool, own: int, expected: int) -> None:
    texts: list[str] = []

    def run_real(text: str) -> int:
        texts.append(text)
        return 0

    lines = [BatchLine(n, word, (word,)) for n, word in ((2, "a"), (4, "b"), (5, "xdp"), (6, "c"))]
    runners = Runners(
        ours=lambda line: line.words == ("xdp",),
        run_own=lambda line: own,
        run_real=run_real,
        say=lambda line: None,
    )
    assert run_batch("file", lines, runners, force=force) == expected
    assert texts == ["\na\n\nb\n", "\n\n\n\n\nc\n"][: 2 if force and own != 255 else 1]


@pytest.mark.parametrize(
    ("words", "passed"),
    [
        ("link show", True),
        ("-br addr", True),
        ("link set eth0 up", True),
        ("link set eth0 xdp off", False),
        ("-b file", False),
        ("--batch file", False),
        ("--direct link show", False),
        ("netns exec blue tc filter show", True),
    ],
)
def test_lines_without_our_words_are_the_real_tools(words: str, passed: bool) -> None:
    assert dispatch.is_real_tools("ip", words.split()) is passed


def test_tc_is_ours_where_bpf_is_named() -> None:
    assert not dispatch.is_real_tools("tc", ["filter", "add", "dev", "eth0", "ingress", "bpf", "da", "obj", "f.o"])
    assert dispatch.is_real_tools("tc", ["qdisc", "show"])


def test_real_tool_is_found_behind_ourselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tmp_path / "xdploaderctl"
    for folder in ("first", "second", "third"):
        (tmp_path / folder).mkdir()
    for file in (command, tmp_path / "third" / "ip"):
        file.write_text("#!/bin/sh\n")
        file.chmod(0o755)
    (tmp_path / "first" / "ip").symlink_to(command)
    (tmp_path / "second" / "ip").mkdir()
    monkeypatch.setenv("PATH", os.pathsep.join(str(tmp_path / folder) for folder in ("first", "second", "third")))
    monkeypatch.setattr("sys.argv", [str(tmp_path / "first" / "ip")])
    assert dispatch.tool_of(str(tmp_path / "first" / "ip")) == "ip"
    assert dispatch.real_tool("ip") == str(tmp_path / "third" / "ip")
    monkeypatch.setenv(dispatch.PASSED, str(tmp_path / "third" / "ip"))
    assert str(tmp_path) not in dispatch.real_tool("ip")
    assert dispatch.environment()[dispatch.PASSED].split(os.pathsep) == [str(tmp_path / "third" / "ip"), str(command)]
