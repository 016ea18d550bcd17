"""Mutations that keep an input's shape, so that what lies behind its headers is reached; blind ones are the fuzzer's.

Every mutator takes any bytes. `Chance` is random.Random, seeded by whoever calls: the same seed, the same mutant.
"""

import random
import struct
from collections.abc import Callable
from typing import NamedTuple

from tests.fuzz.words import WORDS

Chance = random.Random
Mutator = Callable[[bytes, Chance], bytes]

NUMBERS = (
    *(0, 1, 2, 3, 4, 7, 8, 16, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0xFFF1, 0xFFF2, 0xFFFF, 0x10000, 0xFFFFFF),
    *(0x7FFFFFF8, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF8, 0xFFFFFFFF, 1 << 32, 1 << 40),
    *((1 << 63) - 1, 1 << 63, (1 << 64) - 1),
)  # fmt: skip
_EHDR_SIZE, _SHDR_SIZE, _SYM_SIZE, _REL_SIZE, _INSN_SIZE = 64, 64, 24, 16, 8
_Fields = tuple[tuple[int, int], ...]  # of a record: where each begins, and how long it is
_SHDR_FIELDS: _Fields = ((0, 4), (4, 4), (8, 8), (16, 8), (24, 8), (32, 8), (40, 4), (44, 4), (48, 8), (56, 8))
_SYM_FIELDS: _Fields = ((0, 4), (4, 1), (5, 1), (6, 2), (8, 8), (16, 8))
_REL_FIELDS: _Fields = ((0, 8), (8, 4), (12, 4))
_WORD: _Fields = ((0, 4),)
_INSN_FIELDS: _Fields = ((0, 1), (1, 1), (2, 2), (4, 4))
_SHT_SYMTAB, _SHT_REL, _SHF_EXECINSTR = 2, 9, 4
_BTF_HEADER = struct.Struct("<HBBIIIII")
_OPCODES = (0x18, 0x85, 0x95, 0x05, 0x61, 0x63, 0xB7, 0x00)


class _Area(NamedTuple):
    """A table of equal records in a file: where it starts, how many there are, how long each is, and its fields."""

    start: int
    records: int
    size: int
    fields: _Fields


def mutate_words(raw: bytes, chance: Chance) -> bytes:
    """Overwrite a few 32-bit words, or copy a run of them to another place."""
    mutant = bytearray(raw)
    for _ in range(chance.choice((1, 1, 2, 4))):
        words = len(mutant) // 4
        if not words:
            return bytes(mutant) + chance.randbytes(8)
        at = chance.randrange(words) * 4
        if chance.random() < 0.1:
            mutant[at:at] = mutant[at : at + 4 * chance.randrange(1, 9)]
        else:
            mutant[at : at + 4] = _number(chance, 4, int.from_bytes(mutant[at : at + 4], "little"))
    return bytes(mutant)


def mutate_elf(raw: bytes, chance: Chance) -> bytes:
    """Change fields of headers, symbols, relocations, instructions or BTF of an object."""
    mutant = bytearray(raw)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        headers = _headers(mutant)
        if not headers:
            return mutate_words(bytes(mutant), chance)
        if chance.random() < 0.25:
            _mutate_types(mutant, headers, chance)
        else:
            _mutate_table(mutant, headers, chance)
    return bytes(mutant)


def mutate_btf(raw: bytes, chance: Chance) -> bytes:
    """Change records of a blob, or put in, double and take out some, with the header's lengths kept right."""
    if len(raw) < _BTF_HEADER.size or raw[:2] != b"\x9f\xeb":
        return mutate_words(raw, chance)
    *head, header_size, type_off, type_len, str_off, str_len = _BTF_HEADER.unpack_from(raw)
    start = header_size + type_off
    if start + type_len > len(raw) or type_off or str_off != type_len or chance.random() < 0.05:
        return mutate_words(raw, chance)
    types = bytearray(raw[start : start + type_len])
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        _mutate_record(types, chance)
    header = _BTF_HEADER.pack(*head, header_size, type_off, len(types), len(types), str_len)
    return header + raw[_BTF_HEADER.size : start] + bytes(types) + raw[header_size + str_off :]


def text_mutator(kind: str) -> Mutator:
    """Return a mutator of texts that puts in words of their language, and doubles or takes out lines and parts."""
    words = [word.encode("latin-1" if kind == "varlink" else "utf-8") for word in WORDS[kind]]

    def mutate(raw: bytes, chance: Chance) -> bytes:
        text = raw
        for _ in range(chance.choice((1, 1, 2, 4, 8))):
            start, end = sorted((chance.randrange(len(text) + 1), chance.randrange(len(text) + 1)))
            match chance.randrange(5):
                case 0:
                    text = text[:start] + text[min(end, start + 40) :]
                case 1:
                    text = text[:end] + text[start:end] + text[end:]
                case 2:
                    lines = text.split(b"\n")
                    lines.insert(chance.randrange(len(lines)), chance.choice(lines))
                    text = b"\n".join(lines)
                case _:
                    text = text[:start] + chance.choice(words) * chance.choice((1, 1, 1, 2, 40)) + text[start:]
        return text

    return mutate


def with_section(raw: bytes, name: bytes, contents: bytes) -> bytes:
    """Return a good object with other contents of a section: appended to the file, the header changed."""
    mutant = bytearray(raw + bytes(-len(raw) % 8))
    for header in _headers(mutant):
        if _name_at(mutant, header) == name:
            struct.pack_into("<QQ", mutant, header + 24, len(mutant), len(contents))
    return bytes(mutant) + contents


