"""Prepared programs in the running kernel: their functions, lines and values."""

import json
import struct
import subprocess
from pathlib import Path

import pytest

from tests.builders.prepared import Pins
from tests.support.old_kernel import fails_before
from tests.support.running import running_target
from xdploaderd.errors import VerifierError
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.load.object import LoadedObject, load
from xdploaderd.obj.open import open_object
from xdploaderd.obj.prepare import prepare
from xdploaderd.obj.select import select_programs

pytestmark = pytest.mark.kernel

OBJECTS = Path(__file__).parent.parent / "bpf"


def loaded(name: str, bpf: Bpf, *programs: str) -> LoadedObject:
    path = OBJECTS / f"{name}.bpf.o"
    obj = select_programs(open_object(path.read_bytes(), name=path.name), names=programs)
    return load(prepare(obj, running_target()), bpf, Pins())


def xlated(prog_id: int) -> list[dict[str, str]]:
    command = ["bpftool", "-j", "prog", "dump", "xlated", "id", str(prog_id), "linum"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("program", "functions"),
    [
        ("calls_first", ["calls_first", "top_hidden", "middle_global", "leaf_static"]),
        ("calls_second", ["calls_second", "on_each", "leaf_static", "middle_global"]),
    ],
)
def test_kernel_knows_every_linked_function_and_its_lines(program: str, functions: list[str]) -> None:
    with loaded("std_calls", Bpf(), program) as found:
        dump = xlated(found.infos[program].id)
    names = [insn["proto"].split("(")[0].split()[-1] for insn in dump if "proto" in insn]
    assert names == functions
    assert {Path(insn["file"]).name for insn in dump if "file" in insn} == {"std_calls.bpf.c"}
    assert any("result += x" in insn["src"] for insn in dump if "src" in insn)


@fails_before("6.9", "the verifier names files")
def test_verifier_log_names_the_source_line() -> None:
    with pytest.raises(VerifierError) as refused:
        loaded("reject", Bpf())
    assert any("reject.bpf.c:" in line for line in refused.value.log)


def test_program_reads_kernel_version_and_configuration() -> None:
    bpf = Bpf()
    with loaded("std_externs", bpf) as found:
        assert bpf.prog_run(found.programs["externs"], bytes(64)).retval == 0
        bss = next(name for name in found.maps if name.endswith(".bss"))
        raw = bpf.map_lookup(found.maps[bss].fd, bytes(4), 32)
    assert raw is not None
    version, _, missing_option, missing_symbol = struct.unpack("=4Q", raw)
    assert version == running_target().version_code
    assert (missing_option, missing_symbol) == (0, 0)
