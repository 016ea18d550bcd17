"""StringTable: a text is stored once, and what was there keeps its offset."""

from xdploaderd.btf.string_table import MAX_SEARCHES, StringTable

NAMES = [f"name_{number}" for number in range(3 * MAX_SEARCHES)]


def test_text_that_is_there_is_found_as_a_whole_string_only() -> None:
    table = StringTable(b"\0counter\0int\0")
    assert [table.offset_of(text) for text in ("", "int", "counter")] == [0, 9, 1]
    assert table.offset_of("count") == table.offset_of("count") == 13
    assert table.offset_of("nt") == 19
    assert bytes(table) == b"\0counter\0int\0count\0nt\0"


def test_offsets_are_the_same_for_few_and_for_many_texts() -> None:
    raw = b"\0" + b"".join(f"{name}\0".encode() for name in NAMES) + b"name_1\0"
    many = StringTable(raw)
    assert [many.offset_of(name) for name in NAMES] == [StringTable(raw).offset_of(name) for name in NAMES]
    assert bytes(many) == raw
    assert many.offset_of("late") == len(raw)
    assert bytes(many) == raw + b"late\0"


def test_offsets_of_a_split_blob_continue_those_of_its_base() -> None:
    table = StringTable(b"first\0", first_offset=100)
    assert [table.offset_of(text) for text in ("", "first", "second", *NAMES)][:4] == [0, 100, 106, 113]
    assert table.offset_of("first") == 100
