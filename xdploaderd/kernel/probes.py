"""What the running kernel can do, found out by trying (libbpf features.c, libbpf_probes.c).

Answers are kept in `Bpf.answers` and asked for one by one, since each costs system calls. RLIMIT_MEMLOCK is raised only
for kernels that count BPF memory against it.
"""

import errno
import logging
import os
import resource
import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack

from xdploaderd.errors import KernelError
from xdploaderd.insn import BPF_ALU64, CALL, EXIT, LD_IMM64, Insn, encode_insns
from xdploaderd.kernel.bpf import Answer, Bpf
from xdploaderd.kernel.infos import read_named_btf_info
from xdploaderd.kernel.probe_btf import BTF_FEATURES, arg_ctx_blob, blob_of_all, probe_blob
from xdploaderd.kernel.prog_load import ProgLoad
from xdploaderd.kernel.syscall import Fd
from xdploaderd.obj.spec import MapSpec
from xdploaderd.uapi.bpf import (
    PSEUDO_CALL,
    AttachType,
    Feature,
    FeatureSet,
    Ifindex,
    MapFlags,
    MapType,
    ProgFlags,
    ProgType,
    PseudoSrc,
)

log = logging.getLogger(__name__)

# Helpers by number (enum bpf_func_id), each present since some release only.
_PROBE_READ_KERNEL = 113
_KTIME_GET_COARSE_NS = 160  # 5.11, which also moved BPF memory to memory cgroups
_GET_ATTACH_COOKIE = 174
_MOV_IMM = BPF_ALU64 | 0xB0
_LDX_W = 0x61
_INGRESS_IFINDEX = 12  # offset in struct xdp_md
_EXIT = Insn(EXIT, 0, 0, 0, 0)
_RETURN_0 = (Insn(_MOV_IMM, 0, 0, 0, 0), Insn(EXIT, 0, 0, 0, 0))
_NOT_TOLD = (errno.EPERM, errno.EACCES, errno.ENOMEM, errno.EAGAIN)  # these say nothing of the feature
_LOOPBACK = Ifindex(1)  # in every network namespace
_NO_INTERFACE = Ifindex(0x7FFFFFFF)
_XDP_FLAGS_HW_MODE = 0x8  # include/uapi/linux/if_link.h
_SYSCALL_WRAPPERS = {"x86_64": "__x64_sys_bpf", "aarch64": "__arm64_sys_bpf"}

# What preparing any object depends on, and what externs named LINUX_HAS_* ask for.
PREPARE_FEATURES = (*BTF_FEATURES, Feature.ARRAY_MMAP)
TRACING_FEATURES = (Feature.BPF_COOKIE, Feature.SYSCALL_WRAPPER)


def probe(bpf: Bpf, feature: Feature) -> Answer:
    """Return whether the kernel has the feature; asked once for each Bpf."""
    if feature in BTF_FEATURES and feature not in bpf.answers:
        _probe_all_btf(bpf)
    if feature not in bpf.answers:
        bpf.answers[feature] = _PROBES[feature](bpf)
    return bpf.answers[feature]


def probe_features(bpf: Bpf, features: Iterable[Feature] = PREPARE_FEATURES) -> FeatureSet:
    """Return those that the kernel has, or that we are not permitted to find out about."""
    return frozenset(feature for feature in features if probe(bpf, feature) is not Answer.NO)


def ensure_memlock(bpf: Bpf) -> None:
    """Lift RLIMIT_MEMLOCK when the kernel counts BPF memory against it; a refusal shows in the load that follows."""
    if bpf.answers.get(Feature.MEMCG_ACCOUNT) is Answer.YES:
        return
    infinite = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    if resource.getrlimit(resource.RLIMIT_MEMLOCK) == infinite or probe(bpf, Feature.MEMCG_ACCOUNT) is Answer.YES:
        return
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, infinite)
    except (OSError, ValueError) as error:
        log.debug("cannot lift RLIMIT_MEMLOCK: %s", error)


