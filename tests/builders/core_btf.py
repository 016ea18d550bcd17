"""C types written as BTF for CO-RE to compare.

Offsets and sizes are those of C but for gaps, which only BTF has to be able to tell.
"""

from collections.abc import Sequence

from tests.builders.btf import blob_of
from tests.builders.core_types import NUMBERS, POINTER, Body, Choice, Function, Many, Named, Number, Shape, To
from xdploaderd.btf.types import Array, BtfKind, BtfType, Composite, Enum, FuncProto, Fwd, Member, Ref


class BtfWriter:
    """Shapes as BTF types, each once; a Named one that is in nobody's list is only declared."""

    def __init__(self, shapes: Sequence[Shape]) -> None:
        self._bodies = {(s.kind, s.name): s for s in shapes if isinstance(s, Body)}
        self._types: list[BtfType] = []
        self._ids: dict[Shape, int] = {}
        self.roots = [self.add(shape) for shape in shapes]

    def encode(self) -> bytes:
        """Return the blob. A number is its last type: of any other libbpf reads the sign from what lies behind it."""
        return blob_of([*self._types, NUMBERS[0]])

    def add(self, shape: Shape | None) -> int:
        """Return the id of a type."""
        if shape is None:
            return 0
        if isinstance(shape, Named) and (shape.kind, shape.name) in self._bodies:
            shape = self._bodies[shape.kind, shape.name]
        if shape not in self._ids:
            self._types.append(Fwd("", union=False))
            self._ids[shape] = number = len(self._types)
            self._types[number - 1] = self._type(shape)
        return self._ids[shape]

    def _type(self, shape: Shape) -> BtfType:  # noqa: PLR0911 - one arm for each shape
        match shape:
            case Number(of):
                return of
            case To(kind, target, name):
                return Ref(kind, name, self.add(target))
            case Many(of, count):
                return Array(self.add(of), self.add(Number(NUMBERS[1])), count)
            case Choice(name, values, size, signed):
                return Enum(BtfKind.ENUM64 if size == POINTER else BtfKind.ENUM, name, size, signed, values)
            case Named(kind, name):
                return Fwd(name, union=kind is BtfKind.UNION)
            case Function(result, params):
                return FuncProto(self.add(result), tuple(("", self.add(param)) for param in params))
            case Body():
                return self._composite(shape)

    def _composite(self, shape: Body) -> Composite:
        members, end, at = [], 0, 0  # in bits
        for field in shape.fields:
            at = 0 if shape.kind is BtfKind.UNION else at + field.gap * 8
            if not field.bits:
                at += -at % 8
            members.append(Member(field.name, self.add(field.of), at, field.bits))
            at += field.bits or size_of(field.of) * 8
            end = max(end, at)
        bitfields = any(field.bits for field in shape.fields)
        return Composite(shape.kind, shape.name, (end + 7) // 8 + shape.tail, tuple(members), kflag=bitfields)


def size_of(shape: Shape | None) -> int:
    """Return the bytes of a type; 0 of what has none."""
    match shape:
        case Number(of):
            return of.size
        case To(kind, of, _):
            return POINTER if kind is BtfKind.PTR else size_of(of)
        case Many(of, count):
            return size_of(of) * count
        case Choice(size=size):
            return size
        case Body(kind=kind, fields=fields, tail=tail):
            sizes = [-(-field.bits // 8) or size_of(field.of) for field in fields]
            gaps = sum(field.gap for field in fields)
            return (max(sizes, default=0) if kind is BtfKind.UNION else sum(sizes) + gaps) + tail
        case _:
            return 0
