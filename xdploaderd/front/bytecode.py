"""Classic BPF as text, `N,c t f k,...`: what tcpdump -ddd and bpf_asm print and `bytecode` takes.

Mirrors bpf_ops_parse and bpf_parse_string of iproute2 lib/bpf_legacy.c, but for numbers that do not fit their field and
words behind an instruction, which it takes in silence.
"""

import re
from pathlib import Path

from xdploaderd.errors import FileError, ObjectError, error_context
from xdploaderd.net.tc_messages import SOCK_FILTER
from xdploaderd.printable import quoted

MAX_INSNS = 4096  # BPF_MAXINSNS
MAX_TEXT = 5 + MAX_INSNS * 26  # bytes: "4096," and instructions of "65535 255 255 4294967295,"
_COUNT = re.compile(r"\s*\+?([0-9]{1,20}),")
_INSN = re.compile(r"\s*([0-9]{1,20})\s+([0-9]{1,20})\s+([0-9]{1,20})\s+([0-9]{1,20})\s*")
_LIMITS = {"code": 0xFFFF, "jt": 0xFF, "jf": 0xFF, "k": 0xFFFFFFFF}


def parse_bytecode(text: str) -> bytes:
    """Return the instructions, 8 bytes each. Raises ObjectError that names the instruction, counted from 0."""
    with error_context("bytecode"):
        start = _COUNT.match(text)
        if start is None:
            raise ObjectError("want the number of instructions first, then a comma")
        count = int(start[1])
        if not 0 < count <= MAX_INSNS:
            raise ObjectError(f"{count} instructions are announced, want 1 to {MAX_INSNS}")
        body = text[start.end() :].removesuffix(",")
        tuples = body.split(",", count) if body else []
        if len(tuples) != count:
            fewer_or_more = "more" if len(tuples) > count else str(len(tuples))
            raise ObjectError(f"{count} instructions are announced, there are {fewer_or_more}")
        return b"".join(_parse_insn(number, insn) for number, insn in enumerate(tuples))


def read_bytecode(path: Path) -> str:
    """Return a file's bytecode as one line: an end of line is a comma. Raises FileError, ObjectError."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_TEXT + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise FileError(f"cannot read {quoted(str(path))}: {(reason or str(error)).lower()}") from None
    if len(raw) > MAX_TEXT:
        raise ObjectError(f"{quoted(str(path))} is longer than the {MAX_TEXT} bytes of the longest program")
    return re.sub(r",*\n", ",", raw.decode("ascii", "replace"))


def bytecode_text(ops: bytes) -> str:
    """Return instructions as tc(8) shows them: without a comma at the end."""
    insns = list(SOCK_FILTER.iter_unpack(ops))
    return ",".join([str(len(insns)), *(" ".join(map(str, insn)) for insn in insns)])


def _parse_insn(number: int, text: str) -> bytes:
    match = _INSN.fullmatch(text)
    if match is None:
        raise ObjectError(f"instruction {number} is {quoted(text)}, want four decimal numbers: code jt jf k")
    values = [int(value) for value in match.groups()]
    for (field, limit), value in zip(_LIMITS.items(), values, strict=True):
        if value > limit:
            raise ObjectError(f"instruction {number}: {field} is {value}, at most {limit}")
    return SOCK_FILTER.pack(*values)
