"""The targets: what is done with an input, as far as hostile bytes get in xdploaderd without a privilege."""

import contextlib
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from tests.builders.spec import target_kernel
from tests.fuzz import mutate
from tests.fuzz.control_peer import talk_to_server
from tests.fuzz.judge import Run
from tests.fuzz.kernel_files import kernel_files, mutate_kernel_file, run_kernel_file
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.dump import decode_value
from xdploaderd.btf.edit import BtfEdit
from xdploaderd.btf.ext import CoreRelo, CoreReloKind, parse_btf_ext
from xdploaderd.btf.sanitize import sanitize_types
from xdploaderd.config.attachments import parse_attachments
from xdploaderd.config.bpf_pinning import to_pinning_conf
from xdploaderd.config.pinning import parse_pinning_conf
from xdploaderd.config.pinning_text import parse_statements
from xdploaderd.control.varlink import parse_reply
from xdploaderd.errors import LimitError, LoaderError
from xdploaderd.kernel.elf_btf import BTF_MAX
from xdploaderd.limits import DEFAULT_LIMITS
from xdploaderd.obj.elf import ElfImage
from xdploaderd.obj.open import open_object
from xdploaderd.obj.prepare import prepare
from xdploaderd.obj.select import select_programs
from xdploaderd.obj.spec import ObjectSpec, TargetKernel
from xdploaderd.relo_core.resolve import CorePlace, CoreResolver

SEEDS = Path(__file__).parent / "seeds"
BPF = Path(__file__).parents[1] / "bpf"
ASKED_TYPES = 16  # of a blob, from its start
ASKED_BYTES = 4096
RELOCATED_TYPES = 2
LARGE_SEED = 12_000  # bytes of an object; larger ones take most of the time and show nothing else
PART_LENGTH = struct.Struct("<I")
KCONFIG = "CONFIG_BPF=y\nCONFIG_HZ=250\nCONFIG_NR_CPUS=8\n"
KALLSYMS = "ffffffff81000000 T _text\nffffffff81000100 T bpf_prog_put\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`run` takes any bytes; `mutate` makes others of them that keep their shape; `objects`: seeds beside its own."""

    run: Run
    mutate: mutate.Mutator
    max_bytes: int
    objects: Callable[[], Mapping[str, bytes]] = dict


def section_bytes(raw: bytes, name: str) -> bytes:
    """Return the contents of a section of an object that is known to be good."""
    section = ElfImage.parse(raw, name="seed").section(name)
    return bytes(section.data()) if section else b""


@cache
def kernel() -> TargetKernel:
    """Return a kernel with the types that tests/bpf/core relocates against."""
    names = ("types", "fields", "refused")
    blobs = [section_bytes((BPF / f"core/{name}.target.o").read_bytes(), ".BTF") for name in names]
    btfs = [Btf.parse(blob, name=name) for name, blob in zip(names, blobs, strict=True)]
    return target_kernel(*btfs, kconfig=KCONFIG, kallsyms=KALLSYMS)


def run_elf(raw: bytes) -> None:
    """Open an object, and prepare it for a new kernel or, every fourth, for one without any feature."""
    obj = select_programs(open_object(raw, name="fuzz.bpf.o"))
    _prepare(obj, kernel() if zlib.crc32(raw) & 3 else _without_features(kernel()))


def _prepare(obj: ObjectSpec, target: TargetKernel) -> None:
    prepared = prepare(obj, target, partial=True)
    autoload = {name for name, program in obj.programs.items() if program.autoload}
    assert prepared.programs.keys() <= autoload


def _without_features(target: TargetKernel) -> TargetKernel:
    return TargetKernel(release="4.9.0", version_code=0x040900, btfs=target.btfs, features=frozenset())


