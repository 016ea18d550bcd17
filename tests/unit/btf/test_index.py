"""What finds records and names in a kernel's blob: places of records, searches of bytes, strings by their start."""

import random
from array import array

import pytest

from xdploaderd.btf.lookup import SMALL_BLOB, WORD, _find_all
from xdploaderd.btf.records import index_records
from xdploaderd.btf.strings import BtfStrings
from xdploaderd.errors import BtfError

LENGTHS = {0x02000000: 3, 0x01000000: 4, 0x03000000: 6, 0x0D000002: 7, 0x84000003: 12, 0x0F000000: 3}  # by info word
UNKNOWN = 0x40000000


def section(infos: list[int]) -> "array[int]":
    """Return the words of records with these info words, and with -1 in all others."""
    words = array("I")
    for info in infos:
        words.extend((0xFFFFFFFF, info, *(0xFFFFFFFF,) * (LENGTHS.get(info, 3) - 2)))
    return words


def places(words: "array[int]") -> list[int]:
    return list(index_records(memoryview(words.tobytes()).cast("I"), 1))


@pytest.mark.parametrize("count", range(20))
def test_every_record_has_its_place(count: int) -> None:
    infos = random.Random(count).choices(list(LENGTHS), k=count)
    lengths = [LENGTHS[info] for info in infos]
    assert places(section(infos)) == [sum(lengths[:number]) for number in range(count)]


@pytest.mark.parametrize("number", range(18))
def test_kind_unknown_is_told_with_the_number_of_its_type(number: int) -> None:
    infos = [0x02000000] * 18
    infos[number] = UNKNOWN
    with pytest.raises(BtfError, match=rf"^type \[{number + 1}\]: kind 64 is unknown, want 1 to 19$"):
        places(section(infos))


@pytest.mark.parametrize("left_out", range(1, 12))
@pytest.mark.parametrize("before", [0, 7, 8, 9])
def test_record_that_is_cut_short_is_told_with_its_number(before: int, left_out: int) -> None:
    words = section([0x02000000] * before + [0x84000003])[:-left_out]
    with pytest.raises(BtfError, match=rf"^type \[{before + 1}\] does not end inside the type section$"):
        places(words)


@pytest.mark.parametrize("size", [100, WORD * SMALL_BLOB + 1])
@pytest.mark.parametrize("needle", [b"....", b"\1\0\0\0", b"\n\n\n\n", b"\7\7\7\7"])
def test_bytes_are_found_wherever_they_are(size: int, needle: bytes) -> None:
    hay = bytearray(b"\7" * size)
    hay[5:9] = hay[50:54] = hay[-4:] = needle
    hay[54:56] = needle[:2]  # a second hit two bytes later where all bytes of it are the same
    wanted = [at for at in range(size - 3) if hay[at : at + 4] == needle]
    assert list(_find_all(bytes(hay), needle)) == wanted
    assert list(_find_all(memoryview(hay), needle)) == wanted


def strings(raw: bytes, base: BtfStrings | None = None) -> BtfStrings:
    return BtfStrings(b"before" + raw + b"behind\0", 6, len(raw), base)


def test_names_and_their_flavors_are_found_by_their_start() -> None:
    table = strings(b"\0ab\0a\0xa\0a___b\0a____c\0a___\0a_\0a___b___c\0a\0")
    assert list(table.offsets_of_essential("a")) == [4, 9, 40]
    assert list(table.offsets_of_essential("a___b")) == [30]
    assert not list(table.offsets_of_essential("behind"))
    assert not list(table.offsets_of_essential("before"))


def test_first_string_of_a_split_blob_follows_no_nul() -> None:
    base = strings(b"\0a\0")
    assert list(strings(b"a\0b\0a___x\0", base).offsets_of_essential("a")) == [1, 3, 7]
    assert not list(strings(b"", base).offsets_of_essential("b"))
    assert not list(strings(b"be\0", base).offsets_of_essential("before"))
