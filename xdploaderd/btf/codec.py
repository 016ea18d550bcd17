"""BTF blobs: index once, decode types on demand (Documentation/bpf/btf.rst, libbpf btf.c)."""

import sys
from array import array
from collections.abc import Collection, Iterator
from typing import Self

from xdploaderd.btf.header import BtfHeader
from xdploaderd.btf.index import RecordIndex
from xdploaderd.btf.lookup import NameLookup
from xdploaderd.btf.names import essential_name
from xdploaderd.btf.records import (
    KIND_MASK,
    KIND_SHIFT,
    KINDS,
    SIZED_KINDS,
    VLEN_MASK,
    columns,
    decode_member,
    decode_record,
    names_and_references,
)
from xdploaderd.btf.search import searchable
from xdploaderd.btf.strings import BtfStrings
from xdploaderd.btf.types import (
    Array,
    BtfKind,
    BtfType,
    DeclTag,
    Member,
    Ref,
    Var,
    Void,
)
from xdploaderd.errors import BtfError, error_context

MAX_RESOLVE_STEPS = 32  # the kernel's MAX_RESOLVE_DEPTH, and libbpf's limit
MAX_CHAIN = 256  # typedefs and modifiers in a row; every longer chain is taken for a cycle
MAX_CACHED_TYPES = 4096
MAX_NAME = 4096  # characters; the kernel takes 511
MODIFIERS = frozenset({BtfKind.VOLATILE, BtfKind.CONST, BtfKind.RESTRICT, BtfKind.TYPE_TAG})
MODS_AND_TYPEDEFS = MODIFIERS | {BtfKind.TYPEDEF}
LONG_NAMES = ("long unsigned int", "unsigned long", "unsigned long int", "long", "long int")
WORD = 4  # bytes
_VOID = Void()


