"""License, kernel version and BTF of an object file (libbpf.c, bpf_object__elf_collect and bpf_object__init_btf)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.ext import BtfExt
from xdploaderd.errors import ObjectError
from xdploaderd.obj.btf_maps import MAPS_SECTION
from xdploaderd.obj.btf_sections import read_btf, read_btf_ext
from xdploaderd.obj.elf import ElfImage
from xdploaderd.obj.layout import DescribedSection, describe_sections
from xdploaderd.obj.spec import DatasecLayout

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
        btf = read_btf(image, name)
        if btf is None:
            if needed:
                raise ObjectError("no BTF, which maps in section '.maps' need (build the object with -g)")
            return ObjectTypes()
        btf_ext = read_btf_ext(image, btf)
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