def run_btf(raw: bytes) -> None:
    """Ask a blob everything, as a kernel's own that is checked only where used, or as a module's; then check it."""
    base = kernel().btfs[0] if zlib.crc32(raw) & 1 else None
    if len(raw) > BTF_MAX:
        raise LimitError("no file of this size is read")
    trusted = Btf.parse(raw, name="fuzz", base=base, trusted=True)
    with contextlib.suppress(LoaderError):
        len(trusted)  # indexes the records: one that is not complete has no answers
        ask(trusted)
    if len(raw) <= DEFAULT_LIMITS.btf_size:
        _rewrite(Btf.parse(raw, name="fuzz", base=base))


def ask(btf: Btf) -> None:
    """Ask for types, sizes, values, names and CO-RE decisions; each question may be refused."""
    questions: tuple[Callable[[int], object], ...] = (
        btf.size_of,
        btf.skip_mods_and_typedefs,
        lambda type_id: decode_value(btf, type_id, bytes(min(btf.size_of(type_id), ASKED_BYTES))),
        lambda type_id: btf.ids_by_name(btf.name_of(type_id), {btf.kind_of(type_id)}),
    )
    for type_id in range(btf.first_id - 1, min(len(btf), btf.first_id + ASKED_TYPES)):
        for question in questions:
            with contextlib.suppress(LoaderError):
                question(type_id)
    _relocate_types(btf)


def _rewrite(btf: Btf) -> None:
    """Read every type, and make the blob one for the oldest kernel, as is done with an object's."""
    for _ in btf.types():
        pass
    if btf.base is None:
        edit = BtfEdit(btf)
        sanitize_types(edit, frozenset())
        with contextlib.suppress(LoaderError):
            Btf.parse(edit.encode(), name="sanitized")


def _relocate_types(btf: Btf) -> None:
    resolver = CoreResolver(btf, [btf, *kernel().btfs])
    for type_id in range(btf.first_id, min(len(btf), btf.first_id + RELOCATED_TYPES)):
        for kind in CoreReloKind:
            access = "0" if kind >= CoreReloKind.TYPE_ID_LOCAL else f"0:{type_id % 3}"
            with contextlib.suppress(LoaderError):
                resolver.resolve(CoreRelo(0, type_id, access, kind), CorePlace("p", "xdp", 0, 0))


def run_btf_ext(raw: bytes) -> None:
    """Read the records for the types of a known object, then open and prepare that object with them."""
    known = core_object()
    obj = open_object(mutate.with_section(known, b".BTF.ext", raw), name="fuzz.bpf.o")
    with contextlib.suppress(LoaderError):
        _prepare(obj, kernel())
    ext = parse_btf_ext(raw, Btf.parse(section_bytes(known, ".BTF"), name="fuzz"))
    for table in (ext.func_infos, ext.line_infos, ext.core_relos):
        for section in table:
            assert table[section]


@cache
def core_object() -> bytes:
    """Return an object with CO-RE records of every kind of access to types."""
    return (BPF / "core/types.local.o").read_bytes()


def run_relocation(raw: bytes) -> None:
    """Prepare the object of an input against the kernel's BTF that stands before it."""
    btf_raw, object_raw = split_parts(raw)
    obj = open_object(object_raw, name="fuzz.bpf.o")
    target = Btf.parse(btf_raw, name="vmlinux", trusted=bool(len(btf_raw) & 4))
    _prepare(obj, target_kernel(target, kconfig=KCONFIG, kallsyms=KALLSYMS))


def split_parts(raw: bytes) -> tuple[bytes, bytes]:
    """Return the target's BTF and the object of an input: a length, that many bytes, the rest."""
    length = PART_LENGTH.unpack_from(raw)[0] if len(raw) >= PART_LENGTH.size else 0
    return raw[PART_LENGTH.size : PART_LENGTH.size + length], raw[PART_LENGTH.size + length :]


def join_parts(btf: bytes, obj: bytes) -> bytes:
    """Return the input of these two parts."""
    return PART_LENGTH.pack(len(btf)) + btf + obj


