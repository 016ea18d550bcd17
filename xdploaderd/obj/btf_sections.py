"""Sections .BTF and .BTF.ext of an object file (libbpf.c, bpf_object__init_btf); alone, all that BTFGen looks at."""

from typing import NamedTuple

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.ext import BtfExt, parse_btf_ext
from xdploaderd.errors import ObjectError, error_context
from xdploaderd.limits import DEFAULT_LIMITS, Limits, over_limit
from xdploaderd.obj.elf_sections import ElfSections, Section, SectionType
from xdploaderd.printable import quoted


class CoreObject(NamedTuple):
    """Of an object, what its CO-RE records need: all that minimize() looks at."""

    name: str
    btf: Btf
    btf_ext: BtfExt
    limits: Limits = DEFAULT_LIMITS


def read_core_object(raw: bytes, *, name: str, limits: Limits = DEFAULT_LIMITS) -> CoreObject:
    """Return BTF and .BTF.ext of an object file, which need not be whole otherwise, such as one still to be linked.

    Raises ObjectError, BtfError, LimitError; references between types are checked where they are followed.
    """
    image = ElfSections.parse(raw, name=name, limits=limits)
    with error_context(f"object {quoted(name)}"):
        btf = read_btf(image, name, trusted=True)
        btf_ext = read_btf_ext(image, btf) if btf else None
        if btf is None or btf_ext is None:
            raise ObjectError("it has no section '.BTF' with '.BTF.ext': build it with -g and do not strip it")
        len(btf)  # indexes the records, so that malformed ones are told here
    return CoreObject(name, btf, btf_ext, limits)


def read_btf(image: ElfSections, name: str, *, trusted: bool = False) -> Btf | None:
    """Return the types of section `.BTF`, None without one; `trusted` as Btf.parse has it."""
    section = _section(image, ".BTF")
    if section is None:
        return None
    if section.size > image.limits.btf_size:
        raise over_limit(image.limits, "btf_size", f"BTF of {section.size} bytes", "loaded")
    return Btf.parse(bytes(section.data()), name=name, trusted=trusted)


def read_btf_ext(image: ElfSections, btf: Btf) -> BtfExt | None:
    """Return the records of section `.BTF.ext`, None without one."""
    section = _section(image, ".BTF.ext")
    return parse_btf_ext(bytes(section.data()), btf) if section else None


def _section(image: ElfSections, name: str) -> Section | None:
    section = image.section(name)
    if section is not None and section.type != SectionType.PROGBITS:
        with error_context(f"section '{name}'"):
            raise ObjectError(f"has type {section.type}, want {int(SectionType.PROGBITS)} (PROGBITS)")
    return section
