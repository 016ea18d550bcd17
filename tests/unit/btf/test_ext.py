"""parse_btf_ext: tables by section, and the refusal of malformed ones."""

import gc
import struct

import pytest

from tests.builders.btf import S32
from xdploaderd.btf.build import BtfBuilder
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.ext import CoreRelo, FuncInfo, LineInfo, parse_btf_ext
from xdploaderd.errors import BtfError

BUILDER = BtfBuilder()
BUILDER.add(S32)
XDP, TC, ACCESS = (BUILDER.add_string(text) for text in ("xdp", "tc", "0:1"))
BTF = Btf.parse(BUILDER.encode(), name="x.o")


def table(record_size: int, *groups: tuple[int, int, bytes]) -> bytes:
    return struct.pack("<I", record_size) + b"".join(struct.pack("<II", name, n) + rows for name, n, rows in groups)


def section(func: bytes = b"", line: bytes = b"", core: bytes = b"", *, hdr_len: int = 32) -> bytes:
    areas = struct.pack("<IIII", 0, len(func), len(func), len(line))
    if hdr_len == 32:
        areas += struct.pack("<II", len(func) + len(line), len(core))
    return struct.pack("<HBBI", 0xEB9F, 1, 0, hdr_len) + areas + func + line + core


FUNC = table(8, (XDP, 2, struct.pack("<IIII", 0, 1, 64, 1)))
LINE = table(16, (XDP, 1, struct.pack("<IIII", 0, TC, XDP, 7 << 10 | 3)))
CORE = table(16, (XDP, 1, struct.pack("<IIII", 8, 1, ACCESS, 0)), (TC, 1, struct.pack("<IIII", 16, 1, ACCESS, 99)))


def test_tables_are_grouped_by_section() -> None:
    ext = parse_btf_ext(section(FUNC, LINE, CORE), BTF)
    assert ext.func_infos == {"xdp": (FuncInfo(0, 1), FuncInfo(64, 1))}
    assert ext.line_infos == {"xdp": (LineInfo(0, TC, XDP, 7 << 10 | 3),)}
    assert ext.core_relos == {"xdp": (CoreRelo(8, 1, "0:1", 0),), "tc": (CoreRelo(16, 1, "0:1", 99),)}


def test_short_header_means_no_core_records() -> None:
    ext = parse_btf_ext(section(FUNC, LINE, hdr_len=24), BTF)
    assert len(ext.func_infos["xdp"]) == 2
    assert not ext.core_relos


def test_longer_records_are_stepped_over() -> None:
    longer = table(
        24, (XDP, 2, struct.pack("<6I", 8, 1, ACCESS, 5, 77, 88) + struct.pack("<6I", 16, 1, ACCESS, 6, 0, 0))
    )
    ext = parse_btf_ext(section(core=longer), BTF)
    assert ext.core_relos["xdp"] == (CoreRelo(8, 1, "0:1", 5), CoreRelo(16, 1, "0:1", 6))


def _patched(at: int, layout: str, value: int) -> bytes:
    raw = bytearray(section(FUNC, LINE, CORE))
    struct.pack_into(layout, raw, at, value)
    return bytes(raw)


MALFORMED = {
    "empty": b"",
    "short": section(FUNC)[:23],
    "magic": _patched(0, "<H", 1),
    "other byte order": _patched(0, ">H", 0xEB9F),
    "version": _patched(2, "<B", 2),
    "flags": _patched(3, "<B", 4),
    "header length huge": _patched(4, "<I", 0xFFFFFFFF),
    "header length 20": _patched(4, "<I", 20),
    "nothing behind the header": section(),
    "unaligned offset": _patched(8, "<I", 2),
    "length past the end": _patched(12, "<I", 0x1000),
    "length 2": _patched(12, "<I", 2),
    "table of a record size alone": section(struct.pack("<I", 8)),
    "record size 4": section(table(4, (XDP, 1, bytes(4)))),
    "record size 9": section(table(9, (XDP, 1, bytes(9)))),
    "no records": section(table(8, (XDP, 0, b""))),
    "too many records": section(table(8, (XDP, 0xFFFFFFFF, bytes(8)))),
    "half a group header": section(FUNC + b"\0\0\0\0"),
    "section name outside": section(table(8, (5000, 1, bytes(8)))),
    "access string outside": section(core=table(16, (XDP, 1, struct.pack("<IIII", 0, 1, 5000, 0)))),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_section_is_refused(case: str) -> None:
    with pytest.raises(BtfError, match=r"^\.BTF\.ext: "):
        parse_btf_ext(MALFORMED[case], BTF)


def test_records_left_half_way_by_an_error_hold_no_view() -> None:
    core = table(16, (XDP, 2, struct.pack("<IIIIIIII", 8, 1, 0xFFFF, 0, 8, 1, ACCESS, 0)))
    with pytest.raises(BtfError, match="string offset 65535") as caught:
        parse_btf_ext(section(FUNC, LINE, core), BTF)
    assert caught.tb is not None, "the traceback keeps the frames, and what they hold"
    iterators = [item for item in gc.get_objects() if type(item).__name__ == "unpack_iterator"]
    assert not any(isinstance(held, memoryview) for item in iterators for held in gc.get_referents(item))
