"""What PROG_LOAD is given: descriptors in their places, flags, names; what its refusal is made to say."""

import ctypes
import errno
import sys
from dataclasses import replace
from typing import Any

import pytest

from tests.builders.prepared import XDP_PASS, Pins, map_spec, prepared, prog
from tests.fakes.bpf import FakeBpf, fail_with, refuse_with_log
from xdploaderd.errors import FeatureMissingError, KernelError, ObjectError, VerifierError
from xdploaderd.insn import CALL, INSN_SIZE, LD_IMM64, Insn, decode_insn, encode_insns
from xdploaderd.kernel.attr import BpfBtfInfo
from xdploaderd.kernel.bpf import Answer, Bpf
from xdploaderd.load.object import load
from xdploaderd.obj.references import POISON_KFUNC_BASE
from xdploaderd.obj.spec import DataRef, ExternKind, ExternSpec, KsymRef
from xdploaderd.relo_core.patch import POISON_IMM
from xdploaderd.uapi.bpf import PSEUDO_KFUNC_CALL, BpfCmd, Feature, MapType, ProgFlags, PseudoSrc


class _Loads(FakeBpf):
    """Keeps the instructions of each PROG_LOAD, which are gone when the call is over."""

    def __init__(self) -> None:
        super().__init__({BpfCmd.PROG_LOAD: self._load})
        self.insns: list[bytes] = []

    def _load(self, attr: Any) -> int:
        self.insns.append(ctypes.string_at(attr.insns, attr.insn_cnt * INSN_SIZE))
        return FakeBpf()(BpfCmd.PROG_LOAD, attr)


def test_map_descriptor_is_put_into_the_instruction() -> None:
    fake = _Loads()
    with load(prepared([prog(uses=["stats"])], [map_spec()]), Bpf(fake), Pins()) as loaded:
        insn = decode_insn(fake.insns[-1], 0, sys.byteorder)
        assert (insn.src_reg, insn.imm) == (PseudoSrc.MAP_FD, loaded.maps["stats"].fd.fileno())


def test_data_reference_keeps_its_offset() -> None:
    fake = _Loads()
    raw = encode_insns((Insn(LD_IMM64, 1, PseudoSrc.MAP_VALUE, 0, 0), Insn(0, 0, 0, 0, 12), *XDP_PASS), sys.byteorder)
    program = replace(prog(), insns=raw, fd_refs=(DataRef(0, "stats", 12),))
    with load(prepared([program], [map_spec()]), Bpf(fake), Pins()) as loaded:
        first, second = (decode_insn(fake.insns[-1], index, sys.byteorder) for index in (0, 1))
        assert (first.imm, second.imm) == (loaded.maps["stats"].fd.fileno(), 12)


def test_flags_and_attach_type_are_passed_on() -> None:
    fake = FakeBpf()
    program = prog()
    spec = replace(program.spec, prog_flags=ProgFlags.XDP_HAS_FRAGS)
    load(prepared([replace(program, spec=spec)]), Bpf(fake), Pins()).close()
    attr = fake.attrs(BpfCmd.PROG_LOAD)[-1]
    assert (attr.prog_flags, attr.expected_attach_type) == (ProgFlags.XDP_HAS_FRAGS, 37)


def test_infos_go_with_the_btf_and_are_left_out_when_it_is_refused() -> None:
    program = replace(prog(), func_info=bytes(8), line_info=bytes(32))
    for answers, func_count, line_count in (({}, 1, 2), ({BpfCmd.BTF_LOAD: fail_with(errno.EINVAL)}, 0, 0)):
        fake = FakeBpf(answers)
        with load(prepared([program], btf=b"blob"), Bpf(fake), Pins()) as loaded:
            attr = fake.attrs(BpfCmd.PROG_LOAD)[-1]
            assert (attr.func_info_cnt, attr.line_info_cnt) == (func_count, line_count)
            assert bool(loaded.warnings) is bool(answers)


def test_nothing_is_asked_of_the_kernel_that_a_plain_object_does_not_need() -> None:
    fake = FakeBpf()
    bpf = Bpf(fake)
    bpf.answers[Feature.MEMCG_ACCOUNT] = Answer.YES
    load(prepared([prog()], btf=b"blob"), bpf, Pins()).close()
    assert fake.commands() == [BpfCmd.BTF_LOAD, BpfCmd.PROG_LOAD]


def test_infos_are_read_once_each_when_they_are_asked_for() -> None:
    fake = FakeBpf()
    with load(prepared([prog("one"), prog("two")]), Bpf(fake), Pins()) as loaded:
        assert (len(loaded.infos), list(loaded.infos)) == (2, ["one", "two"])
        assert BpfCmd.OBJ_GET_INFO_BY_FD not in fake.commands()
        assert loaded.infos["one"] is loaded.infos["one"]
        assert fake.commands().count(BpfCmd.OBJ_GET_INFO_BY_FD) == 1
        assert "three" not in loaded.infos


def test_info_that_is_refused_is_an_error_of_who_asks_and_nothing_stays() -> None:
    fake = FakeBpf({BpfCmd.OBJ_GET_INFO_BY_FD: fail_with(errno.EPERM)})
    with (
        pytest.raises(KernelError, match="cannot read the program's info"),
        load(prepared([prog()]), Bpf(fake), Pins()) as loaded,
    ):
        loaded.infos["xdp_pass"].tag.strip()
    with pytest.raises(ValueError, match="closed"):
        loaded.programs["xdp_pass"].fileno()


