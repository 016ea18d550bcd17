"""xdploaderd.yaml: what an entry means, and that every fault is told with its place."""

import json
import re
import time
from contextlib import suppress
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdploaderd.config.attachment_model import attachments_schema
from xdploaderd.config.attachments import (
    AttachmentConfig,
    AttachmentName,
    merge_attachments,
    merge_limits,
    parse_attachments,
    read_attachment_file,
)
from xdploaderd.config.entry import entry_values, entry_yaml, parse_entry
from xdploaderd.errors import ConfigError
from xdploaderd.hooks import AttachKind, Hook, XdpMode
from xdploaderd.limits import DEFAULT_LIMITS, LIMIT_NAMES, Limits

XDP = "{name: edge, interface: eth0, hook: xdp, object: /o/fw.o, program: xdp_pass%s}"
TC = "{name: in, interface: eth0, hook: tc-ingress, object: /o/fw.o, program: cls/in%s}"


def _parse(text: str) -> tuple[AttachmentConfig, ...]:
    return parse_attachments(text.encode(), source="f")


def _entry(text: str) -> AttachmentConfig:
    (entry,) = _parse(f"attachments:\n- {text}\n")
    return entry


def _faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        _parse(text)
    errors = caught.value.fields.get("errors", [str(caught.value)])
    assert isinstance(errors, list)
    assert all(re.match(r"f:\d+:\d+: ", error) and error.isprintable() for error in errors)
    return errors


def test_xdp_entry_with_defaults() -> None:
    assert _entry(XDP % "") == AttachmentConfig(
        name=AttachmentName("edge"),
        interface="eth0",
        hook=Hook.XDP,
        object=PurePosixPath("/o/fw.o"),
        program="xdp_pass",
        mode=XdpMode.UNSPECIFIED,
        priority=0,
        handle=0,
        force=False,
    )


def test_tc_entry_has_explicit_priority_and_handle_by_default() -> None:
    entry = _entry(TC % "")
    assert (entry.priority, entry.handle, entry.mode) == (1, 1, XdpMode.UNSPECIFIED)
    entry = _entry(TC % ", priority: 65535, handle: 0xffffffff, force: true")
    assert (entry.priority, entry.handle, entry.force) == (65535, 0xFFFFFFFF, True)


def test_values_to_set_in_the_object_are_kept_as_written() -> None:
    entry = _entry(XDP % ", globals: {limit: 0x10, name: 'no', on: true}, max_entries: {flows: 0x100}")
    assert entry.globals == (("limit", "0x10"), ("name", "no"), ("on", "true"))
    assert entry.max_entries == (("flows", 256),)


def test_entry_shares_maps_and_leaves_maps_out() -> None:
    entry = _entry(XDP % ", share: {flows: all/flows, hits: /sys/fs/bpf/hits}, no_maps: [trace, debug]")
    assert entry.share == (("flows", "all/flows"), ("hits", "/sys/fs/bpf/hits"))
    assert entry.no_maps == ("debug", "trace")


@pytest.mark.parametrize("word", ["no", "12:30:45", "null", "0x10", "1e3", "2026-01-01", "true"])
def test_words_are_what_was_written(word: str) -> None:
    entry = _entry(
        f"{{name: no, interface: {word if ':' not in word else 'v0'}, hook: xdp, object: /o, program: {word}}}"
    )
    assert (entry.name, entry.program) == ("no", word)


@pytest.mark.parametrize("text", ["", "# nothing\n", "attachments:\n", "attachments: []\n", "---\n"])
def test_no_attachments_are_no_error(text: str) -> None:
    assert _parse(text) == ()


