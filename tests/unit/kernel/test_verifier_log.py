import errno

import pytest

from tests.builders.prepared import XDP_PASS
from tests.fakes.bpf import FakeBpf, fail_with, refuse_with_log
from xdploaderd.errors import KernelError, VerifierError
from xdploaderd.insn import encode_insns
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.prog_load import ProgLoad
from xdploaderd.kernel.verifier_log import FIRST_LOG_SIZE, MAX_LOG_SIZE, source_line, split_log, summarise
from xdploaderd.uapi.bpf import BpfCmd, ProgType

REQUEST = ProgLoad(type=ProgType.XDP, insns=encode_insns(XDP_PASS), license="GPL", name="pass")
LOG = b"0: (79) r0 = *(u64 *)(r1 +0)\nR1 invalid mem access 'scalar'\nprocessed 2 insns (limit 1000000)\n"


def test_load_that_succeeds_asks_for_no_log() -> None:
    fake = FakeBpf()
    Bpf(fake).prog_load(REQUEST).close()
    assert [attr.log_level for attr in fake.attrs(BpfCmd.PROG_LOAD)] == [0]


def test_refused_load_is_repeated_with_a_log() -> None:
    fake = FakeBpf({BpfCmd.PROG_LOAD: refuse_with_log(errno.EACCES, LOG)})
    with pytest.raises(VerifierError) as caught:
        Bpf(fake).prog_load(REQUEST)
    assert [attr.log_level for attr in fake.attrs(BpfCmd.PROG_LOAD)] == [0, 1]
    assert caught.value.errno == errno.EACCES
    assert caught.value.log == tuple(LOG.decode().splitlines())
    assert "R1 invalid mem access 'scalar' (the end of 3 lines of log)" in str(caught.value)


def test_log_buffer_grows_to_the_size_the_kernel_names() -> None:
    long = b"x\n" * FIRST_LOG_SIZE * 3
    fake = FakeBpf({BpfCmd.PROG_LOAD: refuse_with_log(errno.EINVAL, long)})
    with pytest.raises(VerifierError) as caught:
        Bpf(fake).prog_load(REQUEST)
    assert [attr.log_size for attr in fake.attrs(BpfCmd.PROG_LOAD)] == [0, FIRST_LOG_SIZE, len(long) + 1]
    assert caught.value.errno == errno.EINVAL
    assert len(caught.value.log) == FIRST_LOG_SIZE * 3


def test_log_too_long_for_any_buffer_keeps_the_first_errno() -> None:
    fake = FakeBpf({BpfCmd.PROG_LOAD: refuse_with_log(errno.EINVAL, b"x" * (MAX_LOG_SIZE + 1))})
    with pytest.raises(KernelError) as caught:
        Bpf(fake).prog_load(REQUEST)
    assert fake.attrs(BpfCmd.PROG_LOAD)[-1].log_size == MAX_LOG_SIZE
    assert caught.value.errno == errno.EINVAL


def test_refusal_without_a_log_is_no_verifier_error() -> None:
    with pytest.raises(KernelError, match="gives no reason") as caught:
        Bpf(FakeBpf({BpfCmd.PROG_LOAD: fail_with(errno.E2BIG)})).prog_load(REQUEST)
    assert not isinstance(caught.value, VerifierError)


def test_refused_btf_tells_its_log() -> None:
    fake = FakeBpf({BpfCmd.BTF_LOAD: refuse_with_log(errno.EINVAL, b"[1] INT bad\n")})
    with pytest.raises(KernelError, match="INT bad") as caught:
        Bpf(fake).btf_load(b"\0" * 24)
    assert caught.value.fields["log"] == ["[1] INT bad"]


def test_control_characters_of_a_log_are_escaped() -> None:
    assert split_log(b"a\x1b[31m\xff\n\tb") == ("a\\x1b[31m\\xff", "\tb")


def test_summary_skips_statistics_and_counts_the_lines_of_the_log() -> None:
    log = ("one", "two", "three", "four", "processed 5 insns")
    assert summarise(log) == "two; three; four (the end of 5 lines of log)"
    assert summarise(()) == ""


def test_summary_tells_the_source_line() -> None:
    log = (
        "; int i = 0; @ fw.bpf.c:7",
        "0: (b7) r1 = 0 ; R1=0",
        "; return *p; @ fw.bpf.c:9",
        "1: (71) r0 = *(u8 *)(r1 +0)",
    )
    assert summarise(log) == (
        "0: (b7) r1 = 0 ; R1=0; 1: (71) r0 = *(u8 *)(r1 +0) (at fw.bpf.c:9: return *p;; the end of 4 lines of log)"
    )


def test_source_line_of_older_kernels_has_no_place() -> None:
    assert source_line(("; return *p;", "1: (95) exit")) == "return *p;"
    assert source_line(("1: (95) exit",)) == ""
