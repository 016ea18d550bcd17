"""Typed bpf(2) commands: values in, an owned Fd or a frozen info out (tools/lib/bpf/bpf.c).

Every method raises KernelError; OSError never leaves. Descriptors passed in are borrowed.
"""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import PurePosixPath
from typing import NamedTuple, TypeVar

from xdploaderd.errors import KernelError
from xdploaderd.info import BtfInfo, Chain, LinkInfo, MapInfo, ProgInfo
from xdploaderd.kernel import infos
from xdploaderd.kernel.attr import (
    BpfAttr,
    BtfLoadAttr,
    IdAttr,
    LinkCreateAttr,
    LinkDetachAttr,
    LinkUpdateAttr,
    MapCreateAttr,
    MapElemAttr,
    ObjAttr,
    ProgBindMapAttr,
    ProgQueryAttr,
    ProgRunAttr,
    make_buffer,
    make_u32s,
    pointer_of,
    pointer_to,
)
from xdploaderd.kernel.fdinfo import ObjectKind, kind_of
from xdploaderd.kernel.prog_load import ProgLoad, kernel_name, load_program
from xdploaderd.kernel.refusals import kernel_error
from xdploaderd.kernel.syscall import BpfSyscall, Fd, bpf_syscall
from xdploaderd.kernel.verifier_log import RefusedLoadError, load_logged, summarise
from xdploaderd.obj.spec import MapSpec
from xdploaderd.uapi.bpf import (
    AttachType,
    BpfCmd,
    BtfId,
    Feature,
    Ifindex,
    LinkId,
    MapFlags,
    MapId,
    MapType,
    ProgId,
    enum_name,
)

BPF_F_REPLACE, BPF_F_BEFORE, BPF_F_AFTER, BPF_F_ID = 0x4, 0x8, 0x10, 0x20  # of LINK_CREATE and LINK_UPDATE
CHAIN_MAX = 64  # programs of one TCX hook (BPF_MPROG_MAX)
_FRAME_SLACK = 4096  # bytes a program may add to a frame in PROG_RUN

_T = TypeVar("_T")

_F_RDONLY = 1 << 3  # BPF_F_RDONLY


