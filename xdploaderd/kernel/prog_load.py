"""BPF_PROG_LOAD: one request as a value, and the call with its log (libbpf bpf.c, bpf_prog_load)."""

import errno
import functools
import os
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from xdploaderd.errors import KernelError, VerifierError
from xdploaderd.insn import INSN_SIZE, Insns
from xdploaderd.kernel.attr import ProgLoadAttr, make_u32s, pointer_of, pointer_to
from xdploaderd.kernel.hints import permission_hint
from xdploaderd.kernel.syscall import BpfSyscall, Fd
from xdploaderd.kernel.verifier_log import RefusedLoadError, load_logged, load_with_log, summarise
from xdploaderd.uapi.bpf import BPF_OBJ_NAME_LEN, BpfCmd

FUNC_INFO_SIZE = 8  # struct bpf_func_info
LINE_INFO_SIZE = 16  # struct bpf_line_info
_NAME = re.compile(r"[A-Za-z0-9_.]*", re.ASCII)


class ProgLoad(NamedTuple):
    """What PROG_LOAD takes. Descriptors are borrowed: the caller keeps them open during the call.

    `attach_to` is the program or the module's BTF that `attach_btf_id` is of, None for vmlinux.
    `fd_array` are the descriptors that calls of module functions index; its slot 0 stands for vmlinux.
    """

    type: int
    insns: Insns
    license: str
    name: str = ""
    kern_version: int = 0
    flags: int = 0
    expected_attach_type: int = 0
    btf: Fd | None = None
    func_info: bytes = b""
    line_info: bytes = b""
    attach_btf_id: int = 0
    attach_to: Fd | None = None
    fd_array: tuple[int, ...] = ()


@functools.lru_cache(maxsize=512)
def kernel_name(name: str) -> bytes:
    """Return the name cut to the 15 characters the kernel keeps; empty for one with characters that it refuses."""
    return name[: BPF_OBJ_NAME_LEN - 1].encode() if _NAME.fullmatch(name) else b""


def load_program(call: BpfSyscall, request: ProgLoad, told: Callable[[Sequence[str]], None] | None = None) -> Fd:
    """Load one program; `told` gets the log of one that is taken. Writing a log takes the verifier time.

    Raises VerifierError when the kernel gave reasons, else KernelError.
    """
    license_text = request.license.encode("utf-8", "surrogateescape") + b"\0"
    fd_array = make_u32s(request.fd_array) if request.fd_array else None
    attr = ProgLoadAttr(
        prog_type=request.type,
        insn_cnt=len(request.insns) // INSN_SIZE,
        insns=pointer_to(request.insns),
        license=pointer_to(license_text),
        kern_version=request.kern_version,
        prog_flags=request.flags,
        prog_name=kernel_name(request.name),
        expected_attach_type=request.expected_attach_type,
        attach_btf_id=request.attach_btf_id,
        attach_btf_obj_fd=request.attach_to.fileno() if request.attach_to else 0,
        fd_array=pointer_of(fd_array) if fd_array is not None else 0,
    )
    if request.btf is not None:
        _set_infos(attr, request, request.btf)
    if told is not None and (fd := load_with_log(call, attr, told)) is not None:
        return fd
    try:
        return load_logged(call, BpfCmd.PROG_LOAD, attr)
    except RefusedLoadError as refused:
        raise _refusal(refused) from None


def _set_infos(attr: ProgLoadAttr, request: ProgLoad, btf: Fd) -> None:
    attr.prog_btf_fd = btf.fileno()
    if request.func_info:
        attr.func_info_rec_size = FUNC_INFO_SIZE
        attr.func_info = pointer_to(request.func_info)
        attr.func_info_cnt = len(request.func_info) // FUNC_INFO_SIZE
    if request.line_info:
        attr.line_info_rec_size = LINE_INFO_SIZE
        attr.line_info = pointer_to(request.line_info)
        attr.line_info_cnt = len(request.line_info) // LINE_INFO_SIZE


def _refusal(refused: RefusedLoadError) -> KernelError:
    if refused.log:
        return VerifierError(
            f"the verifier refuses the program: {summarise(refused.log)}", errno=refused.errno, log=refused.log
        )
    message = f"the kernel refuses the program and gives no reason: {os.strerror(refused.errno).lower()}"
    if refused.errno == errno.EPERM and (hint := permission_hint()):
        message += f"; {hint}"
    return KernelError(message, operation="BPF_PROG_LOAD", errno=refused.errno)
