"""Checks on externs: what is missing fails where a program to be loaded refers to it, and nowhere else."""

from dataclasses import replace

import pytest

from tests.builders.spec import EXIT_INSN, NOP, call, object_spec, program, target_kernel
from xdploaderd.obj.extern_values import resolve_externs
from xdploaderd.obj.prepare import prepare
from xdploaderd.obj.spec import ExternKind, ExternRef, ExternSpec
from xdploaderd.verdict.check_externs import check_externs
from xdploaderd.verdict.model import Verdict

MISSING = ExternSpec(name="gone", kind=ExternKind.KSYM_TYPELESS, type_id=0, weak=False)


@pytest.mark.parametrize(("autoload", "expected"), [(True, Verdict.FAILS), (False, Verdict.HOLDS)])
def test_missing_symbol_fails_only_where_a_loaded_program_refers_to_it(autoload: bool, expected: Verdict) -> None:
    user = program("user", [call(), EXIT_INSN], [ExternRef(0, "gone", call=True)])
    other = program("other", [NOP, EXIT_INSN])
    obj = replace(object_spec(replace(user, autoload=autoload), other), externs={"gone": MISSING})
    kernel = target_kernel(kallsyms="ffffffff81000000 T _text\n")
    prepared = prepare(obj, kernel, partial=True, lenient=True)
    (check,) = check_externs(obj, resolve_externs(obj, kernel, lenient=True), prepared)
    assert (check.name, check.verdict) == ("gone", expected)
