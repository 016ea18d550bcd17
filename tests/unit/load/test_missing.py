"""A refusal of a kernel that is too old is told from every other one."""

import errno

import pytest

from tests.builders.btf import btf_of
from tests.builders.prepared import XDP_PASS, Pins, map_spec, prepared, prog
from tests.fakes.bpf import FakeBpf, fail_with, refuse_with_log
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import BtfKind, Enum
from xdploaderd.errors import FeatureMissingError, KernelError, VerifierError
from xdploaderd.insn import Insn
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.prog_load import ProgLoad
from xdploaderd.load.missing import missing_for_map, missing_for_program
from xdploaderd.load.object import load
from xdploaderd.obj.spec import MapSpec
from xdploaderd.uapi.bpf import AttachType, BpfCmd, Helper, MapFlags, MapType, ProgFlags, ProgType
from xdploaderd.uapi.releases import helper_since

INVALID = KernelError("refused", operation="BPF_PROG_LOAD", errno=errno.EINVAL)


def _kernel(**last: int) -> Btf:
    """Return the BTF of a kernel whose enumerations end with these values."""
    return btf_of(
        *(
            Enum(BtfKind.ENUM, name, 4, False, (*((f"V{n}", n) for n in range(end + 1)), ("__MAX_V", end + 1)))
            for name, end in last.items()
        )
    )


OLD = _kernel(bpf_map_type=MapType.RINGBUF, bpf_prog_type=ProgType.SK_LOOKUP, bpf_attach_type=AttachType.XDP)


def _request(prog_type: ProgType, *, attach_type: int = 0, flags: int = 0) -> ProgLoad:
    return ProgLoad(type=prog_type, insns=b"", license="GPL", expected_attach_type=attach_type, flags=flags)


@pytest.mark.parametrize(
    "spec",
    [map_spec(type=MapType.BLOOM_FILTER), map_spec(type=MapType.ARRAY_OF_MAPS, inner=map_spec(type=30))],
    ids=["map", "inner map"],
)
def test_map_type_beyond_the_kernel_s_last_is_named_with_its_release(spec: MapSpec) -> None:
    error = missing_for_map(spec, lambda: OLD)
    assert error is not None
    assert (error.feature, error.fields["since"]) == ("map type bloom_filter", "5.16")
    assert str(error) == "this kernel does not know map type bloom_filter, want Linux 5.16 or newer"


def test_map_type_newer_than_all_known_here_has_no_release() -> None:
    error = missing_for_map(map_spec(type=99), lambda: OLD)
    assert error is not None
    assert str(error) == "this kernel does not know map type 99, want a newer one"


def test_map_type_that_the_kernel_knows_is_not_the_cause() -> None:
    assert missing_for_map(map_spec(type=MapType.RINGBUF), lambda: OLD) is None


def test_links_of_struct_ops_maps_are_told_by_the_attach_type_that_came_with_them() -> None:
    linked = map_spec(type=MapType.STRUCT_OPS, flags=MapFlags.LINK)
    error = missing_for_map(linked, lambda: OLD)
    assert error is not None
    assert error.fields["since"] == "6.4"
    assert missing_for_map(map_spec(type=MapType.STRUCT_OPS), lambda: OLD) is None
    newer = _kernel(bpf_map_type=MapType.STRUCT_OPS, bpf_attach_type=AttachType.STRUCT_OPS)
    assert missing_for_map(linked, lambda: newer) is None


def test_kernel_that_shows_no_btf_gets_the_benefit_of_the_doubt() -> None:
    def none() -> Btf:
        raise FeatureMissingError("no BTF", feature="vmlinux BTF")

    assert missing_for_map(map_spec(type=99), none) is None
    assert missing_for_map(map_spec(type=99), btf_of) is None


@pytest.mark.parametrize(
    ("request_", "feature", "since"),
    [
        (_request(ProgType.NETFILTER), "program type netfilter", "6.4"),
        (_request(ProgType.SCHED_CLS, attach_type=AttachType.TCX_INGRESS), "attach type tcx_ingress", "6.6"),
    ],
)
def test_program_s_types_are_named_with_their_release(request_: ProgLoad, feature: str, since: str) -> None:
    error = missing_for_program(Bpf(FakeBpf()), request_, INVALID, lambda: OLD)
    assert error is not None
    assert (error.feature, error.fields["since"]) == (feature, since)


def test_frames_of_several_fragments_are_probed_for() -> None:
    frags = _request(ProgType.XDP, attach_type=AttachType.XDP, flags=ProgFlags.XDP_HAS_FRAGS)
    old = Bpf(FakeBpf({BpfCmd.PROG_LOAD: fail_with(errno.EINVAL)}))
    error = missing_for_program(old, frags, INVALID, lambda: OLD)
    assert error is not None
    assert error.fields["since"] == "5.18"
    assert missing_for_program(Bpf(FakeBpf()), frags, INVALID, lambda: OLD) is None


def test_helper_that_the_verifier_does_not_know_is_named_and_the_log_kept() -> None:
    log = b"3: (85) call unknown#181\ninvalid func unknown#181\n"
    with pytest.raises(FeatureMissingError, match=r"does not know helper bpf_loop, want Linux 5\.17") as caught:
        load(prepared([prog()]), Bpf(FakeBpf({BpfCmd.PROG_LOAD: refuse_with_log(errno.EINVAL, log)})), Pins())
    assert caught.value.feature == "helper bpf_loop"
    assert caught.value.fields["log"] == ["3: (85) call unknown#181", "invalid func unknown#181"]
    assert caught.value.place == ("object 'hand_made'", "prog 'xdp_pass'")


def test_helper_that_this_program_type_may_not_call_is_a_verifier_error() -> None:
    log = b"3: (85) call bpf_loop#181\nunknown func bpf_loop#181\n"
    with pytest.raises(VerifierError):
        load(prepared([prog()]), Bpf(FakeBpf({BpfCmd.PROG_LOAD: refuse_with_log(errno.EINVAL, log)})), Pins())


@pytest.mark.parametrize("imm", [0x01, 0xE1])  # fetch and add, exchange
def test_atomic_instruction_that_the_verifier_does_not_know_is_named(imm: int) -> None:
    door = Bpf(FakeBpf({BpfCmd.PROG_LOAD: refuse_with_log(errno.EINVAL, b"BPF_STX uses reserved fields\n")}))
    atomic = prog("p", (Insn(0xDB, 10, 0, -8, imm), *XDP_PASS))
    with pytest.raises(FeatureMissingError, match=r"does not know atomic instructions but adding, want Linux 5\.12"):
        load(prepared([atomic]), door, Pins())
    with pytest.raises(VerifierError):
        load(prepared([prog("p", (Insn(0xDB, 10, 0, -8, 0), Insn(0x7B, 10, 0, -8, 1), *XDP_PASS))]), door, Pins())


@pytest.mark.parametrize(
    ("helper", "since"),
    [
        (Helper.map_lookup_elem, ""),
        (Helper.redirect_peer, "5.10"),
        (Helper.ktime_get_coarse_ns, "5.11"),
        (Helper.loop, "5.17"),
        (Helper.xdp_load_bytes, "5.18"),
        (Helper.user_ringbuf_drain, "6.1"),
        (Helper.cgrp_storage_delete, "6.2"),
    ],
)
def test_release_of_a_helper(helper: Helper, since: str) -> None:
    assert helper_since(helper) == since