def _probe_all_btf(bpf: Bpf) -> None:
    """Settle every BTF feature at once on a recent kernel; where that fails each is asked for itself."""
    if _tried(lambda: bpf.btf_load(blob_of_all())) is Answer.YES:
        bpf.answers.update(dict.fromkeys(BTF_FEATURES, Answer.YES))


def _tried(make: Callable[[], Fd]) -> Answer:
    try:
        make().close()
    except KernelError as error:
        return Answer.UNKNOWN if error.errno in _NOT_TOLD else Answer.NO
    return Answer.YES


def _call(helper: int) -> Insn:
    return Insn(CALL, 0, 0, 0, helper)


def _request(
    prog_type: ProgType,
    code: tuple[Insn, ...] = _RETURN_0,
    *,
    name: str = "",
    attach_type: int = 0,
    flags: int = 0,
) -> ProgLoad:
    return ProgLoad(
        type=prog_type,
        insns=encode_insns(code),
        license="GPL",
        name=name,
        expected_attach_type=attach_type,
        flags=flags,
    )


def _try_load(
    bpf: Bpf, prog_type: ProgType, code: tuple[Insn, ...] = _RETURN_0, *, name: str = "", attach_type: int = 0
) -> Answer:
    return _tried(lambda: bpf.prog_load(_request(prog_type, code, name=name, attach_type=attach_type)))


def _array(*, flags: int = 0) -> MapSpec:
    return MapSpec(
        name="probe", kernel_name="", type=MapType.ARRAY, key_size=4, value_size=32, max_entries=1, flags=flags
    )


def _reading_code() -> tuple[Insn, ...]:
    """Return code that reads 8 bytes of kernel memory at its own stack into its stack."""
    mov_reg, add_imm, mov_imm32 = BPF_ALU64 | 0xB8, BPF_ALU64 | 0x00, _MOV_IMM
    return (
        Insn(mov_reg, 1, 10, 0, 0),  # r1 = fp
        Insn(add_imm, 1, 0, 0, -8),
        Insn(mov_imm32, 2, 0, 0, 8),
        Insn(mov_imm32, 3, 0, 0, 0),
        _call(_PROBE_READ_KERNEL),
        Insn(EXIT, 0, 0, 0, 0),
    )


def _probe_global_data(bpf: Bpf) -> Answer:
    with ExitStack() as stack:
        try:
            array = stack.enter_context(bpf.map_create(_array()))
        except KernelError:
            return Answer.UNKNOWN
        load = (Insn(LD_IMM64, 1, PseudoSrc.MAP_VALUE, 0, array.fileno()), Insn(0, 0, 0, 0, 16))
        store = Insn(0x7A, 1, 0, 0, 42)  # *(u64 *)(r1 + 0) = 42
        return _try_load(bpf, ProgType.SOCKET_FILTER, (*load, store, *_RETURN_0))


def _probe_bind_map(bpf: Bpf) -> Answer:
    with ExitStack() as stack:
        try:
            array = stack.enter_context(bpf.map_create(_array()))
            prog = stack.enter_context(bpf.prog_load(_request(ProgType.SOCKET_FILTER)))
        except KernelError:
            return Answer.UNKNOWN
        try:
            bpf.prog_bind_map(prog, array)
        except KernelError as error:
            return Answer.UNKNOWN if error.errno in _NOT_TOLD else Answer.NO
    return Answer.YES


def _probe_module_btf(bpf: Bpf) -> Answer:
    """Kernels that tell a BTF's name know BTFs of modules."""
    try:
        fd = bpf.btf_load(probe_blob(Feature.BTF))
    except KernelError:
        return Answer.UNKNOWN
    with fd:
        try:
            read_named_btf_info(bpf.call, fd.fileno())
        except OSError as error:
            return Answer.UNKNOWN if error.errno in _NOT_TOLD else Answer.NO
    return Answer.YES


def _probe_xdp_link(bpf: Bpf) -> Answer:
    """Ask for offload to the loopback device: "not supported" where links are, "invalid" where they are not."""
    return _probe_link(bpf, ProgType.XDP, AttachType.XDP, target=(_LOOPBACK, _XDP_FLAGS_HW_MODE, errno.EOPNOTSUPP))