@pytest.mark.parametrize(
    ("keys", "place", "message"),
    [
        (", mods: skb", "2:80", "attachments[0].mods: unknown key 'mods', did you mean 'modes'?"),
        (", mode: sbk", "2:86", "attachments[0].mode: 'sbk' is not one of native, skb, offload, unspecified, did you"),
        (", force: yes", "2:87", "attachments[0].force: want true or false, not 'yes'"),
        (", priority: 5", "2:80", "attachments[0].priority: has no meaning on hook 'xdp'"),
        (", handle: 5", "2:80", "attachments[0].handle: has no meaning"),
        (", force: [true]", "2:87", "want true or false, not a list"),
        (", globals: [a]", "2:89", "attachments[0].globals: want a mapping, not a list"),
        (", globals: {a: [1]}", "2:89", "attachments[0].globals: 'a': want a word, not a list"),
        (", max_entries: {a: 0}", "2:93", "attachments[0].max_entries: 'a': want a number from 1 to 4294967295"),
        (
            ", share: {a: ../b}",
            "2:87",
            "attachments[0].share: 'a': '../b' is no name of a pin and no path without '..'",
        ),
        (", share: [a]", "2:87", "attachments[0].share: want a mapping, not a list"),
        (", no_maps: a", "2:89", "attachments[0].no_maps: want a list, not a word"),
        (", no_maps: [[a]]", "2:89", "attachments[0].no_maps: want a word, not a list"),
        (", max_entries: {a: x}", "2:93", "attachments[0].max_entries: want a whole decimal or 0x number, not 'x'"),
    ],
)
def test_fault_is_told_with_place_and_key(keys: str, place: str, message: str) -> None:
    (fault,) = _faults(f"attachments:\n- {XDP % keys}\n")
    assert fault.startswith(f"f:{place}: ")
    assert message in fault


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (", mode: skb", "has no meaning on hook 'tc-ingress'"),
        (", priority: 0", "want a number from 1 to 65535"),
        (", priority: 65536", "want a number from 1 to 65535"),
        (", handle: 0x100000000", "want a number from 1 to 4294967295"),
        (", priority: " + "9" * 100_000, "want a whole decimal or 0x number"),
        (", priority: 1_0", "want a whole decimal"),
        (", priority: 010", "want a whole decimal"),
        (", priority: -1", "want a whole decimal"),
        (", priority: ٣", "want a whole decimal"),
        (', priority: "5"', "not a word in quotes"),
        (", priority: ", "want a whole decimal"),
    ],
)
def test_fault_of_a_tc_entry_is_told(keys: str, message: str) -> None:
    (fault,) = _faults(f"attachments:\n- {TC % keys}\n")
    assert message in fault
    assert len(fault) < 400


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("name", "Edge", "is not a name"),
        ("name", "a" * 64, "is not a name"),
        ("name", '"a\\n"', "is not a name"),
        ("name", "''", "is empty"),
        ("name", "", "is empty"),
        ("interface", "a" * 16, "16 bytes"),
        ("interface", "a/b", "cannot be the name"),
        ("interface", "..", "cannot be the name"),
        ("interface", '"a b"', "cannot be the name"),
        ("interface", '"a\\e"', "cannot be the name"),
        ("hook", "xdpp", "did you mean 'xdp'?"),
        ("object", "fw.o", "not an absolute path"),
        ("object", '"/a\\0b"', "control characters"),
        ("object", "/" + "a" * 4095, "4096 bytes"),
        ("program", '"a\\nb"', "control characters"),
        ("program", "{a: b}", "not a mapping"),
    ],
)
def test_value_out_of_range_is_refused(key: str, value: str, message: str) -> None:
    values = {"name": "e", "interface": "v0", "hook": "xdp", "object": "/o", "program": "p"} | {key: value}
    (fault,) = _faults("attachments:\n- " + "\n  ".join(f"{k}: {v}" for k, v in values.items()))
    assert f"attachments[0].{key}: " in fault
    assert message in fault


