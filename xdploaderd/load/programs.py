"""Put descriptors into a prepared program and load it (libbpf bpf_object_load_prog, bpf_object__relocate_data)."""

import logging
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from xdploaderd.errors import KernelError, LoaderError, ObjectError
from xdploaderd.info import ProgInfo
from xdploaderd.insn import INSN_SIZE, Insns, decode_insn, put_insn
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.modules import ModuleBtfs
from xdploaderd.kernel.prog_load import ProgLoad
from xdploaderd.kernel.syscall import Fd
from xdploaderd.load.array_owner import foreign_array
from xdploaderd.load.maps import LoadedMap
from xdploaderd.load.missing import missing_for_program
from xdploaderd.load.verifier_log import explain
from xdploaderd.obj.select import require_type
from xdploaderd.obj.spec import DataRef, KsymRef, MapRef, PreparedObject, PreparedProgram

log = logging.getLogger(__name__)
_IMM, _IMM_AT = struct.Struct("=i"), 4  # where struct bpf_insn has its imm
_VMLINUX_SLOT = 0  # of fd_array: a call's offset 0 means vmlinux


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramLoader:
    """What all programs of one object share: its maps, why others are missing, its BTF, the modules' BTFs."""

    bpf: Bpf
    prepared: PreparedObject
    maps: Mapping[str, LoadedMap]
    failed_maps: Mapping[str, LoaderError]
    btf: Fd | None
    modules: ModuleBtfs
    targets: Mapping[str, Fd]

    def load(self, prog: PreparedProgram) -> Fd:
        """Load one program; the caller owns the descriptor.

        Raises VerifierError, KernelError, FeatureMissingError, ObjectError, PinMismatchError.
        """
        obj, spec = self.prepared.spec, prog.spec
        prog_type = require_type(spec)
        patched = self._patch(prog)
        request = ProgLoad(
            type=prog_type,
            insns=patched.insns,
            license=obj.license,
            name=spec.name,
            kern_version=obj.kern_version or self.prepared.target.version_code,
            flags=spec.prog_flags,
            expected_attach_type=(spec.attach_type or 0) if prog.operation is None else prog.operation,
            btf=self.btf,
            func_info=prog.func_info,
            line_info=prog.line_info,
            attach_btf_id=prog.attach_btf_id,
            attach_to=self._attach_to(prog),
            fd_array=patched.fd_array,
        )
        try:
            fd = self.bpf.prog_load(request)
        except KernelError as error:
            missing = missing_for_program(self.bpf, request, error)
            raise missing or self._foreign_array(prog) or explain(error, self.prepared, prog) from None
        self._bind_constants(fd)
        return fd

    def _foreign_array(self, prog: PreparedProgram) -> LoaderError | None:
        used = (
            self.maps[ref.map_name] for ref in prog.fd_refs if isinstance(ref, MapRef) and ref.map_name in self.maps
        )
        return foreign_array(used, require_type(prog.spec))

    def _attach_to(self, prog: PreparedProgram) -> Fd | None:
        """Return the other program, or the module's BTF, that has what the program attaches to; None: vmlinux."""
        if prog.spec.name in self.targets:
            return self.targets[prog.spec.name]
        return self.modules.open(prog.attach_module) if prog.attach_module else None

    def _bind_constants(self, prog: Fd) -> None:
        """Let the program hold all its object's constants, mentioned or not: tools look for metadata in them."""
        for name, loaded in self.maps.items():
            if loaded.spec.section.startswith(".rodata"):
                try:
                    self.bpf.prog_bind_map(prog, loaded.fd)
                except KernelError as error:  # before Linux 5.10; nothing but the tools' view is lost
                    log.debug("map %s stays unbound: %s", name, error)

    def _patch(self, prog: PreparedProgram) -> "_Patched":
        if not prog.fd_refs:
            return _Patched(prog.insns)
        out = bytearray(prog.insns)
        fd_array: list[int] = []
        for ref in prog.fd_refs:
            match ref:
                case MapRef(insn_idx, map_name) | DataRef(insn_idx, map_name, _):
                    _set_imm(out, insn_idx, self._map_fd(map_name))
                case KsymRef(insn_idx, module, True):
                    _set_off(out, insn_idx, _slot_of(fd_array, self.modules.open(module).fileno()))
                case KsymRef(insn_idx, module, False):
                    _set_imm(out, insn_idx + 1, self.modules.open(module).fileno())
        return _Patched(bytes(out), tuple(fd_array))

    def _map_fd(self, name: str) -> int:
        if name in self.maps:
            return self.maps[name].fd.fileno()
        if name in self.failed_maps:
            raise ObjectError(f"its {self.failed_maps[name]}")
        raise ObjectError(f"map '{name}' is used but not defined")


class ProgInfos(Mapping[str, ProgInfo]):
    """What the kernel tells of loaded programs, each asked for once, at first use: many loads want to know of none.

    Raises KernelError when the kernel refuses, ValueError for the first use of a program whose descriptor is closed.
    """

    __slots__ = ("_bpf", "_known", "_programs")

    def __init__(self, bpf: Bpf, programs: Mapping[str, Fd]) -> None:
        self._bpf = bpf
        self._programs = programs
        self._known: dict[str, ProgInfo] = {}

    def __getitem__(self, name: str) -> ProgInfo:
        """Return the info of a program; KeyError when none of that name was loaded."""
        if name not in self._known:
            self._known[name] = self._bpf.prog_info(self._programs[name])
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the loaded programs."""
        return iter(self._programs)

    def __len__(self) -> int:
        """Return the number of loaded programs."""
        return len(self._programs)


@dataclass(frozen=True, slots=True)
class _Patched:
    insns: Insns
    fd_array: tuple[int, ...] = field(default=())


def _slot_of(fd_array: list[int], fd: int) -> int:
    """Return the slot of a descriptor in fd_array, adding it when new."""
    if not fd_array:
        fd_array.append(_VMLINUX_SLOT)
    if fd not in fd_array[1:]:
        fd_array.append(fd)
    return fd_array.index(fd, 1)


def _set_imm(out: bytearray, index: int, value: int) -> None:
    _IMM.pack_into(out, index * INSN_SIZE + _IMM_AT, value)


def _set_off(out: bytearray, index: int, value: int) -> None:
    put_insn(out, index, decode_insn(out, index)._replace(off=value))
