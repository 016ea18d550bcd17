"""Tell a kernel that is too old from every other cause of a refusal, by asking it, after the refusal.

The kernel's own BTF names the map, program and attach types that it was built with; what is no type is probed
(libbpf libbpf_probes.c).
"""

import re
from collections.abc import Callable, Sequence
from enum import IntEnum

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import BtfKind, Enum
from xdploaderd.errors import FeatureMissingError, KernelError, LoaderError, VerifierError
from xdploaderd.insn import BPF_STX, INSN_SIZE
from xdploaderd.kernel.bpf import Answer, Bpf
from xdploaderd.kernel.probes import probe
from xdploaderd.kernel.prog_load import ProgLoad
from xdploaderd.kernel.vmlinux import vmlinux_btf
from xdploaderd.obj.spec import MapSpec
from xdploaderd.uapi.bpf import AttachType, Feature, Helper, MapFlags, MapType, ProgFlags, ProgType, enum_name
from xdploaderd.uapi.releases import (
    ATOMICS_SINCE,
    ATTACH_TYPES_SINCE,
    MAP_TYPES_SINCE,
    PROG_TYPES_SINCE,
    XDP_FRAGS_SINCE,
    helper_since,
)

# The verifier's words for a number beyond those it knows; "unknown func" is one that this program type may not call.
_BEYOND = re.compile(r"invalid func \S+#(\d+)")
# What it says of an atomic instruction where adding is the only one it knows.
_NO_ATOMICS = re.compile(r"BPF_(?:STX|XADD) uses reserved fields")
_ATOMIC_OPCODES = (BPF_STX | 0xC0, BPF_STX | 0xD8)  # of 4 and 8 bytes


def missing_for_map(spec: MapSpec, kernel_btf: Callable[[], Btf] = vmlinux_btf) -> FeatureMissingError | None:
    """Return what a map that was refused needs and the running kernel lacks; None when that is not the cause."""
    wanted = (spec,) if spec.inner is None else (spec, spec.inner)
    for each in wanted:
        if each.type and _lacks(kernel_btf, "bpf_map_type", each.type):
            name = _name(MapType, each.type)
            return _missing(f"map type {name}", MAP_TYPES_SINCE.get(each.type, ""))
    # The flag is no enumerator of its own; the attach type came with it.
    links = spec.type == MapType.STRUCT_OPS and spec.flags & MapFlags.LINK
    if links and _lacks(kernel_btf, "bpf_attach_type", AttachType.STRUCT_OPS):
        return _missing(
            "struct_ops maps for links (section '.struct_ops.link')", ATTACH_TYPES_SINCE[AttachType.STRUCT_OPS]
        )
    return None


def missing_for_program(
    bpf: Bpf, request: ProgLoad, error: KernelError, kernel_btf: Callable[[], Btf] = vmlinux_btf
) -> FeatureMissingError | None:
    """Return what a program that was refused needs and the running kernel lacks; None when that is not the cause."""
    if isinstance(error, VerifierError):
        return _missing_helper(error.log) or _missing_atomics(request.insns, error.log)
    if _lacks(kernel_btf, "bpf_prog_type", request.type):
        name = _name(ProgType, request.type)
        return _missing(f"program type {name}", PROG_TYPES_SINCE.get(request.type, ""))
    if request.type == ProgType.STRUCT_OPS:  # it names a member of a structure, no attach type
        return None
    if request.expected_attach_type and _lacks(kernel_btf, "bpf_attach_type", request.expected_attach_type):
        name = _name(AttachType, request.expected_attach_type)
        return _missing(f"attach type {name}", ATTACH_TYPES_SINCE.get(request.expected_attach_type, ""))
    if request.flags & ProgFlags.XDP_HAS_FRAGS and probe(bpf, Feature.XDP_FRAGS) is Answer.NO:
        return _missing("XDP programs for frames of several fragments (xdp.frags)", XDP_FRAGS_SINCE)
    return None


def _missing_helper(log: Sequence[str]) -> FeatureMissingError | None:
    found = next((match for line in reversed(log) if (match := _BEYOND.search(line))), None)
    number = int(found[1]) if found else 0
    if not 0 < number <= max(Helper):  # larger ones are our own marks
        return None
    return _with_log(_missing(f"helper bpf_{Helper(number).name}", helper_since(Helper(number))), log)


def _missing_atomics(insns: bytes, log: Sequence[str]) -> FeatureMissingError | None:
    if not any(_NO_ATOMICS.search(line) for line in log):
        return None
    if not any(
        insns[at] in _ATOMIC_OPCODES and any(insns[at + 4 : at + INSN_SIZE]) for at in range(0, len(insns), INSN_SIZE)
    ):
        return None
    return _with_log(_missing("atomic instructions but adding", ATOMICS_SINCE), log)


def _with_log(error: FeatureMissingError, log: Sequence[str]) -> FeatureMissingError:
    error.fields["log"] = list(log)
    return error


def _name(kind: type[IntEnum], value: int) -> str:
    return enum_name(kind, value).removeprefix("type ")


def _missing(feature: str, since: str) -> FeatureMissingError:
    wanted = f"want Linux {since} or newer" if since else "want a newer one"
    return FeatureMissingError(f"this kernel does not know {feature}, {wanted}", feature=feature, since=since)


def _lacks(kernel_btf: Callable[[], Btf], enum: str, value: int) -> bool:
    """Tell whether the kernel's BTF has the enumeration, but no enumerator of that value."""
    try:
        btf = kernel_btf()
        found = [btf.type_by_id(type_id) for type_id in btf.ids_by_name(enum, (BtfKind.ENUM,))]
    except LoaderError:
        return False
    values = {number for known in found if isinstance(known, Enum) for name, number in known.values if name[:2] != "__"}
    return bool(values) and value not in values
