"""The values that pass between open, prepare and load.

`ObjectSpec` is what the file says, the same on every machine; `PreparedObject` is relocated for one `TargetKernel`,
which may be any BTF file; both are made without privilege and without a bpf(2) call. Names follow libbpf's
struct bpf_object, bpf_map and bpf_program before load.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.ext import BtfExt
from xdploaderd.errors import LoaderError
from xdploaderd.insn import Insns
from xdploaderd.limits import DEFAULT_LIMITS, Limits
from xdploaderd.obj.file_digest import FileDigest
from xdploaderd.relo_core.decision import CoreDecision, CoreFailure
from xdploaderd.uapi.bpf import AttachType, FeatureSet, ProgType

KCONFIG_MAP = ".kconfig"  # `section` of the data map that holds the values of CONFIG_* and LINUX_* externs


class Dialect(StrEnum):
    """How maps, sections and tail calls are written: libbpf's way or iproute2's own."""

    STANDARD = "standard"
    LEGACY = "legacy"


# `pinning` of a map: standard objects know 0 and 1, legacy ones 0, 1, 2 and whatever numbers are configured.
PIN_NONE = 0
LIBBPF_PIN_BY_NAME = 1
PIN_OBJECT_NS = 1
PIN_GLOBAL_NS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MapSpec:
    """One map as its object defines it; sizes in bytes.

    `name` is what users see and pin (`.data.custom`), `kernel_name` the up to 15 characters sent to the kernel.
    `type` and `flags` are plain numbers, since an object may be newer than MapType and MapFlags.
    `slots` fill a map-in-map (key -> name of the inner map) or a program array (key -> name of the program).
    `pin_path` is a path below the root of all pins that the object itself names (goebpf), or that its user shares the
    map at, in place of a `pinning`.
    `section` is the ELF section (or KCONFIG_MAP) behind a data map, empty for other maps. `contents` None: all zero.
    `rule` says by which reading of the file the definition was found (shown to users). Without `autocreate` the map is
    not made, and only programs whose uses of it are dead code load.
    A struct_ops map's `slots` go from member number to program, its `value_type_id` is that of its struct. Prepared,
    they go from byte offset in the kernel's struct `vmlinux_value_type_id`, of the BTF of `value_module` if not empty.
    """

    name: str
    kernel_name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    pinning: int = 0
    key_type_id: int = 0
    value_type_id: int = 0
    numa_node: int = 0
    map_extra: int = 0
    inner: "MapSpec | None" = None
    contents: bytes | None = None
    freeze: bool = False
    slots: Mapping[int, str] = field(default_factory=dict)
    legacy_id: int = 0
    section: str = ""
    rule: str = "btf"
    pin_path: str = ""
    autocreate: bool = True
    vmlinux_value_type_id: int = 0
    value_module: str = ""

    @property
    def is_legacy(self) -> bool:
        """Whether `pinning` has the meaning of struct bpf_elf_map: a legacy object may define maps in `.maps` too."""
        return self.rule not in ("btf", "section", "struct_ops")


class MapRef(NamedTuple):
    """RELO_LD64: the two-slot load at `insn_idx` takes the fd of a map."""

    insn_idx: int
    map_name: str


class DataRef(NamedTuple):
    """RELO_DATA: the two-slot load at `insn_idx` takes the address of a byte of a data map's value."""

    insn_idx: int
    map_name: str
    value_off: int


@dataclass(frozen=True, slots=True)
class CallRef:
    """RELO_CALL: a call of the subprogram whose key is `callee`: in section `.text` its first instruction."""

    insn_idx: int
    callee: int


@dataclass(frozen=True, slots=True)
class FuncRef:
    """RELO_SUBPROG_ADDR: the two-slot load at `insn_idx` takes the address of the subprogram at `callee` of `.text`."""

    insn_idx: int
    callee: int


@dataclass(frozen=True, slots=True)
class ExternRef:
    """RELO_EXTERN_LD64 or RELO_EXTERN_CALL: the instruction at `insn_idx` takes the value of an extern symbol."""

    insn_idx: int
    symbol: str
    call: bool


Reloc = MapRef | DataRef | CallRef | FuncRef | ExternRef


class ExternKind(StrEnum):
    """What an extern symbol stands for."""

    KCONFIG = "kconfig"
    KSYM_TYPED = "typed ksym"
    KSYM_TYPELESS = "typeless ksym"
    KFUNC = "kfunc"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternSpec:
    """One extern symbol; for KCONFIG `offset` and `size` say where its value lies in the .kconfig map."""

    name: str
    kind: ExternKind
    type_id: int  # of the VAR's type, or of the FUNC
    weak: bool
    offset: int = 0
    size: int = 0


