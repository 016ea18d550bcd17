"""What finds records and names in a kernel's blob: places of records, searches of bytes, strings by their start."""

import random
from array import array

import pytest

from xdploaderd.btf.index import AT_ONCE, STEP, RecordIndex
from xdploaderd.btf.lookup import SMALL_BLOB, WORD, NameLookup, _find_all
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
    return list(index_of(words).all_places())


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


def index_of(words: "array[int]") -> RecordIndex:
    return RecordIndex(memoryview(words.tobytes()).cast("I"), 1)


MANY = len(LENGTHS) * (AT_ONCE * STEP // 2)  # records, of which a part is found with the first


@pytest.mark.parametrize("number", [0, 1, AT_ONCE * STEP, 2 * AT_ONCE * STEP + 1, MANY - 1])
def test_records_are_found_as_far_as_asked(number: int) -> None:
    words, lengths = section(list(LENGTHS)) * (MANY // len(LENGTHS)), list(LENGTHS.values())
    rounds, rest = divmod(number, len(lengths))
    place = rounds * sum(lengths) + sum(lengths[:rest])
    by_number, by_place = index_of(words), index_of(words)
    assert by_number.place_of(number) == place
    assert by_place.number_at(place) == number
    found = by_number.places
    assert number < len(found) <= number + AT_ONCE * STEP + 1
    assert found == by_place.places == by_number.all_places()[: len(found)]
    assert len(by_number.places) == MANY


def test_there_is_no_record_behind_the_last_or_inside_of_another() -> None:
    words = section([0x02000000]) * MANY
    index = index_of(words)
    assert [index.place_of(number) for number in (-1, MANY, MANY - 1)] == [None, None, 3 * (MANY - 1)]
    assert [index.number_at(place) for place in (1, 2, len(words) - 1, len(words), len(words) + 1)] == [None] * 5
    assert index_of(words[:0]).number_at(0) is None


def test_more_distinct_lengths_than_steps_are_walked_to_the_end() -> None:
    words, places = array("I"), []
    for count in range(STEP + 100):  # of parameters
        places.append(len(words))
        words += array("I", (0, 0x0D000000 | count, 0)) + array("I", (0, 0)) * count
    assert list(index_of(words).all_places()) == places


def test_what_is_wrong_with_a_record_is_told_when_it_is_reached_and_each_time() -> None:
    index = index_of(section([0x02000000]) * (MANY - 1) + section([UNKNOWN]))
    assert index.place_of(7) == 21
    for _ in range(2):
        with pytest.raises(BtfError, match=rf"^type \[{MANY}\]: kind 64 is unknown"):
            index.place_of(MANY)
    assert index.place_of(8) == 24


def test_name_of_an_early_record_is_found_without_the_places_of_all() -> None:
    words = section([0x08000000]) * MANY
    words[:4] = array("I", (1, 0x04000001, 4, 1))  # a struct whose member has its name
    words[4:9] = array("I", (2, 0, 1, 0x08000000, 2))
    table, view = strings(b"\0s\0"), memoryview(words.tobytes()).cast("I")
    index = RecordIndex(view, 1)
    assert NameLookup(view, index, table).records("s") == (0, 1)
    assert len(index.places) < MANY // 2


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
