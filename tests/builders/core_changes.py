"""C types as other kernels have them: changed at random as time changes them."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from tests.builders.core_types import (
    FLAVORS,
    MEMBERS,
    POINTER,
    Body,
    Choice,
    Field,
    Function,
    Many,
    Number,
    Shape,
    To,
    bits_of,
    random_shape,
    told_apart,
)
from xdploaderd.btf.types import BtfKind, Int


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
        return replace(shape, kind=kind, fields=told_apart(fields, set()), tail=self._rng.choice((0, 0, 3)))

    def _field(self, field: Field) -> Field:
        of = self.of(field.of)
        bits = bits_of(self._rng, of) if self._happens() else field.bits
        whole = isinstance(of, Number) and isinstance(of.type, Int) and bits <= of.type.size * 8 <= POINTER * 8
        name = self._rng.choice(MEMBERS) if self._happens() and field.name else field.name
        gap = self._rng.choice((0, 1, 4, 70_000)) if self._happens() else field.gap
        return Field(name or ("" if isinstance(of, Body) else "moved"), of, bits if whole else 0, gap)
