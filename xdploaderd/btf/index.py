"""Where the records of a type section are, found as far as somebody asks (Documentation/bpf/btf.rst).

Of a kernel's 130,000 records objects need some dozen, and most of these are in the first third: what follows is
functions. What records hold is of btf/records.py.
"""

from array import array
from bisect import bisect_left
from itertools import repeat

from xdploaderd.btf.records import stride
from xdploaderd.errors import BtfError, error_context

AT_ONCE = 8  # places that are noted at a time
STEP = 2048  # times that, before it is asked again whether this is far enough


class RecordIndex:
    """The places of a section's records, in words from its start.

    `places` has those of the first records, as far as they were asked for: each of a known kind and inside the section.
    It is replaced, never changed, since threads may ask at once.
    """

    __slots__ = ("_first_id", "_words", "places")

    def __init__(self, words: memoryview, first_id: int) -> None:
        self._words = words
        self._first_id = first_id  # of the first record, for messages
        self.places = array("I")

    def all_places(self) -> "array[int]":
        """Return the place of every record; BtfError for one of unknown kind, or that ends behind the section."""
        places = self.places
        while more := self._more(places, len(self._words)):
            places = self.places = more
        return places

    def place_of(self, number: int) -> int | None:
        """Return the place of a record by its number from 0, None where there are not so many. Raises BtfError."""
        places = self.places
        while number >= len(places) and (more := self._more(places, STEP)):
            places = self.places = more
        return places[number] if 0 <= number < len(places) else None

    def number_at(self, place: int) -> int | None:
        """Return the number of the record that starts at a place, None where none does. Raises BtfError."""
        places = self.places
        while (not places or places[-1] < place) and (more := self._more(places, STEP)):
            places = self.places = more
        number = bisect_left(places, place)
        return number if number < len(places) and places[number] == place else None

    def _more(self, places: "array[int]", steps: int) -> "array[int] | None":
        """Return these places and the next, None where all are there."""
        end = len(self._words)
        at = places[-1] + stride(self._words[places[-1] + 1]) if places else 0
        if at == end:
            return None
        found = places + array("I", (at,))
        goes_on = _most_places(self._words, found, max(steps, STEP))
        at = found.pop()
        while at < end and not goes_on:
            found.append(at)
            if at + 1 == end:
                break
            with error_context(f"type [{self._first_id + len(found) - 1}]"):
                at += stride(self._words[at + 1])
        if at > end or (at < end and not goes_on):
            raise BtfError(f"type [{self._first_id + len(found) - 1}] does not end inside the type section")
        return found


def _most_places(words: memoryview, places: "array[int]", steps: int) -> bool:
    """Add the places that follow the last one, and tell whether all `steps` were made.

    If not, the section's end is near, or a record is of unknown kind: the last place is then for the caller to look at,
    who does so at leisure. A kernel has 130,000 records but only some 300 distinct info words, so that their lengths
    are remembered; and eight steps are taken at a time, since to note a place by itself takes the interpreter as long
    as to find it.
    """
    infos = words[1:]
    strides: dict[int, int] = {}
    add = places.fromlist
    left = repeat(None, steps)
    while True:
        at = places[-1]
        try:
            for _ in left:
                add(
                    [
                        at := at + strides[infos[at]],
                        at := at + strides[infos[at]],
                        at := at + strides[infos[at]],
                        at := at + strides[infos[at]],
                        at := at + strides[infos[at]],
                        at := at + strides[infos[at]],
                        at := at + strides[infos[at]],
                        at := at + strides[infos[at]],
                    ]
                )
        except IndexError:  # nothing of these eight was noted
            return False
        except KeyError:
            try:
                strides[infos[at]] = stride(infos[at])
            except BtfError:
                return False
        else:
            return True
