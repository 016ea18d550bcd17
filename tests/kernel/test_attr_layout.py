"""The structures of kernel.attr against the running kernel's BTF, field by field."""

import ctypes
from typing import Any

import pytest

from tests.support.old_kernel import older_than, skip_before
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import BtfKind, Composite
from xdploaderd.kernel import attr
from xdploaderd.kernel.vmlinux import vmlinux_btf

pytestmark = pytest.mark.kernel
Layout = dict[str, tuple[int, int]]
OLDER = older_than("6.18")  # than the kernel whose members ours are
ARMS = sorted(attr.BpfAttr.__subclasses__(), key=lambda arm: arm.__name__)
INFOS = {
    "bpf_map_info": attr.BpfMapInfo,
    "bpf_prog_info": attr.BpfProgInfo,
    "bpf_btf_info": attr.BpfBtfInfo,
    "bpf_link_info": attr.BpfLinkInfo,
}


def _composite(btf: Btf, type_id: int) -> Composite | None:
    found = btf.type_by_id(btf.skip_mods_and_typedefs(type_id))
    return found if isinstance(found, Composite) else None


def _kernel_layout(btf: Btf, composite: Composite, base: int = 0) -> Layout:
    """Return offset and size in bytes of each member, those of nameless ones included."""
    layout: Layout = {}
    for member in composite.members:
        offset = base + member.bit_offset // 8
        inner = _composite(btf, member.type_id)
        if inner is not None and not member.name:
            layout |= _kernel_layout(btf, inner, offset)
        elif not member.bitfield_size:
            layout[member.name] = (offset, btf.size_of(member.type_id))
    return layout


def _our_layout(structure: Any, base: int = 0) -> Layout:
    layout: Layout = {}
    for name, kind, *bits in structure._fields_:
        place = getattr(structure, name)
        if name in getattr(structure, "_anonymous_", ()):
            layout |= _our_layout(kind, base + place.offset)
        elif not bits and not name.startswith("_"):
            layout[name] = (base + place.offset, place.size)
    return layout


def _arm_layouts(btf: Btf, arm: str) -> list[Layout]:
    (union_id,) = btf.ids_by_name("bpf_attr", {BtfKind.UNION})
    union = _composite(btf, union_id)
    assert union is not None
    inners = [_composite(btf, member.type_id) for member in union.members if member.name == arm]
    return [_kernel_layout(btf, inner) for inner in inners if inner is not None]


def _agree(ours: Layout, theirs: Layout) -> bool:
    """Tell whether the kernel has all our members in their places.

    An old one may have nothing in the place of some, or another name for it.
    """
    unknown = {name: place for name, place in ours.items() if name not in theirs} if OLDER else {}
    taken = [(start, size) for start, size in theirs.values() if (start, size) not in unknown.values()]
    for start, size in unknown.values():
        if any(start < other + length and other < start + size for other, length in taken):
            return False
    return ours.items() - unknown.items() <= theirs.items()


@pytest.mark.parametrize("structure", ARMS, ids=lambda arm: arm.__name__)
def test_attr_has_the_layout_of_an_arm_of_bpf_attr(structure: Any) -> None:
    ours = _our_layout(structure)
    layouts = _arm_layouts(vmlinux_btf(), structure.UAPI_ARM)
    if OLDER and not any("tcx" in layout for layout in layouts):
        ours.pop("tcx", None)  # in an old kernel's union other members lie in its place, for other hooks
    assert any(_agree(ours, layout) for layout in layouts), f"{ours} fits none of {layouts}"


@pytest.mark.parametrize("name", INFOS)
def test_info_has_the_layout_of_its_struct(name: str) -> None:
    btf = vmlinux_btf()
    (struct_id,) = btf.ids_by_name(name, {BtfKind.STRUCT})
    struct = _composite(btf, struct_id)
    assert struct is not None
    ours = _our_layout(INFOS[name])
    theirs = _kernel_layout(btf, struct)
    ours.pop("tcx", None)
    theirs.pop("tcx", None)
    assert _agree(ours, theirs)
    assert ctypes.sizeof(INFOS[name]) <= struct.size or OLDER


def test_link_target_has_the_layout_of_tcx_and_xdp() -> None:
    btf = vmlinux_btf()
    (struct_id,) = btf.ids_by_name("bpf_link_info", {BtfKind.STRUCT})
    struct = _composite(btf, struct_id)
    assert struct is not None
    if "tcx" not in _kernel_layout(btf, struct):
        skip_before("6.6", "tcx links")
    assert attr.BpfLinkInfo.tcx.offset == _kernel_layout(btf, struct)["tcx"][0] == 16
