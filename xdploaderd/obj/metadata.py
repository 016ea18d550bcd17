"""License, kernel version and BTF of an object file (libbpf.c, bpf_object__elf_collect and bpf_object__init_btf)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.ext import BtfExt, parse_btf_ext
from xdploaderd.errors import ObjectError, error_context
from xdploaderd.limits import DEFAULT_LIMITS, Limits, over_limit
from xdploaderd.obj.btf_maps import MAPS_SECTION
from xdploaderd.obj.elf import ElfImage, Section, SectionType
from xdploaderd.obj.layout import DescribedSection, describe_sections
from xdploaderd.obj.spec import DatasecLayout
from xdploaderd.printable import quoted

_LICENSE_MAX = 63  # bytes libbpf keeps
_LEGACY_LICENSE_MAX = 128  # bytes iproute2 takes, with the final NUL
_VERSION_SIZE = 4


@dataclass(frozen=True, slots=True)
class ObjectTypes:
    """The object's BTF and what completes it; nothing when it has none that can be used."""

    btf: Btf | None = None
    btf_ext: BtfExt | None = None
    sections: Mapping[str, DescribedSection] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def layouts(self) -> Mapping[str, DatasecLayout]:
        """Return where the variables of data sections lie, by section."""
        return {name: section.layout for name, section in self.sections.items() if section.layout}


def license_text(image: ElfImage, *, strict: bool) -> str:
    """Return the license, empty without one; longer ones are cut, or refused when `strict` (as iproute2 does)."""
    section = image.section("license")
    if section is None:
        return ""
    raw = bytes(section.data())
    if strict and len(raw) > _LEGACY_LICENSE_MAX:
        raise ObjectError(f"license of {len(raw)} bytes, want at most {_LEGACY_LICENSE_MAX}")
    text = raw.partition(b"\0")[0]
    return (text if strict else text[:_LICENSE_MAX]).decode("utf-8", "backslashreplace")


def kernel_version(image: ElfImage) -> int:
    """Return the number in section `version`; 0 without one."""
    section = image.section("version")
    if section is None:
        return 0
    if len(section.data()) != _VERSION_SIZE:
        raise ObjectError(f"section 'version' has {len(section.data())} bytes, want {_VERSION_SIZE}")
    return int.from_bytes(section.data(), "little" if image.byteorder == "little" else "big")


def read_types(image: ElfImage, name: str, *, optional: bool) -> ObjectTypes:
    """Return the object's BTF; broken BTF is an error where maps need it, else a warning and no BTF.

    `optional`: nothing but annotations depends on it, so that sections BTF does not explain are a warning too.
    """
    needed = image.section(MAPS_SECTION) is not None
    try:
        btf = _read_btf(image, name)
        if btf is None:
            if needed:
                raise ObjectError("no BTF, which maps in section '.maps' need (build the object with -g)")
            return ObjectTypes()
        btf_ext = _read_btf_ext(image, btf)
    except ObjectError as error:
        if needed:
            raise
        return ObjectTypes(warnings=(f"BTF is not used: {error}",))
    try:
        return ObjectTypes(btf, btf_ext, describe_sections(image, btf))
    except ObjectError as error:
        if not optional:
            raise
        return ObjectTypes(warnings=(f"BTF is not used: {error}",))


@dataclass(frozen=True, slots=True)
class CoreObject:
    """Of an object, what its CO-RE records need: all that minimize() looks at."""

    name: str
    btf: Btf
    btf_ext: BtfExt
    limits: Limits = DEFAULT_LIMITS


def read_core_object(raw: bytes, *, name: str, limits: Limits = DEFAULT_LIMITS) -> CoreObject:
    """Return BTF and .BTF.ext of an object file, which need not be whole otherwise, such as one still to be linked.

    Raises ObjectError, BtfError, LimitError; references between types are checked where they are followed.
    """
    image = ElfImage.parse(raw, name=name, limits=limits)
    with error_context(f"object {quoted(name)}"):
        btf = _read_btf(image, name, trusted=True)
        btf_ext = _read_btf_ext(image, btf) if btf else None
        if btf is None or btf_ext is None:
            raise ObjectError("it has no section '.BTF' with '.BTF.ext': build it with -g and do not strip it")
        len(btf)  # indexes the records, so that malformed ones are told here
    return CoreObject(name, btf, btf_ext, limits)


def _read_btf(image: ElfImage, name: str, *, trusted: bool = False) -> Btf | None:
    section = _section(image, ".BTF")
    if section is None:
        return None
    if section.size > image.limits.btf_size:
        raise over_limit(image.limits, "btf_size", f"BTF of {section.size} bytes", "loaded")
    return Btf.parse(bytes(section.data()), name=name, trusted=trusted)


def _read_btf_ext(image: ElfImage, btf: Btf) -> BtfExt | None:
    section = _section(image, ".BTF.ext")
    return parse_btf_ext(bytes(section.data()), btf) if section else None


def _section(image: ElfImage, name: str) -> Section | None:
    section = image.section(name)
    if section is not None and section.type != SectionType.PROGBITS:
        with error_context(f"section '{name}'"):
            raise ObjectError(f"has type {section.type}, want {int(SectionType.PROGBITS)} (PROGBITS)")
    return section
