import ctypes
import errno
from pathlib import PurePosixPath
from typing import Any

import pytest

from tests.builders.prepared import XDP_PASS, map_spec
from tests.fakes.bpf import FakeBpf, fail_with
from xdploaderd.errors import KernelError
from xdploaderd.insn import encode_insns
from xdploaderd.kernel.attr import BpfBtfInfo
from xdploaderd.kernel.bpf import Answer, Bpf
from xdploaderd.kernel.fdinfo import ObjectKind
from xdploaderd.kernel.probes import probe
from xdploaderd.kernel.prog_load import ProgLoad, kernel_name
from xdploaderd.uapi.bpf import BpfCmd, Feature, MapType, ProgId, ProgType

PROG = ProgLoad(type=ProgType.XDP, insns=encode_insns(XDP_PASS), license="GPL", name="a_rather_long_name")


def test_map_create_sends_type_ids_only_with_btf() -> None:
    fake = FakeBpf()
    bpf = Bpf(fake)
    spec = map_spec("stats", key_type_id=3, value_type_id=4, numa_node=1, map_extra=5, flags=4)
    bpf.map_create(spec).close()
    with bpf.btf_load(b"blob") as btf:
        bpf.map_create(spec, btf=btf).close()
        fd = btf.fileno()
    plain, typed = fake.attrs(BpfCmd.MAP_CREATE)
    assert (plain.btf_fd, plain.btf_key_type_id, plain.btf_value_type_id) == (0, 0, 0)
    assert (typed.btf_fd, typed.btf_key_type_id, typed.btf_value_type_id) == (fd, 3, 4)
    assert (plain.map_name, plain.numa_node, plain.map_extra, plain.map_flags) == (b"stats", 1, 5, 4)


def test_names_are_cut_and_dropped_when_the_kernel_would_refuse_them() -> None:
    assert kernel_name("a_rather_long_name") == b"a_rather_long_n"
    assert kernel_name("classifier/in") == b""
    assert kernel_name("été") == b""
    assert kernel_name("obj.rodata") == b"obj.rodata"


def test_infos_are_sent_only_with_btf() -> None:
    fake = FakeBpf()
    bpf = Bpf(fake)
    bpf.prog_load(PROG).close()
    (attr,) = fake.attrs(BpfCmd.PROG_LOAD)
    assert (attr.insn_cnt, attr.prog_name, attr.prog_btf_fd) == (2, b"a_rather_long_n", 0)
    assert (attr.func_info_rec_size, attr.line_info_rec_size) == (0, 0)


def test_missing_element_is_none_and_other_errors_are_raised() -> None:
    fake = FakeBpf()
    bpf = Bpf(fake)
    with bpf.map_create(map_spec()) as fd:
        assert bpf.map_lookup(fd, bytes(4), 8) is None
        assert bpf.map_next_key(fd, None, 4) is None
        fake.answers[BpfCmd.MAP_LOOKUP_ELEM] = fail_with(errno.EPERM)
        with pytest.raises(KernelError, match="BPF_MAP_LOOKUP_ELEM: EPERM"):
            bpf.map_lookup(fd, bytes(4), 8)


def test_refusal_names_operation_type_and_errno() -> None:
    bpf = Bpf(FakeBpf({BpfCmd.MAP_CREATE: fail_with(errno.EINVAL)}))
    with pytest.raises(KernelError) as caught:
        bpf.map_create(map_spec(type=MapType.XSKMAP))
    assert str(caught.value) == (
        "cannot create a map of type xskmap with key 4 and value 8 bytes, 2 entries, flags 0x0: invalid argument"
        " (BPF_MAP_CREATE: EINVAL)"
    )
    with pytest.raises(KernelError, match="map of type type 99"):
        bpf.map_create(map_spec(type=99))


def test_ids_end_at_enoent() -> None:
    ids = iter([4, 9])

    def following(attr: object) -> int:
        number = next(ids, None)
        if number is None:
            raise OSError(errno.ENOENT, "end")
        attr.next_id = number  # type: ignore[attr-defined] # the fake gets any attr
        return 0

    fake = FakeBpf({BpfCmd.PROG_GET_NEXT_ID: following})
    assert list(Bpf(fake).prog_ids()) == [ProgId(4), ProgId(9)]
    assert [attr.start_id for attr in fake.attrs(BpfCmd.PROG_GET_NEXT_ID)] == [0, 4, 9]


def test_kind_of_a_descriptor_is_told() -> None:
    bpf = Bpf(FakeBpf())
    with bpf.map_create(map_spec()) as bpf_map, bpf.prog_load(PROG) as prog:
        assert bpf.kind_of(bpf_map) is ObjectKind.MAP
        assert bpf.kind_of(prog) is ObjectKind.PROG


def test_refused_pin_names_the_path() -> None:
    bpf = Bpf(FakeBpf({BpfCmd.OBJ_PIN: fail_with(errno.EEXIST)}))
    with bpf.map_create(map_spec()) as fd, pytest.raises(KernelError, match="cannot pin at '/sys/fs/bpf/x'"):
        bpf.obj_pin(fd, PurePosixPath("/sys/fs/bpf/x"))


def test_btf_of_a_kernel_whose_btfs_have_no_names_can_be_read() -> None:
    def short(attr: Any) -> int:
        if attr.info_len > BpfBtfInfo.name.offset:
            raise OSError(errno.E2BIG, "")
        info = (ctypes.c_uint64 * 2).from_address(attr.info)
        if info[0]:
            ctypes.memmove(info[0], b"blob", 4)
        info[1] = 7 << 32 | 4  # id, btf_size
        return 0

    bpf = Bpf(FakeBpf({BpfCmd.OBJ_GET_INFO_BY_FD: short}))
    with bpf.btf_load(b"blob") as btf:
        info = bpf.btf_info(btf)
        assert (info.id, info.size, info.name, info.kernel) == (7, 4, "", False)
        assert bpf.btf_raw(btf) == b"blob"
    assert probe(bpf, Feature.MODULE_BTF) is Answer.NO
