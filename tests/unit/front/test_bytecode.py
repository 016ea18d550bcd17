"""Classic bytecode as text: what tcpdump -ddd prints, and every way in which it can be wrong."""

from pathlib import Path

import pytest

from xdploaderd.errors import FileError, ObjectError
from xdploaderd.front.bytecode import MAX_TEXT, bytecode_text, parse_bytecode, read_bytecode

ARP = "4,40 0 0 12,21 0 1 2054,6 0 0 262144,6 0 0 0"  # tcpdump -ddd arp


@pytest.mark.parametrize("text", [ARP, f"{ARP},", "1,6 0 0 4294967295", " 1,6\t0  0 1", "+1,6 0 0 1"])
def test_instructions_come_back_as_tc_shows_them(text: str) -> None:
    shown = bytecode_text(parse_bytecode(text))
    assert shown == " ".join(text.strip(", +").replace("\t", " ").split())


def test_longest_program_is_taken() -> None:
    text = "4096," + ",".join(["6 0 0 0"] * 4096)
    assert bytecode_text(parse_bytecode(text)) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2,6 0 0 1,", "2 instructions are announced, there are 1"),
        ("1,6 0 0 1,6 0 0 1,", "1 instructions are announced, there are more"),
        ("1,", "1 instructions are announced, there are 0"),
        ("0,", "0 instructions are announced, want 1 to 4096"),
        ("4097,", "4097 instructions are announced"),
        ("", "want the number of instructions first"),
        ("6 0 0 1", "want the number of instructions first"),
        ("x,6 0 0 1", "want the number of instructions first"),
        ("1,6 0 0", "instruction 0 is '6 0 0', want four"),
        ("1,6 0 0 0x1", "instruction 0 is '6 0 0 0x1'"),
        ("2,6 0 0 1,,", "instruction 1 is ''"),
        ("1,6 0 0 1 2", "instruction 0 is '6 0 0 1 2'"),
        ("1,65536 0 0 1", "instruction 0: code is 65536, at most 65535"),
        ("1,6 256 0 1", "instruction 0: jt is 256, at most 255"),
        ("1,6 0 256 1", "instruction 0: jf is 256"),
        ("1,6 0 0 4294967296", "instruction 0: k is 4294967296"),
        ("1,6 0 0 -1", "instruction 0 is '6 0 0 -1'"),
    ],
)
def test_bytecode_that_is_none_is_refused_naming_the_instruction(text: str, reason: str) -> None:
    with pytest.raises(ObjectError, match=reason):
        parse_bytecode(text)


@pytest.mark.parametrize(
    "raw",
    [
        b"4\n40 0 0 12\n21 0 1 2054\n6 0 0 262144\n6 0 0 0\n",
        ARP.encode(),
        b"4,40 0 0 12,\n21 0 1 2054,\n6 0 0 262144,6 0 0 0,\n",
    ],
)
def test_end_of_line_is_a_comma_in_a_file(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "arp").write_bytes(raw)
    assert bytecode_text(parse_bytecode(read_bytecode(tmp_path / "arp"))) == ARP


def test_file_that_is_missing_or_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such file"):
        read_bytecode(tmp_path / "missing")
    (tmp_path / "long").write_bytes(b"6" * (MAX_TEXT + 1))
    with pytest.raises(ObjectError, match="longer than"):
        read_bytecode(tmp_path / "long")
