"""C types made at random, and changed at random as kernels change them, written as BTF for CO-RE to compare.

A shape is a value; structs refer to each other by name, so that they may be declared, recursive, or missing. Offsets
and sizes are those of C but for gaps, which only BTF has to be able to tell.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import TypeAlias

from tests.builders.btf import blob_of
from xdploaderd.btf.types import Array, BtfKind, BtfType, Composite, Enum, Float, FuncProto, Fwd, Int, Member, Ref

MEMBERS = ("a", "b", "c", "d", "e")
FLAVORS = (*[""] * 12, *["___x", "___y", "___a___b"] * 2, "____z", "___")
_NUMBERS = (
    Int("int", 4, 1, 0, 32),
    Int("unsigned int", 4, 0, 0, 32),
    Int("long", 8, 1, 0, 64),
    Int("unsigned long", 8, 0, 0, 64),
    Int("short", 2, 1, 0, 16),
    Int("unsigned short", 2, 0, 0, 16),
    Int("char", 1, 1, 0, 8),
    Int("unsigned char", 1, 0, 0, 8),
    Int("_Bool", 1, 4, 0, 8),
    Int("char", 1, 2, 0, 8),
    Int("__int128", 16, 1, 0, 128),
    Int("old bits", 4, 0, 5, 7),
)
_POINTER = 8


@dataclass(frozen=True, slots=True)
class Number:
    """An integer, or with `real` a floating-point number."""

    type: Int | Float


@dataclass(frozen=True, slots=True)
class To:
    """A pointer, typedef or modifier; `of` None is void."""

    kind: BtfKind
    of: "Shape | None"
    name: str = ""


@dataclass(frozen=True, slots=True)
class Many:
    """An array."""

    of: "Shape"
    count: int


@dataclass(frozen=True, slots=True)
class Choice:
    """An enum."""

    name: str
    values: tuple[tuple[str, int], ...]
    size: int = 4
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Named:
    """A struct or union that is declared elsewhere, or nowhere; `of` is its shape where it is needed whole."""

    kind: BtfKind
    name: str


@dataclass(frozen=True, slots=True)
class Function:
    """A prototype."""

    result: "Shape | None"
    params: tuple["Shape", ...]


@dataclass(frozen=True, slots=True)
class Field:
    """A member; `bits` of a bit field, `gap` bytes left free before it in a struct."""

    name: str
    of: "Shape"
    bits: int = 0
    gap: int = 0


@dataclass(frozen=True, slots=True)
class Body:
    """A struct or union with its members; anonymous without a name."""

    kind: BtfKind
    name: str
    fields: tuple[Field, ...]
    tail: int = 0


Shape: TypeAlias = Number | To | Many | Choice | Named | Function | Body


def random_shapes(rng: Random) -> list[Shape]:
    """Return types that a program may know, their names all different; some are flavors."""
    names = [f"t{number}{rng.choice(FLAVORS)}" for number in range(rng.randint(1, 4))]
    known = [(name, rng.choice((BtfKind.STRUCT, BtfKind.STRUCT, BtfKind.UNION))) for name in names]
    return [_declared(rng, name, kind, known) for name, kind in known]


def _declared(rng: Random, name: str, kind: BtfKind, known: Sequence[tuple[str, BtfKind]]) -> Shape:
    match rng.randrange(10):
        case 0:
            return replace(_enum(rng), name=name)
        case 1:
            return To(BtfKind.TYPEDEF, random_shape(rng, 3, known), name)
        case 2:
            return To(BtfKind.TYPEDEF, _function(rng, known), name)
        case _:
            return replace(_body(rng, 3, known), kind=kind, name=name)


def random_shape(rng: Random, depth: int, known: Sequence[tuple[str, BtfKind]] = ()) -> Shape:  # noqa: PLR0911 - one arm for each shape
    """Return a type of at most `depth` levels; structs `known` by name are only pointed to."""
    match rng.randrange(14) if depth > 0 else rng.randrange(4):
        case 0 | 1 | 2:
            return Number(rng.choice(_NUMBERS))
        case 3:
            return _enum(rng) if rng.random() < 0.5 else Number(Float("double", 8))
        case 4 | 5:
            return To(BtfKind.PTR, _pointee(rng, depth, known))
        case 6 | 7:
            return Many(random_shape(rng, depth - 1, known), rng.choice((0, 1, 2, 4)))
        case 8:
            return To(BtfKind.TYPEDEF, random_shape(rng, depth - 1, known), rng.choice(("u", "v")))
        case 9:
            kind = rng.choice((BtfKind.CONST, BtfKind.VOLATILE, BtfKind.TYPE_TAG))
            return To(kind, random_shape(rng, depth - 1, known), "rcu" if kind is BtfKind.TYPE_TAG else "")
        case _:
            return _body(rng, depth - 1, known)


def _pointee(rng: Random, depth: int, known: Sequence[tuple[str, BtfKind]]) -> Shape | None:
    match rng.randrange(6):
        case 0:
            return None
        case 1:
            return _function(rng, known)
        case 2 | 3 if known:
            name, kind = rng.choice(known)
            return Named(kind, name)
        case 4:
            return Named(rng.choice((BtfKind.STRUCT, BtfKind.UNION)), rng.choice(("f", "g___x")))
        case _:
            return random_shape(rng, depth - 2, known)


def _function(rng: Random, known: Sequence[tuple[str, BtfKind]]) -> Function:
    params = tuple(random_shape(rng, 1, known) for _ in range(rng.randrange(3)))
    return Function(rng.choice((None, random_shape(rng, 1, known))), params)


def _enum(rng: Random) -> Choice:
    size = rng.choice((4, 4, 4, 8, 1))
    signed = rng.random() < 0.5
    low, high = (-5, 5) if signed else (0, 9)
    if rng.random() < 0.2:
        high = (1 << (8 * min(size, 4) - signed)) - 1 if size < 8 else 1 << 40
    names = rng.sample(["E_A", "E_B", "E_C___x", "E_D"], rng.randint(1, 4))
    return Choice(rng.choice(("", "e", "e___x")), tuple((name, rng.randint(low, high)) for name in names), size, signed)


def _body(rng: Random, depth: int, known: Sequence[tuple[str, BtfKind]]) -> Body:
    fields = []
    for name in rng.sample(MEMBERS, rng.randint(1, 4)):
        of = random_shape(rng, depth, known)
        anonymous = isinstance(of, Body) and rng.random() < 0.6
        fields.append(Field("" if anonymous else name, of, _bits(rng, of), rng.choice((0, 0, 0, 1, 8))))
    return Body(rng.choice((BtfKind.STRUCT, BtfKind.STRUCT, BtfKind.UNION)), "", _told_apart(fields, set()))


def _told_apart(fields: Sequence[Field], used: set[str]) -> tuple[Field, ...]:
    """Return members without those whose names are in the same scope already, as C wants it."""
    kept = []
    for field in fields:
        if not field.name and isinstance(field.of, Body):
            kept.append(replace(field, of=replace(field.of, fields=_told_apart(field.of.fields, used))))
        elif field.name not in used:
            used.add(field.name)
            kept.append(field)
    return tuple(kept)


def _bits(rng: Random, of: Shape) -> int:
    if isinstance(of, Number) and isinstance(of.type, Int) and of.type.size <= _POINTER and rng.random() < 0.2:
        return rng.randint(1, of.type.size * 8)
    return 0


class Changes:
    """What time does to types: each part changes with a probability of `rate`."""

    def __init__(self, rng: Random, rate: float) -> None:
        self._rng = rng
        self._rate = rate

    def _happens(self) -> bool:
        return self._rng.random() < self._rate

    def of_all(self, shapes: Sequence[Shape]) -> list[Shape]:
        """Return what has become of declared types: changed, gone, or there in several flavors."""
        found: list[Shape] = []
        for shape in shapes:
            if self._rng.random() < self._rate / 3:
                continue
            found.append(self._renamed(self.of(shape)))
            if self._rng.random() < 0.25:
                found.append(self._renamed(self.of(shape)))
        if self._happens():
            self._rng.shuffle(found)
        return found

    def _renamed(self, shape: Shape) -> Shape:
        match shape:
            case To(name=name) | Choice(name=name) | Body(name=name):
                return replace(shape, name=name[:2] + self._rng.choice(FLAVORS))
            case _:
                return shape

    def of(self, shape: Shape) -> Shape:  # noqa: PLR0911 - one arm for each shape
        """Return what has become of one type."""
        match shape:
            case Body():
                return self._body(shape)
            case Choice():
                return self._enum(shape)
            case Many(of, count):
                return Many(self.of(of), self._rng.choice((0, 1, 2, 5)) if self._happens() else count)
            case To(kind, of, name):
                if self._happens() and kind is not BtfKind.PTR and of is not None and name[:1] != "t":
                    return self.of(of)
                return To(kind, of and self.of(of), name)
            case Function(result, params):
                kept = params[: self._rng.randint(0, len(params))] if self._happens() else params
                return Function(result and self.of(result), tuple(self.of(param) for param in kept))
            case Number() if self._happens():
                return random_shape(self._rng, 1)
            case _:
                return self._wrapped(shape)

    def _wrapped(self, shape: Shape) -> Shape:
        return To(self._rng.choice((BtfKind.CONST, BtfKind.VOLATILE)), shape) if self._happens() else shape

    def _enum(self, shape: Choice) -> Choice:
        values = [(name, value + 1) if self._happens() else (name, value) for name, value in shape.values]
        if self._happens():
            self._rng.shuffle(values)
        if self._happens() and len(values) > 1:
            values.pop()
        size = self._rng.choice((4, 8)) if self._happens() else shape.size
        return replace(shape, values=tuple(values), size=size)

    def _body(self, shape: Body) -> Body:
        fields = [self._field(field) for field in shape.fields if not self._happens()]
        if self._happens():
            self._rng.shuffle(fields)
        if self._happens():
            fields.insert(self._rng.randint(0, len(fields)), Field("new", random_shape(self._rng, 1)))
        if self._happens() and fields:
            start = self._rng.randrange(len(fields))
            kind = self._rng.choice((BtfKind.STRUCT, BtfKind.UNION))
            fields = [*fields[:start], Field("", Body(kind, "", tuple(fields[start:])))]
        kind = self._rng.choice((BtfKind.STRUCT, BtfKind.UNION)) if self._rng.random() < self._rate / 3 else shape.kind
        return replace(shape, kind=kind, fields=_told_apart(fields, set()), tail=self._rng.choice((0, 0, 3)))

    def _field(self, field: Field) -> Field:
        of = self.of(field.of)
        bits = _bits(self._rng, of) if self._happens() else field.bits
        whole = isinstance(of, Number) and isinstance(of.type, Int) and bits <= of.type.size * 8 <= _POINTER * 8
        name = self._rng.choice(MEMBERS) if self._happens() and field.name else field.name
        gap = self._rng.choice((0, 1, 4, 70_000)) if self._happens() else field.gap
        return Field(name or ("" if isinstance(of, Body) else "moved"), of, bits if whole else 0, gap)


class BtfWriter:
    """Shapes as BTF types, each once; a Named one that is in nobody's list is only declared."""

    def __init__(self, shapes: Sequence[Shape]) -> None:
        self._bodies = {(s.kind, s.name): s for s in shapes if isinstance(s, Body)}
        self._types: list[BtfType] = []
        self._ids: dict[Shape, int] = {}
        self.roots = [self.add(shape) for shape in shapes]

    def encode(self) -> bytes:
        """Return the blob. A number is its last type: of any other libbpf reads the sign from what lies behind it."""
        return blob_of([*self._types, _NUMBERS[0]])

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
                return Array(self.add(of), self.add(Number(_NUMBERS[1])), count)
            case Choice(name, values, size, signed):
                return Enum(BtfKind.ENUM64 if size == _POINTER else BtfKind.ENUM, name, size, signed, values)
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
            return _POINTER if kind is BtfKind.PTR else size_of(of)
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
