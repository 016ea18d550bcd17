"""A blob changed here and there: the records that stay are copied as they lie (libbpf changes its copy in place, too).

A program's BTF has thousands of types, of which a loader changes a handful.
"""

from collections.abc import Iterator

from xdploaderd.btf.build import encode_records, join_blob
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.string_table import StringTable
from xdploaderd.btf.types import BtfKind, BtfType


class BtfEdit:
    """The types of a blob without a base, to be replaced one by one; new ones go to the end.

    Ids, string offsets and the length of each record keep, so that what refers to them from outside needs no change.
    """

    __slots__ = ("_added", "_changed", "btf")

    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self._changed: dict[int, BtfType] = {}
        self._added: list[BtfType] = []

    def __len__(self) -> int:
        """Return the number of types, void and the new ones included."""
        return len(self.btf) + len(self._added)

    def __getitem__(self, type_id: int) -> BtfType:
        """Return a type as it is now (`btf` has it as it was); BtfError for an id that is not there."""
        if type_id in self._changed:
            return self._changed[type_id]
        if len(self.btf) <= type_id < len(self):
            return self._added[type_id - len(self.btf)]
        return self.btf.type_by_id(type_id)

    def __setitem__(self, type_id: int, changed: BtfType) -> None:
        """Replace a type of the blob by one whose record is as long; encode() raises ValueError for any other."""
        if type_id < len(self.btf):
            self._changed[type_id] = changed
        else:
            self._added[type_id - len(self.btf)] = changed

    def add(self, btf_type: BtfType) -> int:
        """Return the id of the new type."""
        self._added.append(btf_type)
        return len(self) - 1

    def of_kind(self, kind: BtfKind) -> Iterator[tuple[int, BtfType]]:
        """Yield (id, type as it is now), by id, of those that were of this kind in the blob or were added so."""
        for type_id in self.btf.ids_of_kind(kind):
            yield type_id, self[type_id]
        for type_id, added in enumerate(self._added, len(self.btf)):
            if added.kind is kind:
                yield type_id, added

    def encode(self) -> bytes:
        """Return the blob with the changes, in its own byte order."""
        strings, byteorder = StringTable(self.btf.strings), self.btf.byteorder
        records = bytearray(self.btf.records)
        for type_id, changed in sorted(self._changed.items()):
            place = self.btf.record_place(type_id)
            record = encode_records([changed], strings, byteorder)
            if len(record) != place.stop - place.start:
                raise ValueError(f"type [{type_id}] becomes {len(record)} bytes long, was {place.stop - place.start}")
            records[place] = record
        records += encode_records(self._added, strings, byteorder)
        return join_blob(records, strings, byteorder)
