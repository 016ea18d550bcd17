"""Exception callbacks by declaration tag."""

import pytest

from tests.builders.spec import EXIT_INSN, NOP, btf_of, function, object_spec, program, target_kernel
from xdploaderd.btf.types import BtfType, DeclTag, Func, FuncProto, Linkage
from xdploaderd.errors import RelocationError
from xdploaderd.obj.callbacks import exception_callbacks
from xdploaderd.obj.prepare import prepare

PROTO = FuncProto(0, ())
CALLBACK = function("on_throw", [EXIT_INSN])


def callbacks(*types: BtfType, static: bool = False) -> dict[str, str]:
    found = exception_callbacks(
        btf_of(PROTO, Func("p", 1, Linkage.GLOBAL), *types), {0: CALLBACK._replace(static_linkage=static)}
    )
    return {name: spec.name for name, spec in found.items()}


def test_tag_names_the_callback() -> None:
    assert callbacks(DeclTag("exception_callback:on_throw", 2, -1)) == {"p": "on_throw"}


def test_tags_of_parameters_and_other_tags_are_none() -> None:
    assert callbacks(DeclTag("exception_callback:on_throw", 2, 0), DeclTag("kfunc", 2, -1)) == {}
    assert exception_callbacks(None, {}) == {}


def test_two_tags_are_left_to_the_verifier() -> None:
    tag = DeclTag("exception_callback:on_throw", 2, -1)
    assert callbacks(tag, tag) == {}


def test_callback_that_is_not_there_is_refused() -> None:
    with pytest.raises(RelocationError, match="exception callback 'gone' is 0 functions"):
        callbacks(DeclTag("exception_callback:gone", 2, -1))


def test_static_callback_is_refused() -> None:
    with pytest.raises(RelocationError, match="is static or hidden"):
        callbacks(DeclTag("exception_callback:on_throw", 2, -1), static=True)


def test_tag_on_what_is_no_global_function_is_refused() -> None:
    with pytest.raises(RelocationError, match="is not on a global function"):
        callbacks(Func("static", 1, Linkage.STATIC), DeclTag("exception_callback:on_throw", 3, -1))


def test_callback_stands_behind_the_program() -> None:
    btf = btf_of(PROTO, Func("p", 1, Linkage.GLOBAL), DeclTag("exception_callback:on_throw", 2, -1))
    obj = object_spec(program("p", [NOP, EXIT_INSN]), subprograms=[CALLBACK], btf=btf)
    assert len(prepare(obj, target_kernel()).programs["p"].insns) == 3 * 8
