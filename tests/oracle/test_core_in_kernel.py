"""CO-RE as the kernel itself does it: the object's records given to PROG_LOAD, and its log beside our decisions."""

import ctypes
import re
import struct
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.support.core_pairs import lines_of, shortened
from tests.support.decision_lines import format_decision
from tests.support.rawbpf import RawFd, bpf_result
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.ext import CoreRelo
from xdploaderd.insn import INSN_SIZE
from xdploaderd.kernel.known import GivenFacts, installed_kernel
from xdploaderd.obj.open import open_object
from xdploaderd.obj.prepare import prepare
from xdploaderd.obj.spec import ObjectSpec, PreparedObject
from xdploaderd.relo_core.decision import CoreDecision
from xdploaderd.uapi.bpf import BpfCmd

pytestmark = pytest.mark.oracle
OBJECT = Path(__file__).parent.parent / "bpf" / "core" / "kernel.local.o"
LOG_SIZE = 1 << 20
RELO_LINE = re.compile(r"prog '': relo #(\d+): (.*)")
KIND_WORD = re.compile(r"(\[\d+\]) ([A-Z_0-9]+) ")
RECORD = struct.Struct("=IIII")


def kernel_log(
    obj: ObjectSpec, ours: PreparedObject, name: str, btf: RawFd, numbers: Sequence[int]
) -> Mapping[int, Sequence[str]]:
    """Load a program with these of its records unapplied; return the kernel's lines on each, by number."""
    function, all_records = obj.programs[name].function, records_of(obj, name)
    records = [all_records[number] for number in numbers]
    assert ours.btf
    strings = Btf.parse(ours.btf, name="own").strings
    relos = b"".join(
        RECORD.pack(
            relo.insn_off - function.insn_off * INSN_SIZE,
            relo.type_id,
            strings.index(b"\0" + relo.access_str.encode() + b"\0") + 1,
            relo.kind,
        )
        for relo in records
    )
    info = ours.programs[name].func_info
    kept = [ctypes.create_string_buffer(raw, len(raw)) for raw in (function.insns, b"GPL\0", info, relos)]
    code, licence, infos, core = map(ctypes.addressof, kept)
    log, attr = ctypes.create_string_buffer(LOG_SIZE), bytearray(144)
    struct.pack_into("=IIQQ", attr, 0, 6, len(function.insns) // INSN_SIZE, code, licence)
    struct.pack_into("=IIQ", attr, 24, 2, LOG_SIZE, ctypes.addressof(log))
    struct.pack_into("=IIQI", attr, 72, btf.fileno(), 8, infos, len(info) // 8)
    struct.pack_into("=I", attr, 116, len(records))
    struct.pack_into("=QI", attr, 128, core, RECORD.size)
    fd = bpf_result(BpfCmd.PROG_LOAD, bytes(attr))
    if fd >= 0:
        RawFd(fd).close()
    lines: dict[int, list[str]] = defaultdict(list)
    for line in log.value.decode().splitlines():
        if match := RELO_LINE.fullmatch(line):
            lines[numbers[int(match[1])]].append(KIND_WORD.sub(lambda m: f"{m[1]} {m[2].lower()} ", match[2]))
    return lines


def records_of(obj: ObjectSpec, name: str) -> list[CoreRelo]:
    function = obj.programs[name].function
    start, size = function.insn_off * INSN_SIZE, len(function.insns)
    assert obj.btf_ext
    return [relo for relo in obj.btf_ext.core_relos[function.section] if start <= relo.insn_off < start + size]


def outcome_of(decision: CoreDecision) -> str:
    """Return the line on the instruction, in the kernel's words."""
    if decision.poisoned:
        return f"substituting insn #{decision.insn_idx} w/ invalid insn"
    text = format_decision(decision)[-1].partition(": relo ")[2].partition(": ")[2]
    return "patched " + text.replace("=>", "->")


def is_decided(lines: Sequence[str]) -> bool:
    return bool(lines) and lines[-1].startswith(("substituting", "patched"))


def all_logs(
    obj: ObjectSpec, ours: PreparedObject, name: str, btf: RawFd
) -> tuple[Mapping[int, Sequence[str]], list[int]]:
    """Return the kernel's lines on each record, and the records at which it gave the program up: they are left out."""
    left = list(range(len(records_of(obj, name))))
    refused: list[int] = []
    while True:
        logs = kernel_log(obj, ours, name, btf, left)
        undecided = next((number for number in left if not is_decided(logs.get(number, ()))), None)
        if undecided is None:
            return logs, refused
        left.remove(undecided)
        refused.append(undecided)


# The kernel matches types two levels deep and refuses more; libbpf and we go 32.
TOO_DEEP = {"types": ["<type_matches> [21] union bpf_attr___mine"]}


@pytest.mark.parametrize("name", ["fields", "types", "enumerators", "loads"])
def test_kernel_decides_and_writes_what_we_do(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    obj = open_object(OBJECT.read_bytes(), name=OBJECT.name)
    ours = prepare(obj, installed_kernel(GivenFacts()).target)
    blob = ctypes.create_string_buffer(ours.btf or b"", len(ours.btf or b""))
    attr = struct.pack("=QQII", ctypes.addressof(blob), 0, len(blob), 0)
    with RawFd(bpf_result(BpfCmd.BTF_LOAD, attr)) as btf:
        theirs, refused = all_logs(obj, ours, name, btf)
    decisions = [decision for decision in ours.core_log if decision.program == name]
    assert len(decisions) == len(records_of(obj, name))
    for number in set(range(len(decisions))) - set(refused):
        assert shortened(theirs[number]) == lines_of(decisions[number]), number
        assert theirs[number][-1] == outcome_of(decisions[number])
    with capsys.disabled():
        print(f"\nkernel's own CO-RE, {name}: {len(theirs)} of {len(decisions)} records equal, {len(refused)} too deep")
    assert [decisions[number].local.text for number in refused] == TOO_DEEP.get(name, [])
