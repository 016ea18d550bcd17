"""Which programs are loaded, and what says their type."""

from pathlib import Path

import pytest

from xdploaderd.errors import NoSuchProgramError, ObjectError
from xdploaderd.hooks import Hook
from xdploaderd.obj.open import open_object
from xdploaderd.obj.select import ALL_PROGRAMS, require_type, select_programs
from xdploaderd.obj.spec import ObjectSpec
from xdploaderd.uapi.bpf import AttachType, ProgType

BPF = Path(__file__).parents[2] / "bpf"


def opened(name: str) -> ObjectSpec:
    return open_object((BPF / name).read_bytes(), name=name)


def loaded(obj: ObjectSpec) -> list[str]:
    return [name for name, program in obj.programs.items() if program.autoload]


def test_without_names_all_but_optional_programs_are_loaded() -> None:
    assert loaded(select_programs(opened("std_sections.bpf.o"))) == [
        "two_a", "two_b", "by_prefix", "cls_by_prefix", "for_devmap",
    ]  # fmt: skip


def test_a_named_program_is_loaded_alone_even_when_optional() -> None:
    assert loaded(select_programs(opened("std_sections.bpf.o"), names=["optional"])) == ["optional"]


def test_a_section_names_its_only_program() -> None:
    obj = opened("std_sections.bpf.o")
    section = obj.programs["for_devmap"].function.section
    assert loaded(select_programs(obj, names=[section])) == ["for_devmap"]


def test_a_section_of_two_programs_is_refused_with_their_names() -> None:
    obj = opened("std_sections.bpf.o")
    section = obj.programs["two_a"].function.section
    with pytest.raises(NoSuchProgramError, match=r"holds 3 programs, want one of 'two_a'.*'two_b'"):
        select_programs(obj, names=[section])


def test_an_unknown_program_is_refused_with_what_there_is() -> None:
    with pytest.raises(NoSuchProgramError, match=r"no program 'nosuch', there is 'xdp_pass' \(section 'xdp'\)"):
        select_programs(opened("xdp_pass.bpf.o"), names=["nosuch"])


def test_hook_wins_over_option_and_section() -> None:
    obj = select_programs(
        opened("xdp_pass.bpf.o"), hook=Hook.TC_INGRESS, types={ALL_PROGRAMS: ProgType.XDP}, names=["xdp_pass"]
    )
    program = obj.programs["xdp_pass"]
    assert (program.type, program.attach_type, program.type_source) == (ProgType.SCHED_CLS, None, "hook")


def test_hook_gives_an_untyped_xdp_program_its_attach_type() -> None:
    program = select_programs(opened("std_untyped.bpf.o"), hook=Hook.XDP).programs["untyped"]
    assert (program.type, program.attach_type) == (ProgType.XDP, AttachType.XDP)


def test_option_wins_over_section_and_can_name_one_program() -> None:
    obj = select_programs(opened("std_sections.bpf.o"), types={"two_a": ProgType.SCHED_CLS})
    assert obj.programs["two_a"].type is ProgType.SCHED_CLS
    assert obj.programs["two_a"].type_source == "--type"
    assert obj.programs["two_b"].type is ProgType.XDP
    assert obj.programs["two_b"].type_source == "section table"


def test_nothing_says_the_type_so_it_is_asked_for() -> None:
    program = select_programs(opened("std_untyped.bpf.o")).programs["untyped"]
    with pytest.raises(ObjectError, match="which type is it"):
        require_type(program)


def test_hook_takes_the_program_whose_section_fits() -> None:
    obj = opened("legacy_pin2.bpf.o")
    assert loaded(select_programs(obj, hook=Hook.TC_INGRESS)) == ["cls_main"]
    assert loaded(select_programs(obj, hook=Hook.XDP)) == ["xdp_main"]


def test_programs_of_a_program_array_come_along_with_the_hooks_type() -> None:
    obj = select_programs(opened("legacy_tail.bpf.o"), hook=Hook.XDP, names=["tail_main"])
    assert loaded(obj) == ["tail_entry", "tail_main"]
    assert obj.programs["tail_entry"].type is ProgType.XDP


def test_programs_of_a_program_array_take_the_type_of_their_caller() -> None:
    program = select_programs(opened("legacy_tail.bpf.o")).programs["tail_entry"]
    assert (program.type, program.type_source) == (ProgType.SCHED_CLS, "program array")