def test_all_faults_of_a_file_are_told_at_once_in_order() -> None:
    faults = _faults(
        "attachment: x\nattachments:\n- name: a\n  hook: tc-egress\n  mode: skb\n  prio: 1\n- text\n- []\n"
    )
    assert [fault.split(": ", 1) for fault in faults] == [
        ["f:1:1", "attachment: unknown key 'attachment', did you mean 'attachments'?"],
        ["f:3:3", "attachments[0]: key 'interface' is missing, or 'match'"],
        ["f:3:3", "attachments[0]: key 'object' is missing"],
        ["f:3:3", "attachments[0]: key 'program' is missing"],
        ["f:5:3", "attachments[0].mode: has no meaning on hook 'tc-egress'"],
        ["f:6:3", "attachments[0].prio: unknown key 'prio', did you mean 'priority'?"],
        ["f:7:3", "attachments[1]: want a mapping, not a word"],
        ["f:8:3", "attachments[2]: want a mapping, not a list"],
    ]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([XDP % "", XDP % ""], "attachment 'edge' is already configured at f:2:3"),
        ([XDP % "", XDP.replace("edge", "two") % ""], "XDP on interface 'eth0' is already taken at f:2:3"),
        ([TC % "", TC.replace("in,", "two,", 1) % ", handle: 1"], "with priority 1 and handle 1 is already taken"),
    ],
)
def test_entries_that_exclude_each_other_are_refused(entries: list[str], message: str) -> None:
    faults = _faults("attachments:\n" + "".join(f"- {entry}\n" for entry in entries))
    assert any(message in fault and fault.startswith("f:3:3: ") for fault in faults)


def test_two_filters_of_one_hook_may_differ_in_handle_or_priority() -> None:
    two, three = (TC.replace("in,", f"{name},", 1) for name in ("two", "three"))
    assert len(_parse(f"attachments:\n- {TC % ''}\n- {two % ', handle: 2'}\n- {three % ', priority: 2'}\n")) == 3


def test_entries_of_two_files_exclude_each_other_too() -> None:
    files = [read_attachment_file(f"attachments: [{XDP % ''}]".encode(), source=name) for name in ("a", "b")]
    with pytest.raises(ConfigError) as caught:
        merge_attachments(files)
    assert "b:1:15: attachment 'edge' is already configured at a:1:15" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("[" * 100_000, "1:17", "nested more than 16 levels"),
        ("{a: " * 100_000, "1:65", "nested more than 16 levels"),
        ("- " * 100_000, "1:33", "nested more than 16 levels"),
        ("a: &x 1\n", "1:4", "anchor '&x'"),
        ("a: *x\n", "1:4", "alias '*x'"),
        ("a: !!python/object:os.system x", "1:4", "tag"),
        ("a: ! x", "1:4", "tag"),
        ("%YAML 1.1\n---\na: b\n", "1:1", "directives"),
        ("a: b\n---\nc: d\n", "2:1", "second document"),
        ("a: b\na: c\n", "2:1", "key 'a' stands already in line 1, column 1"),
        ("attachments:\n- {name: a, name: b}\n", "2:13", "key 'name' stands already"),
        ("<<: {a: b}\n", "1:1", "merge keys"),
        ("? [a]\n: b\n", "1:3", "a key must be a word"),
        ("a: [b\n", "2:1", "no valid YAML"),
        ("a: \t- b\n", "1:5", "no valid YAML"),
        ("a: \x00\n", "1:4", "U+0000"),
        ("a:\n  \x1b[2J\n", "2:3", "U+001B"),
        ("text", "1:1", "want a mapping with the key 'attachments', not a word"),
        ("attachments: 5", "1:14", "want a list, not a word"),
        ("attachments: {}", "1:14", "want a list, not a mapping"),
    ],
)
def test_hostile_yaml_is_refused_with_its_place(text: str, place: str, message: str) -> None:
    start = time.monotonic()
    (fault,) = _faults(text)
    assert time.monotonic() - start < 1.0
    assert fault.startswith(f"f:{place}: ")
    assert message in fault


def test_bytes_that_are_no_utf_8_are_refused() -> None:
    with pytest.raises(ConfigError, match="f:2:2: byte 0x80"):
        parse_attachments(b"#\n \x80", source="f")


