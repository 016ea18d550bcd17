"""Programs for functions of other programs, and functions that take a context, in the running kernel."""

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from tests.support import sandbox
from tests.support.loading import DEFAULT_PINS, OBJECTS, load_file
from tests.support.old_kernel import fails_before
from xdploaderd.cli.main import main
from xdploaderd.errors import KernelError, ObjectError, PinError, RelocationError
from xdploaderd.kernel.bpf import Answer, Bpf
from xdploaderd.kernel.probes import probe
from xdploaderd.kernel.syscall import bpf_syscall
from xdploaderd.kernel.target import running_kernel
from xdploaderd.load.attach_targets import open_attach_targets
from xdploaderd.load.object import load
from xdploaderd.obj.open import open_object
from xdploaderd.obj.prepare import prepare, target_needs
from xdploaderd.obj.spec import ObjectSpec
from xdploaderd.uapi.bpf import BpfCmd, Feature, ProgType

pytestmark = pytest.mark.kernel
PIN = PurePosixPath("/sys/fs/bpf/target")


@pytest.fixture(autouse=True)
def _pins_removed() -> Iterator[None]:
    yield
    sandbox.clear_pins()


def opened(name: str) -> ObjectSpec:
    path = OBJECTS / f"{name}.bpf.o"
    return open_object(path.read_bytes(), name=path.name)


@pytest.mark.parametrize("told", [True, False])
def test_tagged_context_is_accepted_by_tag_and_by_type(told: bool) -> None:
    bpf = Bpf()
    obj = opened("std_ctx")
    target = running_kernel(bpf, target_needs(obj))
    features = target.features if told else target.features - {Feature.ARG_CTX_TAG}
    with load(prepare(obj, replace(target, features=features)), bpf, DEFAULT_PINS) as loaded:
        assert set(loaded.programs) == {"ctx_xdp", "ctx_tc"}


@fails_before("6.8", "`arg:ctx` is known to the verifier")
def test_tag_is_probed() -> None:
    assert probe(Bpf(), Feature.ARG_CTX_TAG) is Answer.YES


def test_function_to_replace_is_found_in_the_pinned_program() -> None:
    bpf = Bpf()
    with load_file("std_calls", bpf, names=("calls_first",)) as calls, ExitStack() as stack:
        bpf.obj_pin(calls.programs["calls_first"], PIN)
        fds, btfs = open_attach_targets(bpf, {"in_place": PIN}, stack)
        obj = opened("std_ext")
        target = replace(running_kernel(bpf, target_needs(obj)), program_btfs=btfs)
        prepared = prepare(obj, target)
        btf = btfs["in_place"]
        assert btf.name_of(prepared.programs["in_place"].attach_btf_id) == "middle_global"
        sent: list[tuple[int, int, int]] = []

        def record(cmd: BpfCmd, attr: Any) -> int:
            if cmd is BpfCmd.PROG_LOAD:
                sent.append((attr.prog_type, attr.attach_btf_obj_fd, attr.attach_btf_id))
            return bpf_syscall(cmd, attr)

        with suppress(KernelError):  # a kernel without trampolines knows no such programs
            load(prepared, Bpf(record), DEFAULT_PINS, targets=fds).close()
        wanted = (ProgType.EXT, fds["in_place"].fileno(), prepared.programs["in_place"].attach_btf_id)
        assert wanted in sent


def test_target_without_the_function_or_without_a_program_is_told() -> None:
    bpf = Bpf()
    obj = opened("std_ext")
    with pytest.raises(ObjectError, match="which one\\? name its pin by --attach-target"):
        prepare(obj, running_kernel(bpf, target_needs(obj)))
    with ExitStack() as stack, pytest.raises(PinError, match="nothing is pinned at"):
        open_attach_targets(bpf, {"in_place": PIN}, stack)
    with load_file("xdp_pass", bpf) as other, ExitStack() as stack:
        bpf.obj_pin(other.programs["xdp_pass"], PIN)
        _, btfs = open_attach_targets(bpf, {"in_place": PIN}, stack)
        with pytest.raises(RelocationError, match="has no function 'middle_global'"):
            prepare(obj, replace(running_kernel(bpf, target_needs(obj)), program_btfs=btfs))


@pytest.mark.parametrize(
    ("option", "status"),
    [("x", 64), ("in_place=/a:", 64), ("none=/sys/fs/bpf/p", 65), (f"in_place={PIN}:middle_global", 73)],
)
def test_command_line_names_the_target(option: str, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["load", str(OBJECTS / "std_ext.bpf.o"), "/sys/fs/bpf/ext", "--attach-target", option]
    assert main(argv) == status
    assert "in_place" in (err := capsys.readouterr().err) or "attach-target" in err or "'none'" in err
    assert not Path("/sys/fs/bpf/ext").exists()