class FunctionSpec(NamedTuple):
    """Instructions of one section from slot `insn_off` on; its relocations count from its own start.

    `section` is the ELF section's name as written (a leading `?` included): .BTF.ext finds the function by it.
    """

    name: str
    section: str
    insn_off: int
    insns: Insns
    relocs: Sequence[Reloc]
    static_linkage: bool = False  # local or hidden: its BTF FUNC is given to the kernel as static


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramSpec:
    """An entry program. `type` None: its section says nothing; the hook or the user must.

    `name` is the function's name, or the section's where a legacy object has no function symbol (`has_symbol` False).
    `type_source` tells where the type came from: `section table`, `section prefix`, `hook`, `--type`.
    `attach_target` is the text after `/` of sections such as fentry/NAME.
    """

    name: str
    function: FunctionSpec
    has_symbol: bool = True
    type: ProgType | None = None
    attach_type: AttachType | None = None
    prog_flags: int = 0
    autoload: bool = True
    type_source: str = ""
    attach_target: str = ""

    @property
    def section(self) -> str:
        """The section's name as shown and looked up: without the `?` that says autoload is off."""
        return self.function.section.removeprefix("?")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasecLayout:
    """What the ELF file knows of a section that BTF describes by a DATASEC, for completing that DATASEC.

    clang leaves DATASEC sizes and offsets of global variables to the linker. `size` is the section's in bytes;
    `offsets` are those of its global variables by name, `hidden` names the ones of hidden or internal visibility,
    whose linkage becomes static. Sections .kconfig and .ksyms have none: externs say where their variables lie.
    """

    name: str
    size: int
    offsets: Mapping[str, int]
    hidden: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectSpec:
    """What one object file says.

    `programs` are in load order (section, offset), keyed by name; `subprograms` are what other functions call, those of
    `.text` keyed by the instruction index at which they start. `maps` are in creation order. `why` says why this
    dialect was chosen, and by which rule legacy maps were read. Instructions and BTF are in the order of the machine
    that opened the file, `byteorder` is the file's own. `limits` hold for what is made of it, too.
    """

    name: str
    digest: FileDigest = field(compare=False)
    dialect: Dialect
    why: str
    byteorder: str
    license: str
    kern_version: int
    maps: Mapping[str, MapSpec]
    programs: Mapping[str, ProgramSpec]
    subprograms: Mapping[int, FunctionSpec]
    externs: Mapping[str, ExternSpec]
    btf: Btf | None
    btf_ext: BtfExt | None
    datasecs: Mapping[str, DatasecLayout] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    limits: Limits = DEFAULT_LIMITS

    @property
    def sha1(self) -> str:
        """The digest of the file."""
        return self.digest.sha1


class Need(StrEnum):
    """A fact of the running kernel that the preparation of an object asks for."""

    VMLINUX_BTF = "vmlinux BTF"
    MODULE_BTF = "module BTF"
    KCONFIG = "kconfig"
    KALLSYMS = "kallsyms"
    ARG_CTX_TAG = "arg:ctx tags"  # whether the verifier knows them
    TRACING_FEATURES = "tracing features"  # of LINUX_HAS_* externs; finding out reads all of kallsyms


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetKernel:
    """Facts of the kernel an object is prepared for; None means not known (or not needed).

    `program_btfs` are those of loaded programs that programs of the object attach to, by the name of the latter.

    `btfs` is vmlinux first, then modules (split BTF), in the order candidates are searched; those of the running
    kernel's modules are listed when something vmlinux does not have is looked for. `kconfig` is the text of
    the kernel's configuration, `kallsyms` that of /proc/kallsyms, `version_code` is KERNEL_VERSION(a, b, c), 0 when not
    known. `doubtful` are those of `features` that nothing tells of: they are taken to be there.
    """

    release: str
    version_code: int
    btfs: Sequence[Btf]
    features: FeatureSet
    custom_btf: bool = False
    kconfig: str | None = None
    kallsyms: str | None = None
    nr_cpus: int = 1
    page_size: int = 4096
    program_btfs: Mapping[str, Btf] = field(default_factory=dict)
    doubtful: FeatureSet = frozenset()


@dataclass(frozen=True, slots=True)
class Placement:
    """A function and the slot of the linked program at which it starts."""

    function: FunctionSpec
    position: int


@dataclass(frozen=True, slots=True)
class KsymRef:
    """A typed ksym or kfunc of a module: load must put the module's BTF fd in place (vmlinux needs none)."""

    insn_idx: int
    module: str
    call: bool


FdRef = MapRef | DataRef | KsymRef


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedProgram:
    """A program with everything settled but file descriptors, which `fd_refs` name.

    `insns` have src_reg and offsets of map references set and imm 0 in place of the fd. func_info and line_info are in
    the kernel's record layout (8 and 16 bytes a record), instruction offsets counted in the linked program.
    `attach_btf_id` is an id of the BTF of `attach_module`, or of vmlinux when that is empty. `operation` is
    the number of the member that a struct_ops program implements. `externs` are the places that took an extern's value.
    """

    spec: ProgramSpec
    insns: Insns
    fd_refs: tuple[FdRef, ...]
    func_info: bytes = b""
    line_info: bytes = b""
    operation: int | None = None
    attach_btf_id: int = 0
    attach_module: str = ""
    externs: tuple[ExternRef, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedObject:
    """An object relocated for `target`; `btf` is what BTF_LOAD gets, None when there is none to give.

    `maps` are those to be created, with what depends on the target settled (.kconfig contents, CPU counts, page
    rounding).
    `core_log` holds the CO-RE records decided, `core_failures` those that could not be.
    `failed` names the programs that could not be prepared, when a part was allowed to fail.
    """

    spec: ObjectSpec
    target: TargetKernel
    maps: Mapping[str, MapSpec]
    programs: Mapping[str, PreparedProgram]
    btf: bytes | None
    core_log: tuple[CoreDecision, ...] = ()
    core_failures: tuple[CoreFailure, ...] = ()
    failed: Mapping[str, LoaderError] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