def test_text_over_one_mebibyte_is_refused() -> None:
    with pytest.raises(ConfigError, match="1048577 bytes"):
        parse_attachments(b"#" * (2**20 + 1), source="f")


def test_thousand_faults_stay_readable() -> None:
    with pytest.raises(ConfigError) as caught:
        _parse("attachments:\n" + "- x\n" * 1000)
    assert "1000 errors: " in str(caught.value)
    assert str(caught.value).endswith("and 980 more")
    assert len(str(caught.value)) < 4000


def test_limits_are_set_by_name_and_the_later_file_counts() -> None:
    files = [
        read_attachment_file(raw, source="f")
        for raw in (b"limits: {programs: 9, maps: 0x10}\n", b"attachments: []\nlimits: {programs: 10}\n", b"limits:\n")
    ]
    assert merge_limits(files) == Limits(programs=10, maps=16)


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("limits: {program: 9}", "1:10", "limits.program: unknown key 'program', did you mean 'programs'?"),
        ("limits: {maps: many}", "1:16", "limits.maps: want a whole decimal or 0x number, not 'many'"),
        ("limits: {maps: -1}", "1:16", "limits.maps: want a whole decimal or 0x number"),
        ("limits: {maps: 0x10000000001}", "1:16", "limits.maps: limit 'maps': want a number from 0 to 1099511627776"),
        ("limits: [maps]", "1:9", "limits: want a mapping, not a list"),
    ],
)
def test_wrong_limit_is_refused_at_its_place(text: str, place: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _parse(text)
    assert place in str(caught.value)
    assert reason in str(caught.value)


def test_manual_page_has_every_limit_with_its_default() -> None:
    page = (Path(__file__).parents[3] / "docs" / "xdploaderd.yaml.5.md").read_text()
    assert [name for name in LIMIT_NAMES if f"`{name}` ({getattr(DEFAULT_LIMITS, name)})" not in page] == []


def test_schema_names_every_key() -> None:
    schema = attachments_schema()
    entry = schema["$defs"]["AttachmentModel"]
    assert entry["additionalProperties"] is False
    assert set(entry["properties"]) == set(AttachmentConfig.__dataclass_fields__)
    assert entry["required"] == ["name", "hook", "object", "program"]
    assert entry["oneOf"] == [{"required": ["interface"]}, {"required": ["match"]}]
    assert entry["properties"]["priority"]["maximum"] == 65535


def test_published_schema_is_that_of_the_model() -> None:
    published = Path(__file__).parents[3] / "config" / "xdploaderd.schema.json"
    assert json.loads(published.read_text()) == attachments_schema()


YAML_TEXT = st.text(st.sampled_from("attchmens:-{}[],&*!<>|?#'\"%@ \n\t\\0x9") | st.characters(), max_size=80)


@pytest.mark.property
@given(YAML_TEXT | YAML_TEXT.map(lambda text: f"attachments:\n- name: {text}\n") | st.binary(max_size=60))
def test_parser_raises_config_error_and_nothing_else(text: str | bytes) -> None:
    raw = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
    with suppress(ConfigError):
        parse_attachments(raw, source="f")


def test_unknown_key_with_invisible_characters_is_shown_escaped() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_attachments("a\ufeff: []\n".encode(), source="x.yaml")
    assert "x.yaml:1:1: a\\ufeff: unknown key 'a\\ufeff'" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("protocol: ip, classid: 1:10", (0x0800, 0x10010)),
        ("protocol: 802.1q", (0x8100, 0)),
        ("protocol: 0x88b5, classid: 7", (0x88B5, 7)),
        ("classid: ':ffff'", (3, 0xFFFF)),
        ("protocol: 3", (3, 0)),
    ],
)
def test_protocol_and_class_of_a_filter_are_written_as_tc_writes_them(line: str, values: tuple[int, int]) -> None:
    text = f"attachments: [{{name: a, interface: e, hook: tc-egress, object: /o, program: p, {line}}}]"
    (config,) = parse_attachments(text.encode(), source="f")
    assert (config.protocol, config.classid) == values
    assert parse_attachments(entry_yaml(config).encode(), source="g") == (config,)
    assert parse_entry(entry_values(config), source="h") == config


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("protocol: ipx", "did you mean 'ip'"),
        ("protocol: 0x10000", "nor an EtherType"),
        ("protocol: 0", "nor an EtherType"),
        ("classid: 1:12345", "such as 1:10"),
        ("classid: x", "such as 1:10"),
    ],
)
def test_protocol_or_class_that_is_none_is_refused(line: str, text: str) -> None:
    raw = f"attachments: [{{name: a, interface: e, hook: tc-egress, object: /o, program: p, {line}}}]"
    with pytest.raises(ConfigError, match=text):
        parse_attachments(raw.encode(), source="f")


