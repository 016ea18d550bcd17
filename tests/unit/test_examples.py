"""The examples that users copy are read by the readers themselves, with what is commented out as well."""

import re
from pathlib import Path, PurePosixPath

from xdploaderd.config.attachments import parse_attachments
from xdploaderd.config.pinning import PinningConf, parse_pinning_conf
from xdploaderd.hooks import Hook, XdpMode

ROOT = Path(__file__).parents[2]
PINNING = ROOT / "etc" / "libbpf" / "pinning.conf.example"
ATTACHMENTS = ROOT / "config" / "xdploaderd.yaml.example"
MANUAL = ROOT / "docs" / "xdploaderd.yaml.5.md"


def _place(conf: PinningConf, pinning: int, *, legacy: bool) -> PurePosixPath | None:
    return conf.map_path("m", pinning, legacy=legacy, object_sha1="0" * 40, work_dir="tc")


def _places(conf: PinningConf) -> list[PurePosixPath | None]:
    return [_place(conf, 1, legacy=False), _place(conf, 1, legacy=True), _place(conf, 2, legacy=True)]


def test_example_of_attachments_shows_every_hook() -> None:
    entries = parse_attachments(ATTACHMENTS.read_bytes(), source="example")
    assert [entry.hook for entry in entries] == [Hook.XDP, Hook.TC_INGRESS, Hook.TC_EGRESS]
    assert entries[0].mode is XdpMode.NATIVE


def test_example_of_the_manual_page_is_valid() -> None:
    example = MANUAL.read_text().split("## Example")[1].split("```")[1]
    assert len(parse_attachments(example.encode(), source="manual")) == 1


def test_example_of_pinning_says_the_defaults() -> None:
    conf = parse_pinning_conf(PINNING.read_bytes(), source="example")
    defaults = parse_pinning_conf(b"", source="empty")
    assert _places(conf) == _places(defaults)


def test_statements_commented_out_in_the_example_are_valid() -> None:
    text = re.sub(r"^#(?=\w)(?!include)", "", PINNING.read_text(), flags=re.MULTILINE)
    conf = parse_pinning_conf(text.encode(), source="example")
    assert _place(conf, 0x10, legacy=True) == PurePosixPath("/sys/fs/bpf/tc/edge/m")
