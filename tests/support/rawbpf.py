"""Programs and maps by raw bpf(2), so that tests of the hooks depend on no loader."""

import ctypes
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.support.sandbox import BPF_NR
from xdploaderd.errors import KernelError
from xdploaderd.info import ProgInfo
from xdploaderd.uapi.bpf import BpfCmd, ProgId, ProgType

XDP_DROP, XDP_PASS, TC_ACT_OK, TC_ACT_SHOT = 1, 2, 0, 2
ATTACH_XDP = 37
ATTACH_TCX_INGRESS = 46
BPF_F_BEFORE = 1 << 3  # without another program: the first one
_libc = ctypes.CDLL(None, use_errno=True)


def bpf_result(command: BpfCmd, attr: bytes) -> int:
    """Call bpf(2); return its result, -1 where it is refused."""
    buffer = ctypes.create_string_buffer(attr.ljust(144, b"\0"), 144)
    return int(_libc.syscall(BPF_NR, int(command), buffer, 144))


def _bpf(command: BpfCmd, attr: bytes) -> int:
    result = bpf_result(command, attr)
    if result < 0:
        raise KernelError("refused", operation=command.name, errno=ctypes.get_errno())
    return result


@dataclass(slots=True)
class RawFd:
    """A descriptor that closes once."""

    number: int

    def fileno(self) -> int:
        return self.number

    def close(self) -> None:
        if self.number >= 0:
            os.close(self.number)
            self.number = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class RawPrograms:
    """The queries that the hooks make."""

    def prog_by_id(self, prog_id: ProgId, /) -> RawFd:
        return RawFd(_bpf(BpfCmd.PROG_GET_FD_BY_ID, struct.pack("=I", prog_id)))

    def prog_info(self, fd: RawFd, /) -> ProgInfo:
        info = ctypes.create_string_buffer(256)
        _bpf(BpfCmd.OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", fd.fileno(), 256, ctypes.addressof(info)))
        kind, prog_id, tag = struct.unpack_from("=II8s", info)
        name = info.raw[64:80].split(b"\0")[0].decode()
        return ProgInfo(id=ProgId(prog_id), type=kind, name=name, tag=tag.hex())


def id_of(prog: RawFd) -> ProgId:
    """Return the id of a program."""
    return RawPrograms().prog_info(prog).id


def _insn(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return struct.pack("=BBhi", code, src << 4 | dst, off, imm)


def load_program(kind: ProgType, name: str, insns: bytes, *, attach_type: int = 0) -> RawFd:
    """Load instructions under the licence GPL."""
    code, licence = ctypes.create_string_buffer(insns), ctypes.create_string_buffer(b"GPL")
    head = struct.pack("=IIQQ", kind, len(insns) // 8, ctypes.addressof(code), ctypes.addressof(licence))
    attr = head + bytes(24) + name.encode().ljust(16, b"\0") + struct.pack("=II", 0, attach_type)
    return RawFd(_bpf(BpfCmd.PROG_LOAD, attr))


def refusal_of(kind: ProgType, insns: bytes, licence: bytes) -> str:
    """Return what the verifier says of instructions; nothing where it takes them."""
    code, text = ctypes.create_string_buffer(insns), ctypes.create_string_buffer(licence)
    log = ctypes.create_string_buffer(1 << 16)
    head = struct.pack("=IIQQ", kind, len(insns) // 8, ctypes.addressof(code), ctypes.addressof(text))
    attr = head + struct.pack("=IIQII", 1, len(log), ctypes.addressof(log), 0, 0)
    number = bpf_result(BpfCmd.PROG_LOAD, attr)
    if number >= 0:
        os.close(number)
        return ""
    return log.value.decode(errors="replace")


def returning(kind: ProgType, verdict: int, name: str = "ret") -> RawFd:
    """Load a program that only returns `verdict`."""
    return load_program(kind, name, _insn(0xB7, 0, imm=verdict) + _insn(0x95))


def counting(kind: ProgType, verdict: int, counter: RawFd, name: str = "count") -> RawFd:
    """Load a program that adds one to `counter` for each packet and returns `verdict`."""
    insns = [
        _insn(0x62, 10, off=-4, imm=0),  # *(u32 *)(r10 - 4) = 0
        _insn(0xBF, 2, 10),
        _insn(0x07, 2, imm=-4),
        _insn(0x18, 1, 1, imm=counter.fileno()) + _insn(0),
        _insn(0x85, imm=1),  # bpf_map_lookup_elem
        _insn(0x15, 0, off=2),
        _insn(0xB7, 1, imm=1),
        _insn(0xDB, 0, 1),  # lock *(u64 *)(r0 + 0) += r1
        _insn(0xB7, 0, imm=verdict),
        _insn(0x95),
    ]
    return load_program(kind, name, b"".join(insns))


def pin(prog: RawFd, path: Path) -> None:
    """Pin a program; the caller still closes it."""
    text = ctypes.create_string_buffer(bytes(path))
    _bpf(BpfCmd.OBJ_PIN, struct.pack("=QI", ctypes.addressof(text), prog.fileno()))


def new_counter() -> RawFd:
    """Make an array of one u64."""
    return RawFd(_bpf(BpfCmd.MAP_CREATE, struct.pack("=IIII", 2, 4, 8, 1)))


def read_counter(counter: RawFd) -> int:
    """Return the value."""
    key, value = ctypes.create_string_buffer(4), ctypes.create_string_buffer(8)
    attr = struct.pack("=IxxxxQQ", counter.fileno(), ctypes.addressof(key), ctypes.addressof(value))
    _bpf(BpfCmd.MAP_LOOKUP_ELEM, attr)
    return int(struct.unpack("=Q", value.raw[:8])[0])


def map_ids(prog_id: int) -> tuple[int, ...]:
    """Return the maps of a program, 8 at most."""
    ids, info = (ctypes.c_uint32 * 8)(), ctypes.create_string_buffer(256)
    struct.pack_into("=IQ", info, 52, 8, ctypes.addressof(ids))  # nr_map_ids, map_ids of struct bpf_prog_info
    with RawPrograms().prog_by_id(ProgId(prog_id)) as prog:
        _bpf(BpfCmd.OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", prog.fileno(), 256, ctypes.addressof(info)))
    return tuple(ids[: struct.unpack_from("=I", info, 52)[0]])


def _map_by_id(map_id: int) -> RawFd:
    return RawFd(_bpf(BpfCmd.MAP_GET_FD_BY_ID, struct.pack("=I", map_id)))


def map_word(map_id: int) -> int:
    """Return the first value of an array of u64."""
    with _map_by_id(map_id) as found:
        return read_counter(found)


def set_map_word(map_id: int, number: int) -> None:
    """Set the first value of an array of u64."""
    key, value = ctypes.create_string_buffer(4), ctypes.create_string_buffer(struct.pack("=Q", number), 8)
    with _map_by_id(map_id) as found:
        attr = struct.pack("=IxxxxQQ", found.fileno(), ctypes.addressof(key), ctypes.addressof(value))
        _bpf(BpfCmd.MAP_UPDATE_ELEM, attr)


def xdp_link(prog: RawFd, ifindex: int) -> RawFd:
    """Attach by a bpf_link in native mode, which lives as long as its descriptor."""
    return RawFd(_bpf(BpfCmd.LINK_CREATE, struct.pack("=IIII", prog.fileno(), ifindex, ATTACH_XDP, 4)))


def tcx_link(prog: RawFd, ifindex: int, flags: int = 0) -> RawFd:
    """Attach to TCX ingress, as the last program unless `flags` say otherwise; it lives as long as its descriptor."""
    return RawFd(_bpf(BpfCmd.LINK_CREATE, struct.pack("=IIII", prog.fileno(), ifindex, ATTACH_TCX_INGRESS, flags)))


@dataclass(frozen=True, slots=True)
class RawLink:
    """What a link tells: its kind (enum bpf_link_type), program, interface (0: it is dead), and kind of attachment."""

    type: int
    prog_id: int
    ifindex: int
    attach_type: int


def pinned_link(path: Path) -> RawLink:
    """Return what the link that is pinned there tells."""
    text, info = ctypes.create_string_buffer(bytes(path)), ctypes.create_string_buffer(64)
    with RawFd(_bpf(BpfCmd.OBJ_GET, struct.pack("=QI", ctypes.addressof(text), 0))) as link:
        _bpf(BpfCmd.OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", link.fileno(), 64, ctypes.addressof(info)))
    kind, _, prog_id, _, ifindex, attach_type = struct.unpack_from("=IIIIII", info)
    return RawLink(kind, prog_id, ifindex, attach_type)


def tcx_programs(ifindex: int, attach_type: int) -> tuple[int, ...]:
    """Return the ids of the programs of a TCX hook, in the order they run, 64 at most."""
    ids = (ctypes.c_uint32 * 64)()
    attr = ctypes.create_string_buffer(
        struct.pack("=IIIIQI", ifindex, attach_type, 0, 0, ctypes.addressof(ids), 64), 144
    )
    if _libc.syscall(BPF_NR, int(BpfCmd.PROG_QUERY), attr, 144) < 0:
        raise KernelError("refused", operation="PROG_QUERY", errno=ctypes.get_errno())
    return tuple(ids[: struct.unpack_from("=I", attr, 24)[0]])