def _number(chance: Chance, size: int, old: int) -> bytes:
    match chance.randrange(4):
        case 0:
            value = old + chance.choice((-8, -1, 1, 8))
        case 1:
            value = chance.getrandbits(size * 8)
        case 2:
            value = chance.randrange(64)
        case _:
            value = chance.choice(NUMBERS)
    return (value & (1 << size * 8) - 1).to_bytes(size, "little")


def _headers(raw: bytearray) -> list[int]:
    """Return where the section headers lie, as far as they lie in the file."""
    if len(raw) < _EHDR_SIZE:
        return []
    (offset,), (count,) = struct.unpack_from("<Q", raw, 40), struct.unpack_from("<H", raw, 60)
    return [at for at in range(offset, offset + count * _SHDR_SIZE, _SHDR_SIZE) if at + _SHDR_SIZE <= len(raw)]


def _name_at(raw: bytearray, header: int) -> bytes:
    headers = _headers(raw)
    (names,) = struct.unpack_from("<H", raw, 62)
    if names >= len(headers):
        return b""
    start = struct.unpack_from("<Q", raw, headers[names] + 24)[0] + struct.unpack_from("<I", raw, header)[0]
    return bytes(raw[start : raw.find(b"\0", start)]) if start < len(raw) else b""


def _mutate_table(raw: bytearray, headers: list[int], chance: Chance) -> None:
    """Write a number into a field of a record of the headers, or of a table that one of them tells."""
    area = _Area(headers[0], len(headers), _SHDR_SIZE, _SHDR_FIELDS)
    if chance.random() < 0.7:
        area = _area_of(raw, chance.choice(headers)) or area
    place, size = chance.choice(area.fields)
    at = area.start + chance.randrange(area.records) * area.size + place
    if at + size > len(raw):
        return
    if area.fields is _INSN_FIELDS and not place and chance.random() < 0.5:
        raw[at] = chance.choice(_OPCODES)
    else:
        raw[at : at + size] = _number(chance, size, int.from_bytes(raw[at : at + size], "little"))


def _area_of(raw: bytearray, header: int) -> _Area | None:
    kind, flags = struct.unpack_from("<IQ", raw, header + 4)
    start, length = struct.unpack_from("<QQ", raw, header + 24)
    if kind == _SHT_SYMTAB:
        size, fields = _SYM_SIZE, _SYM_FIELDS
    elif kind == _SHT_REL:
        size, fields = _REL_SIZE, _REL_FIELDS
    elif flags & _SHF_EXECINSTR:
        size, fields = _INSN_SIZE, _INSN_FIELDS
    else:
        size, fields = 4, _WORD
    inside = min(length, len(raw) - start) if start < len(raw) else 0
    return _Area(start, inside // size, size, fields) if inside >= size else None


def _mutate_types(raw: bytearray, headers: list[int], chance: Chance) -> None:
    """Give a BTF section other records; they are appended, since they may have another length."""
    wanted, change = chance.choice(((b".BTF", mutate_btf), (b".BTF.ext", mutate_words)))
    for header in headers:
        if _name_at(raw, header) == wanted:
            start, length = struct.unpack_from("<QQ", raw, header + 24)
            contents = change(bytes(raw[start : start + length]), chance)
            struct.pack_into("<QQ", raw, header + 24, len(raw), len(contents))
            raw += contents
            return


# Words that follow the three of a record's head: fixed ones, and those for each of its elements.
_FIXED = {1: 1, 3: 3, 14: 1, 17: 1}
_ELEMENT = {4: 3, 5: 3, 6: 2, 13: 2, 15: 3, 19: 3}
_KINDS = 20


def _records(types: bytearray) -> list[tuple[int, int]]:
    """Return start and end of every record, as far as they can be told."""
    found, at = [], 0
    while at + 12 <= len(types):
        (info,) = struct.unpack_from("<I", types, at + 4)
        kind = info >> 24 & 0x1F
        end = at + 4 * (3 + _FIXED.get(kind, 0) + _ELEMENT.get(kind, 0) * (info & 0xFFFF))
        if end > len(types):
            break
        found.append((at, end))
        at = end
    return found


def _mutate_record(types: bytearray, chance: Chance) -> None:
    records = _records(types)
    if not records:
        return
    start, end = chance.choice(records)
    match chance.randrange(8):
        case 0:
            types[start:start] = types[start:end]
        case 1:
            del types[start:end]
        case 2:  # another kind of the same length
            (info,) = struct.unpack_from("<I", types, start + 4)
            kinds = [k for k in range(1, _KINDS) if _shape(k) == _shape(info >> 24 & 0x1F)] or [0]
            struct.pack_into("<I", types, start + 4, info & ~(0x1F << 24) | chance.choice(kinds) << 24)
        case 3:  # one element more, or less
            _resize_record(types, start, end, chance)
        case 4:
            types[start + 7] ^= 0x80
        case 5 | 6:  # another type, mostly one that is there
            at = start + 4 * chance.randrange((end - start) // 4)
            struct.pack_into("<I", types, at, chance.randrange(len(records) + 2))
        case _:
            at = start + 4 * chance.randrange((end - start) // 4)
            types[at : at + 4] = _number(chance, 4, int.from_bytes(types[at : at + 4], "little"))


def _shape(kind: int) -> tuple[int, int]:
    return _FIXED.get(kind, 0), _ELEMENT.get(kind, 0)


def _resize_record(types: bytearray, start: int, end: int, chance: Chance) -> None:
    (info,) = struct.unpack_from("<I", types, start + 4)
    width = 4 * _ELEMENT.get(info >> 24 & 0x1F, 0)
    if not width or not info & 0xFFFF:
        return
    if chance.random() < 0.5:
        types[end:end] = types[end - width : end]
        info += 1
    else:
        del types[end - width : end]
        info -= 1
    struct.pack_into("<I", types, start + 4, info)
