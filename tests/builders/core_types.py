"""C types made at random, as a program may know them.

A shape is a value; structs refer to each other by name, so that they may be declared, recursive, or missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import TypeAlias

from xdploaderd.btf.types import BtfKind, Float, Int

MEMBERS = ("a", "b", "c", "d", "e")
FLAVORS = (*[""] * 12, *["___x", "___y", "___a___b"] * 2, "____z", "___")
NUMBERS = (
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
POINTER = 8


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
            return Number(rng.choice(NUMBERS))
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
        fields.append(Field("" if anonymous else name, of, bits_of(rng, of), rng.choice((0, 0, 0, 1, 8))))
    return Body(rng.choice((BtfKind.STRUCT, BtfKind.STRUCT, BtfKind.UNION)), "", told_apart(fields, set()))


def told_apart(fields: Sequence[Field], used: set[str]) -> tuple[Field, ...]:
    """Return members without those whose names are in the same scope already, as C wants it."""
    kept = []
    for field in fields:
        if not field.name and isinstance(field.of, Body):
            kept.append(replace(field, of=replace(field.of, fields=told_apart(field.of.fields, used))))
        elif field.name not in used:
            used.add(field.name)
            kept.append(field)
    return tuple(kept)


def bits_of(rng: Random, of: Shape) -> int:
    """Return how many bits a member of that type has, by chance; 0: it is no bit field."""
    if isinstance(of, Number) and isinstance(of.type, Int) and of.type.size <= POINTER and rng.random() < 0.2:
        return rng.randint(1, of.type.size * 8)
    return 0