def run_pinning(raw: bytes) -> None:
    """Read a text as pinning.conf and as iproute2's file, which is converted, and name pins by it."""
    with contextlib.suppress(LoaderError):
        parse_statements(to_pinning_conf(raw, source="bpf_pinning").encode(), source="converted")
    with contextlib.suppress(LoaderError):
        parse_statements(raw, source="pinning.conf")
    conf = parse_pinning_conf(raw, source="pinning.conf")
    for pinning in (0, 1, 2, 3, *conf.subdirs):
        for legacy in (True, False):
            path = conf.map_path("m", pinning, legacy=legacy, object_sha1="0" * 40, work_dir="tc")
            assert path is None or (".." not in path.parts and conf.root in path.parents)


def run_attachments(raw: bytes) -> None:
    """Read a text as a configuration file."""
    for attachment in parse_attachments(raw, source="xdploaderd.yaml"):
        assert attachment.object.is_absolute()
        assert isinstance(attachment.object, PurePosixPath)


def run_varlink(raw: bytes) -> None:
    """Send bytes to the server of the control socket; then take them for what a daemon answered."""
    talk_to_server([raw])
    parse_reply(raw.partition(b"\0")[0])


def _objects() -> Mapping[str, bytes]:
    paths = sorted([*BPF.glob("*.o"), *BPF.glob("core/*.local.o")])
    return {path.name: path.read_bytes() for path in paths if path.stat().st_size <= LARGE_SEED}


def _blobs() -> Mapping[str, bytes]:
    paths = sorted([*BPF.glob("std_*.o"), *BPF.glob("core/*.o"), *BPF.glob("big_endian.*.o")])
    paths = [path for path in paths if path.stat().st_size <= LARGE_SEED]
    return {path.name: section_bytes(path.read_bytes(), ".BTF") for path in paths}


def _records() -> Mapping[str, bytes]:
    return {"types": section_bytes(core_object(), ".BTF.ext")}


def _pairs() -> Mapping[str, bytes]:
    names = ("types", "fields", "refused")
    return {
        name: join_parts(
            section_bytes((BPF / f"core/{name}.target.o").read_bytes(), ".BTF"),
            (BPF / f"core/{name}.local.o").read_bytes(),
        )
        for name in names
    }


def _mutate_pair(raw: bytes, chance: mutate.Chance) -> bytes:
    btf, obj = split_parts(raw)
    if chance.random() < 0.5:
        return join_parts(mutate.mutate_btf(btf, chance), obj)
    return join_parts(btf, mutate.mutate_elf(obj, chance))


TARGETS: Mapping[str, Target] = {
    "elf": Target(run=run_elf, mutate=mutate.mutate_elf, max_bytes=1 << 16, objects=_objects),
    "btf": Target(run=run_btf, mutate=mutate.mutate_btf, max_bytes=1 << 16, objects=_blobs),
    "btf_ext": Target(run=run_btf_ext, mutate=mutate.mutate_words, max_bytes=1 << 14, objects=_records),
    "relocation": Target(run=run_relocation, mutate=_mutate_pair, max_bytes=1 << 16, objects=_pairs),
    "kernel_file": Target(run=run_kernel_file, mutate=mutate_kernel_file, max_bytes=1 << 14, objects=kernel_files),
    "pinning": Target(run=run_pinning, mutate=mutate.text_mutator("pinning"), max_bytes=1 << 13),
    "attachments": Target(run=run_attachments, mutate=mutate.text_mutator("attachments"), max_bytes=1 << 13),
    "varlink": Target(run=run_varlink, mutate=mutate.text_mutator("varlink"), max_bytes=1 << 17),
}


def seeds_of(name: str) -> Mapping[str, bytes]:
    """Return the seeds of a target by name: the committed files, and what tests/bpf gives."""
    files = {path.name: path.read_bytes() for path in sorted((SEEDS / name).glob("*")) if path.is_file()}
    return {**TARGETS[name].objects(), **files}