def _probe_tcx(bpf: Bpf) -> Answer:
    """Ask for an interface that cannot be: "no such device" where the hook is, "invalid" where it is not."""
    return _probe_link(bpf, ProgType.SCHED_CLS, AttachType.TCX_INGRESS, target=(_NO_INTERFACE, 0, errno.ENODEV))


def _probe_link(bpf: Bpf, prog_type: ProgType, attach_type: AttachType, *, target: tuple[Ifindex, int, int]) -> Answer:
    ifindex, flags, errno_if_known = target
    try:
        prog = bpf.prog_load(_request(prog_type))
    except KernelError:
        return Answer.UNKNOWN
    with prog:
        try:
            bpf.link_create(prog, ifindex, attach_type, flags).close()
        except KernelError as error:
            if error.errno in _NOT_TOLD:
                return Answer.UNKNOWN
            return Answer.YES if error.errno == errno_if_known else Answer.NO
    return Answer.YES


def _probe_syscall_wrapper(_bpf: Bpf) -> Answer:
    wrapper = _SYSCALL_WRAPPERS.get(os.uname().machine)
    try:
        with open("/proc/kallsyms", "rb") as symbols:
            found = wrapper is not None and any(line.rstrip().endswith(wrapper.encode()) for line in symbols)
    except OSError:
        return Answer.UNKNOWN
    return Answer.YES if found else Answer.NO


def _probe_arg_ctx_tag(bpf: Bpf) -> Answer:
    """Load a function that reads its parameter as the context, which only the tag says it is."""
    code = (Insn(CALL, 0, PSEUDO_CALL, 0, 1), _EXIT, Insn(_LDX_W, 0, 1, _INGRESS_IFINDEX, 0), _EXIT)
    functions = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 4, 2, 6))  # (instruction, type) twice
    try:
        btf = bpf.btf_load(arg_ctx_blob())
    except KernelError:
        return Answer.NO
    with btf:
        request = _request(ProgType.XDP, code)._replace(btf=btf, func_info=functions)
        return _tried(lambda: bpf.prog_load(request))


def _btf_probe(feature: Feature) -> Callable[[Bpf], Answer]:
    return lambda bpf: _tried(lambda: bpf.btf_load(probe_blob(feature)))


_PROBES: dict[Feature, Callable[[Bpf], Answer]] = {
    Feature.PROG_NAME: lambda bpf: _try_load(bpf, ProgType.SOCKET_FILTER, name="probe"),
    Feature.GLOBAL_DATA: _probe_global_data,
    **{feature: _btf_probe(feature) for feature in BTF_FEATURES},
    Feature.ARRAY_MMAP: lambda bpf: _tried(lambda: bpf.map_create(_array(flags=MapFlags.MMAPABLE))),
    Feature.EXP_ATTACH_TYPE: lambda bpf: _try_load(
        bpf, ProgType.CGROUP_SOCK, attach_type=AttachType.CGROUP_INET_SOCK_CREATE
    ),
    Feature.PROBE_READ_KERN: lambda bpf: _try_load(bpf, ProgType.TRACEPOINT, _reading_code()),
    Feature.PROG_BIND_MAP: _probe_bind_map,
    Feature.MODULE_BTF: _probe_module_btf,
    Feature.ARG_CTX_TAG: _probe_arg_ctx_tag,
    Feature.BPF_COOKIE: lambda bpf: _try_load(bpf, ProgType.TRACEPOINT, (_call(_GET_ATTACH_COOKIE), *_RETURN_0)),
    Feature.SYSCALL_WRAPPER: _probe_syscall_wrapper,
    Feature.MEMCG_ACCOUNT: lambda bpf: _try_load(
        bpf, ProgType.SOCKET_FILTER, (_call(_KTIME_GET_COARSE_NS), *_RETURN_0)
    ),
    Feature.XDP_LINK: _probe_xdp_link,
    Feature.XDP_FRAGS: lambda bpf: _tried(
        lambda: bpf.prog_load(_request(ProgType.XDP, attach_type=AttachType.XDP, flags=ProgFlags.XDP_HAS_FRAGS))
    ),
    Feature.TCX: _probe_tcx,
}