def test_more_attachments_or_words_than_are_read_are_refused() -> None:
    with pytest.raises(ConfigError, match="4097 attachments in one file, want at most 4096"):
        _parse("attachments:\n" + "- x\n" * 4097)
    with pytest.raises(ConfigError, match=r"f:1:\d+: more than 65536 words, lists and mappings"):
        _parse("attachments: [" + "x," * 100_000 + "]")


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("first", "first"),
        ("last", "last"),
        ("{before: other}", "before:other"),
        ("{after: 17}", "after:17"),
        ("after:x_prog", "after:x_prog"),
    ],
)
def test_order_of_a_link_is_a_word_or_a_mapping(text: str, order: str) -> None:
    entry = _entry(TC % f", attach: link, order: {text}")
    assert (entry.attach, entry.order, entry.priority, entry.handle) == (AttachKind.LINK, order, 0, 0)
    assert parse_entry(entry_values(entry), source="f") == entry


def test_modes_are_a_ladder_and_one_alone_is_a_mode() -> None:
    ladder = _entry(XDP % ", modes: [native, skb], no_maps: [a, b]")
    assert ladder.ladder == (XdpMode.NATIVE, XdpMode.SKB)
    assert parse_entry(entry_values(ladder), source="f") == ladder
    assert _entry(XDP % ", modes: [native]") == _entry(XDP % ", mode: native")


def test_links_on_one_tc_hook_do_not_claim_it() -> None:
    second = (TC % ", attach: link").replace("name: in", "name: in2")
    assert (
        len(
            _parse(f"attachments:\n- {TC % ', attach: link'}\n- {second}\n- {TC.replace('name: in', 'name: f') % ''}\n")
        )
        == 3
    )


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (TC % ", order: first", "order: has no meaning on a hook of 'attach: netlink'"),
        (TC % ", attach: link, priority: 1", "priority: has no meaning on a hook of 'attach: link'"),
        (TC % ", attach: link, order: middle", "order: want first, last, before: NAME or after: NAME"),
        (TC % ", attach: link, order: {before: ''}", "order: want first, last, before: NAME or after: NAME"),
        (TC % ", attach: link, order: 'first:x'", "order: want first, last, before: NAME or after: NAME"),
        (TC % ", modes: [skb]", "modes: has no meaning on hook 'tc-ingress'"),
        (XDP % ", attach: link, order: first", "order: has no meaning on hook 'xdp'"),
        (XDP % ", attach: pin", "attach: 'pin' is not one of netlink, link"),
        (XDP % ", mode: skb, modes: [skb]", "modes: stands beside 'mode'"),
        (XDP % ", modes: skb", "modes: want a list of modes, best first, not a word"),
        (XDP % ", modes: [skb, skb]", "modes: has a mode twice"),
        (XDP % ", modes: [native, unspecified]", "modes: 'unspecified' leaves the choice to the kernel"),
        (XDP % ", allow_gap: yes", "allow_gap: want true or false"),
    ],
)
def test_faults_of_kind_order_and_modes_are_told(entry: str, message: str) -> None:
    (fault,) = _faults(f"attachments:\n- {entry}\n")
    assert message in fault
