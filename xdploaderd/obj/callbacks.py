"""Exception callbacks, which only a declaration tag ties to their program (libbpf.c, bpf_prog_assign_exc_cb)."""

from collections.abc import Iterable

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import DeclTag, Func, Linkage
from xdploaderd.errors import RelocationError
from xdploaderd.obj.spec import FunctionSpec

TAG_PREFIX = "exception_callback:"
WHOLE_TYPE = -1  # component_idx of a tag that is not on a parameter or member


def exception_callback(btf: Btf | None, program: str, subprograms: Iterable[FunctionSpec]) -> FunctionSpec | None:
    """Return the callback of the entry function `program`; None without one, or with two, which the verifier refuses.

    RelocationError when the tag names no global function of .text.
    """
    if btf is None:
        return None
    names = _callback_names(btf, program)
    if len(names) != 1:
        return None
    found = [function for function in subprograms if function.name == names[0]]
    if len(found) != 1:
        raise RelocationError(f"exception callback '{names[0]}' is {len(found)} functions of '.text', want one")
    if found[0].static_linkage:
        raise RelocationError(f"exception callback '{names[0]}' is static or hidden, want a global function")
    return found[0]


def _callback_names(btf: Btf, program: str) -> tuple[str, ...]:
    names = []
    for _, tag in btf.types():
        if isinstance(tag, DeclTag) and tag.component == WHOLE_TYPE and tag.name.startswith(TAG_PREFIX):
            function = btf.type_by_id(tag.type_id)
            if not isinstance(function, Func) or function.linkage != Linkage.GLOBAL:
                raise RelocationError(f"tag '{tag.name}' is not on a global function")
            if function.name == program:
                names.append(tag.name.removeprefix(TAG_PREFIX))
    return tuple(names)