def test_module_function_gets_a_slot_of_fd_array() -> None:
    call = Insn(CALL, 0, PSEUDO_KFUNC_CALL, 0, 77)
    program = replace(
        prog(), insns=encode_insns((call, *XDP_PASS), sys.byteorder), fd_refs=(KsymRef(0, "nf_nat", call=True),)
    )
    with pytest.raises(FeatureMissingError, match="module 'nf_nat' is not loaded"):
        load(prepared([program]), Bpf(_modules("other")), Pins())
    fake = _modules("nf_nat")
    load(prepared([program]), Bpf(fake), Pins()).close()
    assert decode_insn(fake.insns[-1], 0, sys.byteorder).off == 1


def _modules(name: str) -> _Loads:
    """Return a kernel with one module's BTF, id 5."""
    fake = _Loads()

    def next_id(attr: Any) -> int:
        if attr.start_id >= 5:
            raise OSError(errno.ENOENT, "end")
        attr.next_id = 5
        return 0

    def info(attr: Any) -> int:
        if attr.info_len == ctypes.sizeof(BpfBtfInfo):
            found = BpfBtfInfo.from_address(attr.info)
            found.kernel_btf = 1
            ctypes.memmove(found.name, name.encode() + b"\0", len(name) + 1)
        return 0

    fake.answers |= {
        BpfCmd.BTF_GET_NEXT_ID: next_id,
        BpfCmd.BTF_GET_FD_BY_ID: lambda attr: FakeBpf()(BpfCmd.BTF_LOAD, attr),
        BpfCmd.OBJ_GET_INFO_BY_FD: info,
    }
    return fake


def test_map_with_refused_types_is_created_once_more_without_them() -> None:
    tried = []

    def create(attr: Any) -> int:
        tried.append((attr.btf_fd > 0, attr.btf_value_type_id))
        if attr.btf_fd:
            raise OSError(errno.EINVAL, "")
        return FakeBpf()(BpfCmd.MAP_CREATE, attr)

    spec = map_spec(key_type_id=1, value_type_id=2)
    loaded = load(prepared([], [spec], btf=b"blob"), Bpf(FakeBpf({BpfCmd.MAP_CREATE: create})), Pins())
    loaded.close()
    assert tried == [(True, 2), (False, 0)]
    (warning,) = loaded.warnings
    assert f"map '{spec.name}' is made without BTF" in warning


def test_maps_that_take_no_types_are_created_without_them() -> None:
    fake = FakeBpf()
    spec = map_spec(type=MapType.XSKMAP, key_type_id=1, value_type_id=2)
    load(prepared([], [spec], btf=b"blob"), Bpf(fake), Pins()).close()
    assert [attr.btf_fd for attr in fake.attrs(BpfCmd.MAP_CREATE)] == [0]


def test_inner_template_is_closed_after_its_map_of_maps() -> None:
    fake = FakeBpf()
    outer = replace(map_spec("outer", type=MapType.ARRAY_OF_MAPS), inner=map_spec("inner"))
    with load(prepared([], [outer]), Bpf(fake), Pins()) as loaded:
        template, created = fake.attrs(BpfCmd.MAP_CREATE)
        assert (template.map_name, created.map_name) == (b"inner", b"outer")
        assert created.inner_map_fd > 0
        assert list(loaded.maps) == ["outer"]


def test_name_that_the_kernel_would_refuse_is_dropped_with_a_note() -> None:
    fake = FakeBpf()
    with load(prepared([prog("größe")]), Bpf(fake), Pins()) as loaded:
        assert fake.attrs(BpfCmd.PROG_LOAD)[-1].prog_name == b""
        assert loaded.warnings == ("prog 'größe': loaded without a name, the kernel takes none with such characters",)


def test_reached_kfunc_that_is_missing_is_named() -> None:
    number = POISON_KFUNC_BASE + 1
    log = f"4: (85) call unknown#{number}\ninvalid func unknown#{number}\n".encode()
    objects = prepared([prog()])
    externs = {n: ExternSpec(name=n, kind=ExternKind.KFUNC, type_id=1, weak=True) for n in ("one", "two")}
    objects = replace(objects, spec=replace(objects.spec, externs=externs))
    with pytest.raises(VerifierError, match="insn #4 can be reached, but kfunc 'two' does not exist") as caught:
        load(objects, Bpf(FakeBpf({BpfCmd.PROG_LOAD: refuse_with_log(errno.EINVAL, log)})), Pins())
    assert caught.value.log[1] == f"invalid func unknown#{number}"


def test_reached_core_relocation_without_a_match_is_told() -> None:
    log = f"9: (85) call unknown#{POISON_IMM}\ninvalid func unknown#{POISON_IMM}\n".encode()
    with pytest.raises(VerifierError, match="insn #9 can be reached, but its CO-RE relocation has no match"):
        load(prepared([prog()]), Bpf(FakeBpf({BpfCmd.PROG_LOAD: refuse_with_log(errno.EINVAL, log)})), Pins())


def test_map_that_is_used_but_not_defined_is_refused() -> None:
    with pytest.raises(ObjectError, match="map 'ghost' is used but not defined"):
        load(prepared([prog(uses=["ghost"])]), Bpf(FakeBpf()), Pins())


def test_first_failing_map_is_the_error() -> None:
    fake = FakeBpf({BpfCmd.MAP_CREATE: fail_with(errno.E2BIG)})
    with pytest.raises(KernelError) as caught:
        load(prepared([], [map_spec("one"), map_spec("two")]), Bpf(fake), Pins())
    assert caught.value.place == ("object 'hand_made'", "map 'one'")
    assert fake.commands().count(BpfCmd.MAP_CREATE) == 1
