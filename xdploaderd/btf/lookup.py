"""Records by name: a search of the blob's bytes, since an object asks for a few of a kernel's 130,000 types."""

import itertools
import re
import sys
from array import array
from collections.abc import Iterator

from xdploaderd.btf.index import RecordIndex
from xdploaderd.btf.names import essential_name
from xdploaderd.btf.records import KIND_MASK, KIND_SHIFT
from xdploaderd.btf.strings import BtfStrings
from xdploaderd.errors import BtfError

FEW_SEARCHES = 6  # of a kernel's records; the places of all of them and a column of their names take what ten do
SMALL_BLOB = 4096  # records; a column of their names takes less than to prepare a search
RECORD_WORDS = 8  # on average
MAX_SEARCHES = 256  # of some 3 ms in a kernel's blob; a table of all names takes less than the next so many
MAX_HITS = 65_536  # of one name; a table is then as quick
MAX_SAME_RECORDS = 16_384  # types of one name and its flavors; in a kernel some hundred
MAX_SAME_STRINGS = 1024  # compilers store a string once, and flavors of a name are few
WORD = 4


class NameLookup:
    """Remembers what was asked for; whoever asks for very many names gets a table of all."""

    __slots__ = ("_column", "_found", "_index", "_searches", "_strings", "_table_made", "_words")

    def __init__(self, words: memoryview, index: RecordIndex, strings: BtfStrings) -> None:
        self._words = words
        self._index = index
        self._strings = strings
        self._searches = 0  # of the records themselves
        self._column = b""  # the first word of each record
        self._found: dict[str, tuple[int, ...]] = {}
        self._table_made = False

    def records(self, name: str) -> tuple[int, ...]:
        """Return the numbers, ascending, of the records whose name without flavor is `name`. Raises BtfError."""
        if name not in self._found and not self._table_made:
            searched = self._search(name) if len(self._found) < MAX_SEARCHES else None
            if searched is None:
                self._found, self._table_made = self._table(), True
            else:
                self._found[name] = searched
        found = self._found.get(name, ())
        if len(found) > MAX_SAME_RECORDS:
            raise BtfError(f"over {MAX_SAME_RECORDS} types have one name")
        return found

    def _search(self, name: str) -> tuple[int, ...] | None:
        """Return the numbers of the records of that name; None when its bytes are everywhere: make a table."""
        same = tuple(itertools.islice(self._strings.offsets_of_essential(name), MAX_SAME_STRINGS + 1))
        if len(same) > MAX_SAME_STRINGS:
            raise BtfError(f"string at offset {same[0]} is stored over {MAX_SAME_STRINGS} times")
        numbers: list[int] = []
        hits = 0
        for string_offset in same:
            needle = string_offset.to_bytes(WORD, sys.byteorder)
            for number in self._hits(needle):
                hits += 1
                if hits > MAX_HITS:
                    return None
                if number is not None:
                    numbers.append(number)
        return tuple(sorted(numbers))

    def _hits(self, needle: bytes) -> Iterator[int | None]:
        """Yield wherever these bytes are the number of the record whose name they are, None where they are not one."""
        if self._searches < FEW_SEARCHES and len(self._words) > RECORD_WORDS * SMALL_BLOB:
            self._searches += 1
            return self._hits_in_records(needle)
        if not self._column:
            self._column = array("I", map(self._words.__getitem__, self._index.all_places())).tobytes()
        return self._hits_in_column(needle)

    def _hits_in_records(self, needle: bytes) -> Iterator[int | None]:
        for at in _find_all(self._words.cast("B"), needle):
            place, rest = divmod(at, WORD)
            # The same four bytes may be another field of a record, a member's name above all.
            yield None if rest or self._is_no_head(place) else self._index.number_at(place)

    def _is_no_head(self, place: int) -> bool:
        """Tell at a glance that no record starts at a place, which spares looking for those before it."""
        return place + 1 >= len(self._words) or not self._words[place + 1] >> KIND_SHIFT & KIND_MASK

    def _hits_in_column(self, needle: bytes) -> Iterator[int | None]:
        for at in _find_all(self._column, needle):
            yield None if at % WORD else at // WORD  # the end of one word and the start of the next may be the same

    def _table(self) -> dict[str, tuple[int, ...]]:
        by_offset: dict[int, list[int]] = {}
        for number, place in enumerate(self._index.all_places()):
            by_offset.setdefault(self._words[place], []).append(number)
        table: dict[str, tuple[int, ...]] = {}
        for string_offset, numbers in by_offset.items():
            try:
                name = essential_name(self._strings[string_offset])
            except BtfError:
                continue  # no string that anyone can ask for
            table[name] = tuple(sorted((*table.get(name, ()), *numbers)))
        return table


def _find_all(hay: bytes | memoryview, needle: bytes) -> Iterator[int]:
    """Yield every place of some bytes, overlapping ones too.

    A pattern finds them five times as quick as bytes.find where zeros are among them, and takes 60 us to compile.
    """
    at = -1
    if isinstance(hay, bytes) and len(hay) <= WORD * SMALL_BLOB:
        while (at := hay.find(needle, at + 1)) >= 0:
            yield at
        return
    search = re.compile(re.escape(needle), re.DOTALL).search
    while (match := search(hay, at + 1)) is not None:
        at = match.start()
        yield at
