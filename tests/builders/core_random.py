"""Pairs for CO-RE made at random: an object with records on its own types, and the types of a kernel."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from tests.builders.core_btf import BtfWriter
from tests.builders.core_changes import Changes
from tests.builders.core_types import random_shapes
from tests.builders.elf import Elf, Sec, object_of, program
from xdploaderd.btf.build import BtfBuilder
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.ext import CoreRelo, CoreReloKind
from xdploaderd.btf.types import Array, Composite, Enum, FuncProto
from xdploaderd.errors import LoaderError
from xdploaderd.insn import EXIT, INSN_SIZE, LD_IMM64, Insn, encode_insns, to_s32
from xdploaderd.relo_core.spec import ENUM_VALUE_KINDS, FIELD_KINDS, parse_spec
from xdploaderd.relo_core.values import calculate

SECTION = "xdp"
MAX_RECORDS = 6
_OF_ELEMENTS = (CoreReloKind.FIELD_BYTE_OFFSET, CoreReloKind.FIELD_BYTE_SIZE, CoreReloKind.FIELD_EXISTS)
_SIZES = (0x00, 0x08, 0x10, 0x18)
_ODD_ACCESS = ("", ":0", "0:", "0::1", "a", "0:99", "0:0:0:0:0:0", "9", ":".join(["0"] * 65))
_RATES = (0.03, 0.1, 0.3)


@dataclass(frozen=True)
class CorePair:
    """An object file and the BTF of a kernel, `records` as they stand in the object."""

    object: bytes
    target: bytes
    records: tuple[CoreRelo, ...]


def random_pair(seed: int) -> CorePair:
    """Return the pair of a number: the same one each time."""
    rng = Random(seed)
    shapes = random_shapes(rng)
    local = BtfWriter(shapes)
    target = BtfWriter(Changes(rng, rng.choice(_RATES)).of_all(shapes))
    btf = Btf.parse(local.encode(), name="local")
    records, insns = [], list[Insn]()
    for relo in _records(rng, btf, local.roots):
        records.append(relo._replace(insn_off=len(insns) * INSN_SIZE))
        insns += _insns(rng, btf, relo)
    insns += [Insn(0xB7, 0, 0, 0, 0), Insn(EXIT, 0, 0, 0, 0)]
    return CorePair(_object(btf, insns, records).build(), target.encode(), tuple(records))


def _records(rng: Random, btf: Btf, roots: list[int]) -> Iterator[CoreRelo]:
    for _ in range(rng.randint(1, MAX_RECORDS)):
        root = rng.choice(roots)
        kinds = _kinds_for(btf, root) if rng.random() < 0.99 else list(CoreReloKind)
        kind = rng.choice(kinds)
        access = "0"
        if kind in FIELD_KINDS:
            access, of_member = _path(rng, btf, root)
            kind = kind if of_member or rng.random() < 0.05 else rng.choice(_OF_ELEMENTS)
        elif kind in ENUM_VALUE_KINDS:
            access = str(rng.randrange(_enumerators(btf, root) or 1))
        if rng.random() < 0.01:
            access = rng.choice(_ODD_ACCESS)
        yield CoreRelo(0, root, access, kind)


def _kinds_for(btf: Btf, root: int) -> list[CoreReloKind]:
    match btf.type_by_id(btf.skip_mods_and_typedefs(root)):
        case Composite() | Array():
            every = [kind for kind in CoreReloKind if kind not in ENUM_VALUE_KINDS]
            return [*every, *[CoreReloKind.FIELD_BYTE_OFFSET] * 8, *FIELD_KINDS]
        case Enum():
            return [kind for kind in CoreReloKind if kind not in FIELD_KINDS]
        case FuncProto():
            return [CoreReloKind.TYPE_EXISTS, CoreReloKind.TYPE_MATCHES, CoreReloKind.TYPE_ID_TARGET]
        case _:
            return [kind for kind in CoreReloKind if kind not in ENUM_VALUE_KINDS | FIELD_KINDS]


def _enumerators(btf: Btf, root: int) -> int:
    enum = btf.type_by_id(btf.skip_mods_and_typedefs(root))
    return len(enum.values) if isinstance(enum, Enum) else 0


def _path(rng: Random, btf: Btf, root: int) -> tuple[str, bool]:
    """Return a way into a type, most often to its end, and whether a member is there, no array's element."""
    of_member = False
    path = [0 if rng.random() < 0.9 else rng.randrange(4)]
    type_id = root
    while rng.random() < 0.9:
        match btf.type_by_id(btf.skip_mods_and_typedefs(type_id)):
            case Composite(members=members) if members:
                path.append(rng.randrange(len(members)))
                type_id = members[path[-1]].type_id
                of_member = bool(members[path[-1]].name)
            case Array(nelems=nelems, elem_type_id=elem):
                path.append(rng.randrange(5 if rng.random() < 0.05 else nelems or 3))
                type_id, of_member = elem, False
            case _:
                break
    return ":".join(map(str, path)), of_member


def _insns(rng: Random, btf: Btf, relo: CoreRelo) -> list[Insn]:
    """Return the instruction of a record, which holds the value that the object's own types give."""
    try:
        held = calculate(parse_spec(btf, relo), None, "little")
    except LoaderError:  # a record that both refuse
        return [Insn(0xB7, 1, 0, 0, 0)]
    value = held.original + (rng.random() < 0.01)
    match rng.randrange(8):
        case 0 | 1:
            return [Insn(LD_IMM64, 1, 0, 0, to_s32(value)), Insn(0, 0, 0, 0, to_s32(value >> 32))]
        case 2 | 3 | 4 if relo.kind == CoreReloKind.FIELD_BYTE_OFFSET and value < 1 << 15:
            size = rng.choice(_SIZES)
            return [Insn(rng.choice((0x61, 0x62, 0x63, 0x81)) | size, 1, 2, value, 0)]
        case 5 if rng.random() < 0.1:
            return [Insn(rng.choice((0xBF, 0x05, 0x18)), 1, 0, 0, to_s32(value))]
        case code:
            return [Insn((0xB7, 0xB4, 0x07)[code % 3], 1, 0, 0, to_s32(value))]


def _object(btf: Btf, insns: list[Insn], records: list[CoreRelo]) -> Elf:
    strings = BtfBuilder(strings=bytes(btf.strings))
    section = strings.add_string(SECTION)
    rows = [(r.insn_off, r.type_id, strings.add_string(r.access_str), r.kind) for r in records]
    table = struct.pack("<III", 16, section, len(rows)) + b"".join(struct.pack("<IIII", *row) for row in rows)
    ext = struct.pack("<HBBI6I", 0xEB9F, 1, 0, 32, 0, 0, 0, 0, 0, len(table)) + table
    return object_of(
        program("p", SECTION, encode_insns(insns)), Sec(".BTF", _with_strings(btf, strings)), Sec(".BTF.ext", ext)
    )


def _with_strings(btf: Btf, strings: BtfBuilder) -> bytes:
    """Return a blob with more strings behind its own."""
    raw = bytes(btf.raw)
    more = strings.encode()
    (length,) = struct.unpack_from("<I", more, 20)
    text = more[-length:]
    return raw[:20] + struct.pack("<I", length) + raw[24 : len(raw) - len(bytes(btf.strings))] + text
