#!/usr/bin/env python3
"""Compare BPF objects by meaning: sections, symbols, relocations, BTF and what .BTF.ext says of each instruction.

usage: compare_objects.py COMMITTED_DIR REBUILT_DIR

String tables, type ids, debug information and the order of types depend on the compiler's build and mean nothing to a
loader. Exit status 1 and one line for each difference.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.ext import parse_btf_ext
from xdploaderd.btf.types import FuncProto
from xdploaderd.errors import LoaderError
from xdploaderd.obj.elf import SHN_UNDEF, ElfImage, Symbol, SymType
from xdploaderd.obj.elf_sections import Section

SHF_ALLOC = 0x2
DEEP = 6  # levels of unnamed types that are spelled out
SHOWN = 5  # differences of one aspect that are printed
WIDTH = 240  # characters of a difference that are printed
Facts = Counter[tuple[object, ...]]


def spell(btf: Btf, type_id: int, depth: int = DEEP) -> str:
    """Return a type as text without ids: named types by kind and name, unnamed ones by what they consist of."""
    kind = btf.kind_of(type_id).name.lower()
    name = btf.name_of(type_id)
    if name or not type_id or not depth:
        return f"{kind} {name}".strip()
    return spell_out(btf, type_id, depth - 1)


def spell_out(btf: Btf, type_id: int, depth: int = DEEP) -> str:
    """Return the whole record of a type as text without ids."""
    return str(_without_ids(btf, btf.type_by_id(type_id), depth))


def _without_ids(btf: Btf, value: object, depth: int) -> object:
    if isinstance(value, FuncProto):
        params = [(name, spell(btf, arg, depth)) for name, arg in value.params]
        return f"func_proto {params} -> {spell(btf, value.return_type_id, depth)}"
    if isinstance(value, tuple) and hasattr(value, "_asdict"):  # a type, a member or a variable of a section
        pairs = value._asdict().items()
        return {n: spell(btf, v, depth) if n.endswith("type_id") else _without_ids(btf, v, depth) for n, v in pairs}
    if isinstance(value, tuple):
        return [_without_ids(btf, item, depth) for item in value]
    return value


def _loaded(section: Section) -> bool:
    return bool(section.flags & SHF_ALLOC) and bool(section.name)


def _sections(image: ElfImage) -> Facts:
    return Counter((s.name, s.type, s.flags, s.size, bytes(s.data()).hex()) for s in image.sections if _loaded(s))


def _named_place(image: ElfImage, symbol: Symbol) -> bool:
    if symbol.section == SHN_UNDEF:
        return bool(symbol.name)
    return symbol.section < len(image.sections) and _loaded(image.sections[symbol.section])


def _is_label(symbol: Symbol) -> bool:
    """Tell what is a symbol only for relocations that compare by place anyway: a jump target, a section."""
    label = symbol.section != SHN_UNDEF and symbol.type == SymType.NOTYPE and symbol.is_local()
    return label or symbol.type == SymType.SECTION


def _place(image: ElfImage, symbol: Symbol) -> str:
    return image.sections[symbol.section].name if symbol.section < len(image.sections) else hex(symbol.section)


def _symbols(image: ElfImage) -> Facts:
    wanted = (s for s in image.symbols if _named_place(image, s) and not _is_label(s))
    return Counter((image.name_of(s), _place(image, s), s.value, s.size, s.bind, s.type, s.visibility) for s in wanted)


def _relocations(image: ElfImage) -> Facts:
    facts: Facts = Counter()
    for section in filter(_loaded, image.sections):
        for relo in image.relocs(section):
            symbol = image.symbols[relo.symbol]
            place = _place(image, symbol)
            facts[(section.name, relo.offset, relo.type, image.name_of(symbol), place, symbol.value)] += 1
    return facts


def _btf_of(image: ElfImage) -> Btf | None:
    section = image.section(".BTF")
    return Btf.parse(bytes(section.data()), name=".BTF") if section else None


def _types(image: ElfImage) -> Facts:
    btf = _btf_of(image)
    return Counter((spell_out(btf, type_id),) for type_id, _ in btf.types()) if btf else Counter()


def _records(image: ElfImage) -> Facts:
    return Counter(_all_records(image))


def _all_records(image: ElfImage) -> Iterator[tuple[object, ...]]:
    btf, section = _btf_of(image), image.section(".BTF.ext")
    if btf is None or section is None:
        return
    ext = parse_btf_ext(bytes(section.data()), btf)
    for name, funcs in ext.func_infos.items():
        yield from (("func", name, f.insn_off, spell_out(btf, f.type_id)) for f in funcs)
    for name, lines in ext.line_infos.items():
        yield from (("line", name, x.insn_off, btf.string(x.line_off), x.line_col) for x in lines)
    for name, relos in ext.core_relos.items():
        yield from (("core", name, r.insn_off, spell_out(btf, r.type_id), r.access_str, r.kind) for r in relos)


ASPECTS: Mapping[str, Callable[[ElfImage], Facts]] = {
    "section": _sections,
    "symbol": _symbols,
    "relocation": _relocations,
    "BTF type": _types,
    ".BTF.ext record": _records,
}


def differences(committed: bytes, rebuilt: bytes) -> Iterator[str]:
    """Yield what the two objects do not have in common, one line each."""
    old, new = ElfImage.parse(committed, name="committed"), ElfImage.parse(rebuilt, name="rebuilt")
    if old.byteorder != new.byteorder:
        yield f"byte order: {old.byteorder}, rebuilt {new.byteorder}"
        return
    for aspect, facts in ASPECTS.items():
        before, after = facts(old), facts(new)
        for where, only in (("committed", before - after), ("rebuilt", after - before)):
            yield from (f"{aspect} only in the {where} object: {str(fact)[:WIDTH]}" for fact in list(only)[:SHOWN])


def main(committed: Path, rebuilt: Path) -> int:
    """Compare each object of either folder; return the exit status."""
    names = sorted({str(p.relative_to(top)) for top in (committed, rebuilt) for p in top.rglob("*.o")})
    bad = 0
    for name in names:
        missing = [str(top) for top in (committed, rebuilt) if not (top / name).exists()]
        try:
            found = [f"not in {top}" for top in missing] or list(
                differences((committed / name).read_bytes(), (rebuilt / name).read_bytes())
            )
        except LoaderError as error:
            found = [str(error)]
        bad += bool(found)
        for line in found:
            print(f"{name}: {line}")
    print(f"{len(names) - bad} of {len(names)} objects are the same")
    return 1 if bad or not names else 0


if __name__ == "__main__":
    if len(sys.argv) != len(("program", "committed", "rebuilt")):
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