class Answer(StrEnum):
    """What a probe found out; UNKNOWN when it was not permitted to look."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class ProgRun(NamedTuple):
    """Result of PROG_RUN; duration in nanoseconds, the mean of one run."""

    retval: int
    data: bytes
    duration: int


class Bpf:
    """The kernel's BPF objects. `answers` keeps what kernel.probes found out through this door.

    `prog_log`, if given, gets the verifier's log of each program that is loaded.
    """

    def __init__(
        self, syscall: BpfSyscall = bpf_syscall, *, prog_log: Callable[[Sequence[str]], None] | None = None
    ) -> None:
        self.call = syscall
        self._prog_log = prog_log
        self.answers: dict[Feature, Answer] = {}

    def _run(self, cmd: BpfCmd, attr: BpfAttr, what: str | Callable[[], str]) -> int:
        try:
            return self.call(cmd, attr)
        except OSError as error:
            raise kernel_error(cmd, error.errno or 0, what if isinstance(what, str) else what()) from None

    # Maps

    def map_create(
        self, spec: MapSpec, *, btf: Fd | None = None, inner: Fd | None = None, module: Fd | None = None
    ) -> Fd:
        """Create a map; type ids are sent only with `btf`.

        `inner` is the template of a map-in-map, `module` the BTF that has the value type of a struct_ops map, if it is
        not vmlinux.
        """
        attr = MapCreateAttr(
            map_type=spec.type,
            key_size=spec.key_size,
            value_size=spec.value_size,
            max_entries=spec.max_entries,
            map_flags=spec.flags,
            inner_map_fd=inner.fileno() if inner else 0,
            numa_node=spec.numa_node,
            map_name=kernel_name(spec.kernel_name),
            map_extra=spec.map_extra,
        )
        if btf is not None:
            attr.btf_fd = btf.fileno()
            attr.btf_key_type_id = spec.key_type_id
            attr.btf_value_type_id = spec.value_type_id
            attr.btf_vmlinux_value_type_id = spec.vmlinux_value_type_id
        if module is not None:
            attr.value_type_btf_obj_fd = module.fileno()
            attr.map_flags |= MapFlags.VTYPE_BTF_OBJ_FD
        return Fd(self._run(BpfCmd.MAP_CREATE, attr, lambda: _described(spec)))

    def map_update(self, fd: Fd, key: bytes, value: bytes, flags: int = 0) -> None:
        """Set one element; key and value must be as long as the map says."""
        attr = MapElemAttr(map_fd=fd.fileno(), key=pointer_to(key), value=pointer_to(value), flags=flags)
        self._run(BpfCmd.MAP_UPDATE_ELEM, attr, "cannot set a map element")

    def map_lookup(self, fd: Fd, key: bytes, value_size: int) -> bytes | None:
        """Return the value of `key`, None when absent. For per-CPU maps `value_size` covers all CPUs' values."""
        value = make_buffer(value_size)
        attr = MapElemAttr(map_fd=fd.fileno(), key=pointer_to(key), value=pointer_of(value))
        return value.raw if self._found(BpfCmd.MAP_LOOKUP_ELEM, attr, "cannot read a map element") else None

    def map_delete(self, fd: Fd, key: bytes) -> bool:
        """Remove one element; False when there was none."""
        attr = MapElemAttr(map_fd=fd.fileno(), key=pointer_to(key))
        return self._found(BpfCmd.MAP_DELETE_ELEM, attr, "cannot delete a map element")

    def map_next_key(self, fd: Fd, key: bytes | None, key_size: int) -> bytes | None:
        """Return the key after `key` (None: the first one), or None at the end."""
        following = make_buffer(key_size)
        attr = MapElemAttr(map_fd=fd.fileno(), key=pointer_to(key), next_key=pointer_of(following))
        return following.raw if self._found(BpfCmd.MAP_GET_NEXT_KEY, attr, "cannot walk a map") else None

    def map_freeze(self, fd: Fd) -> None:
        """Make a map read-only for user space, for good."""
        self._run(BpfCmd.MAP_FREEZE, MapElemAttr(map_fd=fd.fileno()), "cannot freeze the map")

    def _found(self, cmd: BpfCmd, attr: BpfAttr, what: str) -> bool:
        try:
            self._run(cmd, attr, what)
        except KernelError as error:
            if error.errno == errno.ENOENT:
                return False
            raise
        return True

    # BTF and programs

    def btf_load(self, raw: bytes) -> Fd:
        """Load a BTF blob; the error holds the kernel's log."""
        attr = BtfLoadAttr(btf=pointer_to(raw), btf_size=len(raw))
        try:
            return load_logged(self.call, BpfCmd.BTF_LOAD, attr)
        except RefusedLoadError as refused:
            reason = f"the kernel refuses the BTF: {summarise(refused.log) or os.strerror(refused.errno).lower()}"
            error = KernelError(reason, operation="BPF_BTF_LOAD", errno=refused.errno)
            error.fields["log"] = list(refused.log)
            raise error from None

    def prog_load(self, request: ProgLoad) -> Fd:
        """Load a program. Raises VerifierError with the whole log when the verifier refuses it."""
        return load_program(self.call, request, self._prog_log)

    def prog_bind_map(self, prog: Fd, bpf_map: Fd) -> None:
        """Let a program hold a reference to a map that its instructions do not mention."""
        attr = ProgBindMapAttr(prog_fd=prog.fileno(), map_fd=bpf_map.fileno())
        self._run(BpfCmd.PROG_BIND_MAP, attr, "cannot bind the map to the program")

    def prog_run(self, prog: Fd, data: bytes, *, repeat: int = 1) -> ProgRun:
        """Run a program on a frame of `data`, which it may change or lengthen."""
        out = make_buffer(len(data) + _FRAME_SLACK)
        attr = ProgRunAttr(
            prog_fd=prog.fileno(),
            data_in=pointer_to(data),
            data_size_in=len(data),
            data_out=pointer_of(out),
            data_size_out=len(out),
            repeat=repeat,
        )
        self._run(BpfCmd.PROG_TEST_RUN, attr, "cannot run the program")
        return ProgRun(attr.retval, out.raw[: attr.data_size_out], attr.duration)

    # Pins

    def obj_pin(self, fd: Fd, path: PurePosixPath) -> None:
        """Pin a program, map or link; EEXIST when the path is taken."""
        name = os.fsencode(path) + b"\0"
        self._run(BpfCmd.OBJ_PIN, ObjAttr(pathname=pointer_to(name), bpf_fd=fd.fileno()), f"cannot pin at '{path}'")

    def obj_get(self, path: PurePosixPath, *, read_only: bool = False) -> Fd:
        """Open what is pinned at `path`, whatever it is (see kind_of); `read_only`, a map that can only be read so."""
        name = os.fsencode(path) + b"\0"
        attr = ObjAttr(pathname=pointer_to(name), file_flags=_F_RDONLY if read_only else 0)
        return Fd(self._run(BpfCmd.OBJ_GET, attr, f"cannot open the pin '{path}'"))

    def kind_of(self, fd: Fd) -> ObjectKind:
        """Tell what a descriptor stands for."""
        return kind_of(fd)

    # Links

    def link_create(
        self,
        prog: Fd,
        ifindex: Ifindex,
        attach_type: AttachType,
        flags: int = 0,
        *,
        relative: int = 0,
        revision: int = 0,
    ) -> Fd:
        """Attach a program to an interface by a link; it goes with its last descriptor unless it is pinned.

        For TCX: `relative` is what the flags say (a program's id with BEFORE or AFTER and ID), `revision` the one that
        the hook must have (else ESTALE), 0 for any.
        """
        attr = LinkCreateAttr(prog_fd=prog.fileno(), target_ifindex=ifindex, attach_type=attach_type, flags=flags)
        attr.tcx.relative_fd, attr.tcx.expected_revision = relative, revision
        return Fd(self._run(BpfCmd.LINK_CREATE, attr, f"cannot attach a link of type {attach_type.name.lower()}"))

    def link_update(self, link: Fd, new: Fd, *, expected: Fd | None = None) -> None:
        """Put another program behind a link at once; with `expected`, only while that one is there (else EPERM)."""
        attr = LinkUpdateAttr(link_fd=link.fileno(), new_prog_fd=new.fileno())
        if expected is not None:
            attr.flags, attr.old_prog_fd = BPF_F_REPLACE, expected.fileno()
        self._run(BpfCmd.LINK_UPDATE, attr, "cannot replace the program of the link")

    def link_detach(self, link: Fd) -> None:
        """Detach a link's program though descriptors and pins of the link remain."""
        self._run(BpfCmd.LINK_DETACH, LinkDetachAttr(link_fd=link.fileno()), "cannot detach the link")

    def chain(self, ifindex: Ifindex, attach_type: AttachType) -> Chain:
        """Return the programs of a TCX hook in their order, and its revision."""
        ids, links = make_u32s((0,) * CHAIN_MAX), make_u32s((0,) * CHAIN_MAX)
        attr = ProgQueryAttr(target_ifindex=ifindex, attach_type=attach_type, count=CHAIN_MAX)
        attr.prog_ids, attr.link_ids = pointer_of(ids), pointer_of(links)
        self._run(BpfCmd.PROG_QUERY, attr, f"cannot ask for the programs of {attach_type.name.lower()}")
        return Chain(
            revision=attr.revision,
            progs=tuple(map(ProgId, ids[: attr.count])),
            links=tuple(map(LinkId, links[: attr.count])),
        )

    # Infos and ids

    def map_info(self, fd: Fd) -> MapInfo:
        """Return struct bpf_map_info."""
        return self._info(infos.read_map_info, fd, "cannot read the map's info")

    def prog_info(self, fd: Fd) -> ProgInfo:
        """Return struct bpf_prog_info with the ids of the program's maps."""
        return self._info(infos.read_prog_info, fd, "cannot read the program's info")

    def link_info(self, fd: Fd) -> LinkInfo:
        """Return struct bpf_link_info of an XDP or TCX link."""
        return self._info(infos.read_link_info, fd, "cannot read the link's info")

    def btf_info(self, fd: Fd) -> BtfInfo:
        """Return struct bpf_btf_info."""
        return self._info(infos.read_btf_info, fd, "cannot read the BTF's info")

    def btf_raw(self, fd: Fd) -> bytes:
        """Return the bytes of a loaded BTF."""
        return self._info(infos.read_btf_raw, fd, "cannot read the BTF")

    def _info(self, read: Callable[[BpfSyscall, int], _T], fd: Fd, what: str) -> _T:
        try:
            return read(self.call, fd.fileno())
        except OSError as error:
            raise kernel_error(BpfCmd.OBJ_GET_INFO_BY_FD, error.errno or 0, what) from None

    def prog_ids(self) -> Iterator[ProgId]:
        """Yield the ids of all programs, ascending; needs CAP_SYS_ADMIN, as the other ids do."""
        return map(ProgId, self._ids(BpfCmd.PROG_GET_NEXT_ID))

    def map_ids(self) -> Iterator[MapId]:
        """Yield the ids of all maps."""
        return map(MapId, self._ids(BpfCmd.MAP_GET_NEXT_ID))

    def link_ids(self) -> Iterator[LinkId]:
        """Yield the ids of all links."""
        return map(LinkId, self._ids(BpfCmd.LINK_GET_NEXT_ID))

    def btf_ids(self) -> Iterator[BtfId]:
        """Yield the ids of all BTFs, those of the kernel and its modules included."""
        return map(BtfId, self._ids(BpfCmd.BTF_GET_NEXT_ID))

    def _ids(self, cmd: BpfCmd) -> Iterator[int]:
        attr = IdAttr()
        while self._found(cmd, attr, "cannot list ids"):
            yield attr.next_id
            attr.start_id = attr.next_id

    def prog_by_id(self, prog_id: ProgId) -> Fd:
        """Open a program by its id; ENOENT when it is gone."""
        return self._by_id(BpfCmd.PROG_GET_FD_BY_ID, prog_id, "program")

    def map_by_id(self, map_id: MapId, *, read_only: bool = False) -> Fd:
        """Open a map by its id; `read_only`, so that it can only be read."""
        attr = IdAttr(start_id=map_id, open_flags=_F_RDONLY if read_only else 0)
        return Fd(self._run(BpfCmd.MAP_GET_FD_BY_ID, attr, f"cannot open the map of id {map_id}"))

    def link_by_id(self, link_id: LinkId) -> Fd:
        """Open a link by its id."""
        return self._by_id(BpfCmd.LINK_GET_FD_BY_ID, link_id, "link")

    def btf_by_id(self, btf_id: BtfId) -> Fd:
        """Open a BTF by its id."""
        return self._by_id(BpfCmd.BTF_GET_FD_BY_ID, btf_id, "BTF")

    def _by_id(self, cmd: BpfCmd, number: int, kind: str) -> Fd:
        return Fd(self._run(cmd, IdAttr(start_id=number), f"cannot open the {kind} of id {number}"))


def _described(spec: MapSpec) -> str:
    sizes = f"key {spec.key_size} and value {spec.value_size} bytes, {spec.max_entries} entries, flags {spec.flags:#x}"
    return f"cannot create a map of type {enum_name(MapType, spec.type)} with {sizes}"
