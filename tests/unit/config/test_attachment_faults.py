"""xdploaderd.yaml: every fault of an attachment is told with its place, and all of them at once."""

import pytest

from tests.unit.config.written import TC, XDP, faults_of, parsed
from xdploaderd.config.attachments import merge_attachments, parse_attachments, read_attachment_file
from xdploaderd.errors import ConfigError


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
    (fault,) = faults_of(f"attachments:\n- {XDP % keys}\n")
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
    (fault,) = faults_of(f"attachments:\n- {TC % keys}\n")
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
    (fault,) = faults_of("attachments:\n- " + "\n  ".join(f"{k}: {v}" for k, v in values.items()))
    assert f"attachments[0].{key}: " in fault
    assert message in fault


def test_all_faults_of_a_file_are_told_at_once_in_order() -> None:
    faults = faults_of(
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
    faults = faults_of("attachments:\n" + "".join(f"- {entry}\n" for entry in entries))
    assert any(message in fault and fault.startswith("f:3:3: ") for fault in faults)


def test_entries_of_two_files_exclude_each_other_too() -> None:
    files = [read_attachment_file(f"attachments: [{XDP % ''}]".encode(), source=name) for name in ("a", "b")]
    with pytest.raises(ConfigError) as caught:
        merge_attachments(files)
    assert "b:1:15: attachment 'edge' is already configured at a:1:15" in str(caught.value)


def test_thousand_faults_stay_readable() -> None:
    with pytest.raises(ConfigError) as caught:
        parsed("attachments:\n" + "- x\n" * 1000)
    assert "1000 errors: " in str(caught.value)
    assert str(caught.value).endswith("and 980 more")
    assert len(str(caught.value)) < 4000


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
        parsed(text)
    assert place in str(caught.value)
    assert reason in str(caught.value)


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
    (fault,) = faults_of(f"attachments:\n- {entry}\n")
    assert message in fault