class Btf:
    """One BTF blob, or a split one on top of its base; ids and string offsets of a split blob continue its base's.

    Types are decoded when asked for. With `trusted` (BTF of a kernel, of which little is used) the blob is indexed as
    far as it is used, and references are checked where they are followed; otherwise all is checked by parse.
    """

    __slots__ = (
        "_base",
        "_first",
        "_index",
        "_kinds",
        "_lookup",
        "_pointer_size",
        "_strings",
        "_types",
        "_words",
        "byteorder",
        "name",
        "raw",
    )

    def __init__(self, raw: bytes | memoryview, header: BtfHeader, *, name: str, base: "Btf | None") -> None:
        view = memoryview(raw)
        types = view[header.type_off : header.type_off + header.type_len]
        self.raw = raw
        self.name = name
        self.byteorder = header.byteorder
        self._base = base
        native = header.byteorder == sys.byteorder
        self._words = types.cast("I") if native else _swapped(types)
        self._strings: BtfStrings = BtfStrings(
            searchable(view), header.str_off, header.str_len, base._strings if base else None
        )
        self._first = len(base) if base else 1  # id of the first own type
        self._index = RecordIndex(self._words, self._first)
        self._lookup = NameLookup(self._words, self._index, self._strings)
        self._kinds: bytes | None = None  # of each own type, for who looks for one
        self._types: dict[int, BtfType] = {0: _VOID}
        self._pointer_size = 0

    @classmethod
    def parse(cls, raw: bytes | memoryview, *, name: str, base: "Btf | None" = None, trusted: bool = False) -> Self:
        """Return the blob's types; `name` is for messages. BtfError for malformed bytes (libbpf's btf_parse rules)."""
        with error_context(f"BTF '{name}'"):
            header = BtfHeader.decode(memoryview(raw), split=base is not None)
        btf = cls(raw, header, name=name, base=base)
        if base and base.byteorder != btf.byteorder:
            raise btf._error(f"byte order is {btf.byteorder}-endian, its base '{base.name}' is {base.byteorder}-endian")
        if not trusted:
            btf._check_all()
        return btf

    @property
    def base(self) -> "Btf | None":
        """The blob this one continues; None unless it is split."""
        return self._base

    @property
    def first_id(self) -> int:
        """The id of the first type of the blob's own: 1, or the base's number of types."""
        return self._first

    @property
    def strings(self) -> bytes:
        """The blob's own string section: what a rewritten blob must keep in front, since .BTF.ext points into it."""
        header = BtfHeader.decode(memoryview(self.raw), split=self._base is not None)
        return bytes(self.raw[header.str_off : header.str_off + header.str_len])

    @property
    def records(self) -> memoryview:
        """The blob's own type section, in its own byte order."""
        header = BtfHeader.decode(memoryview(self.raw), split=self._base is not None)
        return memoryview(self.raw)[header.type_off : header.type_off + header.type_len]

    def record_place(self, type_id: int) -> slice:
        """Return which bytes of `records` are an own type's; BtfError for any other id."""
        start, after = self._place_of(type_id), type_id + 1 - self._first
        places = self._all_places()
        return slice(WORD * start, WORD * (places[after] if after < len(places) else len(self._words)))

    @property
    def pointer_size(self) -> int:
        """Bytes of a pointer, told by the size of `long`; 8 where there is no such type."""
        if not self._pointer_size:
            self._pointer_size = self._base.pointer_size if self._base else self._guess_pointer_size()
        return self._pointer_size

    def __len__(self) -> int:
        """Return the number of types, void and the base's included: valid ids are 0 to this minus 1."""
        return self._first + len(self._all_places())

    def type_by_id(self, type_id: int) -> BtfType:
        """Return the type; BtfError for an id that is not there."""
        found = self._types.get(type_id)
        if found is not None:
            return found
        if type_id < self._first and self._base:
            return self._base.type_by_id(type_id)
        decoded = decode_record(self._words, self._place_of(type_id), self._name_at)
        if len(self._types) >= MAX_CACHED_TYPES:
            self._types = {0: _VOID}
        self._types[type_id] = decoded
        return decoded

    def kind_of(self, type_id: int) -> BtfKind:
        """Return the kind without decoding the type."""
        if type_id == 0:
            return BtfKind.VOID
        if type_id < self._first and self._base:
            return self._base.kind_of(type_id)
        return KINDS[self._words[self._place_of(type_id) + 1] >> KIND_SHIFT & KIND_MASK]

    def name_of(self, type_id: int) -> str:
        """Return the name, empty for an anonymous type, without decoding the type."""
        if type_id == 0:
            return ""
        if type_id < self._first and self._base:
            return self._base.name_of(type_id)
        return self._name_at(self._words[self._place_of(type_id)])

    def member_count(self, type_id: int) -> int:
        """Return how many members a struct or union has, without decoding it."""
        if type_id < self._first and self._base:
            return self._base.member_count(type_id)
        return self._words[self._place_of(type_id) + 1] & VLEN_MASK

    def member_at(self, type_id: int, index: int) -> Member:
        """Return one member of a struct or union, without decoding the others; `index` is below its member_count."""
        if type_id < self._first and self._base:
            return self._base.member_at(type_id, index)
        return decode_member(self._words, self._place_of(type_id), index, self._name_at)

    def string(self, offset: int) -> str:
        """Return the string at `offset`; BtfError when it is outside the strings or not UTF-8."""
        return self._strings[offset]

    def ids_of_kind(self, kind: BtfKind) -> Iterator[int]:
        """Yield the ids, ascending, of the blob's own types of a kind."""
        if self._kinds is None:
            words = self._words
            self._kinds = bytes([words[place + 1] >> KIND_SHIFT & KIND_MASK for place in self._all_places()])
        at = -1
        while (at := self._kinds.find(kind, at + 1)) >= 0:
            yield self._first + at

    def ids_by_name(self, name: str, kinds: Collection[BtfKind]) -> tuple[int, ...]:
        """Return the ids, ascending, of the blob's own types (not its base's) of that name and one of `kinds`."""
        found = self.ids_by_essential_name(essential_name(name), kinds)
        return tuple(type_id for type_id in found if self.name_of(type_id) == name)

    def ids_by_essential_name(self, name: str, kinds: Collection[BtfKind]) -> tuple[int, ...]:
        """Return the ids, ascending, of the own types of `kinds` whose name without flavor is `name`."""
        if not name:
            return ()
        with error_context(self._place):
            numbers = self._lookup.records(name)
        ids = (self._first + number for number in numbers)
        return tuple(type_id for type_id in ids if self.kind_of(type_id) in kinds)

    def types(self) -> Iterator[tuple[int, BtfType]]:
        """Yield (id, type) of every own type in order, void left out."""
        for type_id, place in enumerate(self._all_places(), self._first):
            yield type_id, decode_record(self._words, place, self._name_at)

    def skip_mods_and_typedefs(self, type_id: int) -> int:
        """Return the id of the type behind const, volatile, restrict, type tags and typedefs."""
        for _ in range(MAX_CHAIN):
            if not type_id:
                return 0
            if type_id < self._first and self._base:
                return self._base.skip_mods_and_typedefs(type_id)
            place = self._place_of(type_id)
            if self._words[place + 1] >> KIND_SHIFT & KIND_MASK not in MODS_AND_TYPEDEFS:
                return type_id
            type_id = self._words[place + 2]
        raise self._error(f"type [{type_id}] is in a chain of over {MAX_CHAIN} typedefs and modifiers")

    def size_of(self, type_id: int) -> int:
        """Return the size in bytes; BtfError for types without one, over 2^32-1, or 32 steps away."""
        elements = 1
        at = type_id
        for _ in range(MAX_RESOLVE_STEPS):
            if (size := self._own_size(at)) is not None:
                return self._checked_size(type_id, elements * size)
            match self.type_by_id(at):
                case Ref(kind=BtfKind.PTR):
                    return self._checked_size(type_id, elements * self.pointer_size)
                case Array(elem_type_id=at, nelems=nelems):
                    elements = self._checked_size(type_id, elements * nelems)
                case Ref(type_id=at) | Var(type_id=at) | DeclTag(type_id=at):
                    pass
                case other:
                    kind = other.kind.name.lower()
                    raise self._error(f"type [{type_id}] has no size: it leads to a {kind}")
        raise self._error(f"size of type [{type_id}] is over {MAX_RESOLVE_STEPS} steps away")

    def _own_size(self, type_id: int) -> int | None:
        """Return the size that the record itself tells, None for the kinds that have none there."""
        if not type_id:
            return None
        if type_id < self._first and self._base:
            return self._base._own_size(type_id)
        place = self._place_of(type_id)
        return self._words[place + 2] if self._words[place + 1] >> KIND_SHIFT & KIND_MASK in SIZED_KINDS else None

    def _error(self, message: str) -> BtfError:
        error = BtfError(message)
        error.place = (self._place(),)
        return error

    def _place(self) -> str:
        return f"BTF '{self.name}'"

    def _checked_size(self, type_id: int, size: int) -> int:
        if size >> 32:
            raise self._error(f"size of type [{type_id}] is {size} bytes, want below 4 GiB")
        return size

    def _all_places(self) -> "array[int]":
        with error_context(self._place):
            return self._index.all_places()

    def _word_array(self) -> "array[int]":
        """Return a copy of the type section that is quicker to walk than the memoryview."""
        words = array("I")
        words.frombytes(self._words.cast("B"))
        return words

    def _place_of(self, type_id: int) -> int:
        places = self._index.places
        number = type_id - self._first
        if 0 <= number < len(places):
            return places[number]
        with error_context(self._place):
            place = self._index.place_of(number)
        if place is None:
            raise self._error(f"no type id {type_id}, want below {len(self)}")
        return place

    def _name_at(self, offset: int) -> str:
        if not offset:
            return ""
        name = self._strings[offset]
        if len(name) > MAX_NAME:
            raise self._error(f"name at string offset {offset} has {len(name)} characters, want at most {MAX_NAME}")
        if not name.isprintable():
            raise self._error(f"name at string offset {offset} has unprintable characters")
        return name

    def _guess_pointer_size(self) -> int:
        for name in LONG_NAMES:
            for type_id in self.ids_by_name(name, {BtfKind.INT}):
                size = self.size_of(type_id)
                if size in {4, 8}:
                    return size
        return 8

    def _check_all(self) -> None:
        words, end_of_ids, end_of_strings = self._word_array(), len(self), self._strings.end
        names, ids, protos = columns(words, self._all_places())
        if max(names, default=0) >= end_of_strings or max(ids, default=0) >= end_of_ids:
            self._refuse_first(words)
        for number in sorted(set(protos)):
            if self.kind_of(number) is not BtfKind.FUNC_PROTO:
                self._refuse_first(words)

    def _refuse_first(self, words: "array[int]") -> None:
        """Raise what is wrong with the first record that refers to what is not there."""
        end_of_ids, end_of_strings = len(self), self._strings.end
        for type_id, place in enumerate(self._all_places(), self._first):
            names, ids = names_and_references(words, place)
            if max(names) >= end_of_strings:
                raise self._error(f"type [{type_id}]: string offset {max(names)} is outside {end_of_strings} bytes")
            if ids and max(ids) >= end_of_ids:
                raise self._error(f"type [{type_id}] refers to type id {max(ids)}, want below {end_of_ids}")
            kind = words[place + 1] >> KIND_SHIFT & KIND_MASK
            if kind == BtfKind.FUNC and self.kind_of(ids[0]) is not BtfKind.FUNC_PROTO:
                raise self._error(f"type [{type_id}] is a func of type [{ids[0]}], want a func_proto")


def _swapped(types: memoryview) -> memoryview:
    """Return the words of a blob of the other byte order; every field of every record is one 32-bit word."""
    words = array("I", bytes(types))
    words.byteswap()
    return memoryview(words)
