"""Exception callbacks, which only a declaration tag ties to their program (libbpf.c, bpf_prog_assign_exc_cb)."""

from collections.abc import Mapping

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import DeclTag, Func, Linkage
from xdploaderd.errors import RelocationError
from xdploaderd.obj.spec import FunctionSpec

TAG_PREFIX = "exception_callback:"
WHOLE_TYPE = -1  # component_idx of a tag that is not on a parameter or member


def exception_callbacks(btf: Btf | None, subprograms: Mapping[int, FunctionSpec]) -> Mapping[str, FunctionSpec]:
    """Return entry function -> callback. A function with two is left out: the verifier refuses it.

    RelocationError when a tag names no global function of .text, or is on none.
    """
    if btf is None or TAG_PREFIX.encode() not in btf.strings:
        return {}
    found: dict[str, list[str]] = {}
    for _, tag in btf.types():
        if isinstance(tag, DeclTag) and tag.component == WHOLE_TYPE and tag.name.startswith(TAG_PREFIX):
            found.setdefault(_tagged_function(btf, tag), []).append(tag.name.removeprefix(TAG_PREFIX))
    by_name: dict[str, list[FunctionSpec]] = {}
    for function in subprograms.values():
        by_name.setdefault(function.name, []).append(function)
    return {name: _callback(wanted[0], by_name) for name, wanted in found.items() if len(wanted) == 1}


def _tagged_function(btf: Btf, tag: DeclTag) -> str:
    function = btf.type_by_id(tag.type_id)
    if not isinstance(function, Func) or function.linkage != Linkage.GLOBAL:
        raise RelocationError(f"tag '{tag.name}' is not on a global function")
    return function.name


def _callback(name: str, by_name: Mapping[str, list[FunctionSpec]]) -> FunctionSpec:
    found = by_name.get(name, [])
    if len(found) != 1:
        raise RelocationError(f"exception callback '{name}' is {len(found)} functions of '.text', want one")
    if found[0].static_linkage:
        raise RelocationError(f"exception callback '{name}' is static or hidden, want a global function")
    return found[0]
