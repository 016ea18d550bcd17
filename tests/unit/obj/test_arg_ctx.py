"""Parameters tagged as the context, for kernels that know a context by its type alone."""

import struct

from tests.builders.spec import target_kernel
from tests.support.loading import OBJECTS
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import Composite, Func, FuncProto, Ref
from xdploaderd.obj.open import open_object
from xdploaderd.obj.prepare import prepare, target_needs
from xdploaderd.obj.spec import Need, ObjectSpec, PreparedObject, TargetKernel
from xdploaderd.uapi.bpf import Feature

ALL = frozenset(Feature)


def opened() -> ObjectSpec:
    return open_object((OBJECTS / "std_ctx.bpf.o").read_bytes(), name="std_ctx.bpf.o")


def kernel(features: frozenset[Feature]) -> TargetKernel:
    return TargetKernel(release="6.1", version_code=0, btfs=target_kernel().btfs, features=features)


def parameters(found: PreparedObject, program: str) -> dict[str, list[str]]:
    """Return the names of the structs that parameters of a program's functions point to, by function."""
    btf = Btf.parse(found.btf or b"", name="uploaded")
    shown: dict[str, list[str]] = {}
    for _, type_id in struct.iter_unpack("=II", found.programs[program].func_info):
        function = btf.type_by_id(type_id)
        assert isinstance(function, Func)
        proto = btf.type_by_id(function.type_id)
        assert isinstance(proto, FuncProto)
        shown[function.name] = [pointee(btf, of) for _, of in proto.params]
    return shown


def pointee(btf: Btf, type_id: int) -> str:
    found = btf.type_by_id(type_id)
    target = btf.type_by_id(found.type_id) if isinstance(found, Ref) else None
    return target.name if isinstance(target, Composite) else ""


def test_each_program_gets_the_context_of_its_type_where_the_kernel_knows_no_tag() -> None:
    obj = opened()
    assert Need.ARG_CTX_TAG in target_needs(obj)
    found = prepare(obj, kernel(ALL - {Feature.ARG_CTX_TAG}))
    assert parameters(found, "ctx_xdp") == {"ctx_xdp": ["xdp_md"], "both": ["", "xdp_md"], "first_word": ["xdp_md"]}
    tc = {"ctx_tc": ["__sk_buff"], "both": ["", "__sk_buff"], "first_word": ["__sk_buff"]}
    assert parameters(found, "ctx_tc") == tc


def test_kernel_that_knows_the_tag_gets_the_object_as_it_is() -> None:
    found = prepare(opened(), kernel(ALL))
    assert parameters(found, "ctx_xdp")["both"] == ["", ""]


def test_copies_carry_tags_only_where_the_kernel_takes_them() -> None:
    tagged = prepare(opened(), kernel(ALL - {Feature.ARG_CTX_TAG})).btf or b""
    plain = prepare(opened(), kernel(ALL - {Feature.ARG_CTX_TAG, Feature.BTF_DECL_TAG})).btf or b""
    original = len(opened().btf or ())
    copies = 2 * (2 * 2 + 2)  # for two programs two functions with prototypes, a pointer and its struct
    assert len(Btf.parse(plain, name="plain")) == original + copies
    assert len(Btf.parse(tagged, name="tagged")) == original + copies + 4
