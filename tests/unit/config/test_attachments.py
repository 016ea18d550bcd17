"""xdploaderd.yaml: what an entry means, and the schema that is published of it."""

import json
from pathlib import Path, PurePosixPath

import pytest

from tests.unit.config.written import TC, XDP, one_entry, parsed
from xdploaderd.config.attachment_model import attachments_schema
from xdploaderd.config.attachments import (
    AttachmentConfig,
    AttachmentName,
    merge_limits,
    parse_attachments,
    read_attachment_file,
)
from xdploaderd.config.entry import entry_values, entry_yaml, parse_entry
from xdploaderd.hooks import AttachKind, Hook, XdpMode
from xdploaderd.limits import DEFAULT_LIMITS, LIMIT_NAMES, Limits


def test_xdp_entry_with_defaults() -> None:
    assert one_entry(XDP % "") == AttachmentConfig(
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
    entry = one_entry(TC % "")
    assert (entry.priority, entry.handle, entry.mode) == (1, 1, XdpMode.UNSPECIFIED)
    entry = one_entry(TC % ", priority: 65535, handle: 0xffffffff, force: true")
    assert (entry.priority, entry.handle, entry.force) == (65535, 0xFFFFFFFF, True)


def test_values_to_set_in_the_object_are_kept_as_written() -> None:
    entry = one_entry(XDP % ", globals: {limit: 0x10, name: 'no', on: true}, max_entries: {flows: 0x100}")
    assert entry.globals == (("limit", "0x10"), ("name", "no"), ("on", "true"))
    assert entry.max_entries == (("flows", 256),)


def test_entry_shares_maps_and_leaves_maps_out() -> None:
    entry = one_entry(XDP % ", share: {flows: all/flows, hits: /sys/fs/bpf/hits}, no_maps: [trace, debug]")
    assert entry.share == (("flows", "all/flows"), ("hits", "/sys/fs/bpf/hits"))
    assert entry.no_maps == ("debug", "trace")


@pytest.mark.parametrize("word", ["no", "12:30:45", "null", "0x10", "1e3", "2026-01-01", "true"])
def test_words_are_what_was_written(word: str) -> None:
    entry = one_entry(
        f"{{name: no, interface: {word if ':' not in word else 'v0'}, hook: xdp, object: /o, program: {word}}}"
    )
    assert (entry.name, entry.program) == ("no", word)


@pytest.mark.parametrize("text", ["", "# nothing\n", "attachments:\n", "attachments: []\n", "---\n"])
def test_no_attachments_are_no_error(text: str) -> None:
    assert parsed(text) == ()


def test_two_filters_of_one_hook_may_differ_in_handle_or_priority() -> None:
    two, three = (TC.replace("in,", f"{name},", 1) for name in ("two", "three"))
    assert len(parsed(f"attachments:\n- {TC % ''}\n- {two % ', handle: 2'}\n- {three % ', priority: 2'}\n")) == 3


def test_limits_are_set_by_name_and_the_later_file_counts() -> None:
    files = [
        read_attachment_file(raw, source="f")
        for raw in (b"limits: {programs: 9, maps: 0x10}\n", b"attachments: []\nlimits: {programs: 10}\n", b"limits:\n")
    ]
    assert merge_limits(files) == Limits(programs=10, maps=16)


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
    entry = one_entry(TC % f", attach: link, order: {text}")
    assert (entry.attach, entry.order, entry.priority, entry.handle) == (AttachKind.LINK, order, 0, 0)
    assert parse_entry(entry_values(entry), source="f") == entry


def test_modes_are_a_ladder_and_one_alone_is_a_mode() -> None:
    ladder = one_entry(XDP % ", modes: [native, skb], no_maps: [a, b]")
    assert ladder.ladder == (XdpMode.NATIVE, XdpMode.SKB)
    assert parse_entry(entry_values(ladder), source="f") == ladder
    assert one_entry(XDP % ", modes: [native]") == one_entry(XDP % ", mode: native")


def test_links_on_one_tc_hook_do_not_claim_it() -> None:
    second = (TC % ", attach: link").replace("name: in", "name: in2")
    assert (
        len(
            parsed(f"attachments:\n- {TC % ', attach: link'}\n- {second}\n- {TC.replace('name: in', 'name: f') % ''}\n")
        )
        == 3
    )
