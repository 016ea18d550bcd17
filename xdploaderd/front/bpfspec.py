"""The words that name a BPF program: MODE FILE [type T] [section S] [program P] [export UDS] [verbose].

Mirrors bpf_do_parse of iproute2 lib/bpf_legacy.c: the order is fixed, each part may be missing, and a word out of order
is left for the caller, to whom it is garbage.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from xdploaderd.front.words import EXIT_WORDS, Words, refused
from xdploaderd.printable import quoted
from xdploaderd.uapi.bpf import ProgType

UDS_VARIABLE = "TC_BPF_UDS"
_ANNOTATION_MAX = 255  # bytes
_TYPES: Mapping[str, ProgType] = {  # in iproute2's order: the first that a word abbreviates
    "cls": ProgType.SCHED_CLS,
    "act": ProgType.SCHED_ACT,
    "xdp": ProgType.XDP,
    "lwt_in": ProgType.LWT_IN,
    "lwt_out": ProgType.LWT_OUT,
    "lwt_xmit": ProgType.LWT_XMIT,
    "lwt_seg6local": ProgType.LWT_SEG6LOCAL,
}
_EXPORTING = (ProgType.SCHED_CLS, ProgType.SCHED_ACT)


class BpfMode(StrEnum):
    """Where a program comes from."""

    BYTECODE = "bytecode"
    BYTECODE_FILE = "bytecode-file"
    OBJECT = "object-file"
    PINNED = "object-pinned"


@dataclass(frozen=True, slots=True, kw_only=True)
class BpfSpec:
    """A program as the command line names it.

    `operand` is the file, pin or classic bytecode. `section` is empty where none is named: default_section has it then.
    """

    mode: BpfMode
    operand: str
    kind: ProgType
    section: str = ""
    program: str = ""
    export: str = ""
    verbose: bool = False


def default_section(kind: ProgType) -> str:
    """Return the section that iproute2 looks for unasked."""
    return {ProgType.SCHED_CLS: "classifier", ProgType.SCHED_ACT: "action"}.get(kind, "prog")


def annotation(spec: BpfSpec) -> str:
    """Return the name by which a filter or route tells its program: FILE:[SECTION], or PIN:[*fsobj]."""
    what = "*fsobj" if spec.mode is BpfMode.PINNED else spec.section or default_section(spec.kind)
    text = f"{spec.operand.rpartition('/')[2]}:[{what}]"
    return os.fsencode(text)[:_ANNOTATION_MAX].decode("utf-8", "replace")


def object_path(spec: BpfSpec) -> PurePosixPath:
    """Return the object file's path, absolute."""
    return PurePosixPath(os.path.abspath(spec.operand))


def parse_bpf_spec(
    words: Words,
    kind: ProgType | None,
    *,
    bytecode: bool = False,
    status: int = EXIT_WORDS,
    environ: Mapping[str, str] = os.environ,
) -> BpfSpec:
    """Return the program that the next words name, and go past them.

    `kind` None: `type T` may say it, else it is a classifier. Classic bytecode is taken only with `bytecode`. Raises
    UsageError, with `status` for a mode or type that is none.
    """
    mode = _parse_mode(words, bytecode=bytecode, status=status)
    operand = words.take()
    if mode in (BpfMode.BYTECODE, BpfMode.BYTECODE_FILE):
        return BpfSpec(mode=mode, operand=operand, kind=kind or ProgType.SCHED_CLS)
    if kind is None:
        kind = _parse_type(words, status)
    section = words.take() if words.accept("section") else ""
    program = words.take() if words.accept_exact("program") else ""
    export = _parse_export(words, environ) if kind in _EXPORTING else ""
    verbose = words.accept("verbose")
    return BpfSpec(
        mode=mode, operand=operand, kind=kind, section=section, program=program, export=export, verbose=verbose
    )


def _parse_mode(words: Words, *, bytecode: bool, status: int) -> BpfMode:
    if bytecode and words.accept("bytecode", "bc"):
        return BpfMode.BYTECODE
    if bytecode and words.accept("bytecode-file", "bcf"):
        return BpfMode.BYTECODE_FILE
    if words.accept("object-file", "obj"):
        return BpfMode.OBJECT
    if words.accept("object-pinned") or words.accept("pinned") or words.accept("fd"):
        return BpfMode.PINNED
    known = "object FILE, pinned PATH" + (", bytecode TEXT, bytecode-file FILE" if bytecode else "")
    raise refused(f"{quoted(words.take())} is no way to name a program, want {known}", status=status)


def _parse_type(words: Words, status: int) -> ProgType:
    if not words.accept("type"):
        return ProgType.SCHED_CLS
    for name, kind in _TYPES.items():
        if words.accept(name):
            return kind
    raise refused(f"{quoted(words.take())} is no type of program, want one of {', '.join(_TYPES)}", status=status)


def _parse_export(words: Words, environ: Mapping[str, str]) -> str:
    """Return the socket that the maps go to: the environment's, and then `export` is no word of the command line."""
    if UDS_VARIABLE in environ:
        return environ[UDS_VARIABLE]
    return words.take() if words.accept("export") else ""
