"""Verbs about pin paths that need no kernel: explain-pin and convert-pinning."""

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from xdploaderd.cli.load_options import pinning_of
from xdploaderd.cli.objects import open_selected
from xdploaderd.cli.output import print_json, print_line, print_table, print_warnings
from xdploaderd.config.bpf_pinning import parse_iproute2_pinning, to_pinning_conf
from xdploaderd.config.pinning import PinningConf, assemble
from xdploaderd.errors import PinError
from xdploaderd.load.checked_files import is_present, read_config_file
from xdploaderd.load.pinning_files import BPF_PINNING
from xdploaderd.load.pins import pin_path
from xdploaderd.obj.legacy_records import RULE_ELF_MAP, RULE_GOEBPF
from xdploaderd.obj.spec import LIBBPF_PIN_BY_NAME, PIN_GLOBAL_NS, Dialect, MapSpec, ObjectSpec
from xdploaderd.terminal import write_out

NOT_PINNED = "not pinned"


@dataclass(frozen=True, slots=True)
class PinPlaces:
    """Where one map goes: a path, or why it has none."""

    name: str
    pinning: int
    rule: str
    here: str
    libbpf: str
    iproute2: str


def explain_pin(args: argparse.Namespace) -> int:
    """Print for each map of an object its path here, under libbpf and under iproute2."""
    obj = open_selected(args)
    pins = pinning_of(args)
    rows = list(_places(obj, pins, _iproute2_conf()))
    print_warnings((*pins.warnings, *obj.warnings), as_json=args.json)
    if args.json:
        described = {"object": obj.name, "dialect": obj.dialect, "why": obj.why}
        print_json({**described, "maps": [asdict(row) for row in rows]})
        return 0
    print_line(f"object {obj.name}: {obj.dialect}, {obj.why}")
    print_line(f"pinning configuration: {', '.join(pins.sources) or 'built-in defaults'}")
    if rows:
        print_line("")
        cells = [(row.name, str(row.pinning), row.rule, row.here, row.libbpf, row.iproute2) for row in rows]
        print_table(("MAP", "PINNING", "RULE", "HERE", "LIBBPF", "IPROUTE2"), cells)
    else:
        print_line("the object has no maps")
    return 0


def convert_pinning(args: argparse.Namespace) -> int:
    """Print a bpf_pinning file in the strict form."""
    raw = read_config_file(Path(args.file))
    text = to_pinning_conf(raw, source=args.file)
    if args.json:
        numbers = parse_iproute2_pinning(raw, source=args.file)
        subdirs = {str(s.number): str(s.path) for s in numbers.statements}
        print_json({"text": text, "numbers": subdirs, "warnings": list(numbers.warnings)})
    else:
        write_out(text.removesuffix("\n"))
    return 0


def _places(obj: ObjectSpec, pins: PinningConf, iproute2: PinningConf) -> Iterator[PinPlaces]:
    for spec in obj.maps.values():
        as_iproute2 = PIN_GLOBAL_NS if not spec.is_legacy and spec.pinning == LIBBPF_PIN_BY_NAME else spec.pinning
        yield PinPlaces(
            name=spec.name,
            pinning=spec.pinning,
            rule=spec.rule,
            here=_path(pins, obj, spec),
            libbpf=_under_libbpf(obj, spec),
            iproute2=_under_iproute2(iproute2, obj, replace(spec, pinning=as_iproute2)),
        )


def _path(pins: PinningConf, obj: ObjectSpec, spec: MapSpec) -> str:
    try:
        path = pin_path(pins, obj, spec)
    except PinError as error:
        return f"refused: {error}"
    return str(path) if path else NOT_PINNED


def _under_libbpf(obj: ObjectSpec, spec: MapSpec) -> str:
    """libbpf since 1.0 refuses legacy objects; it pins below /sys/fs/bpf unless its caller says otherwise."""
    if obj.dialect is Dialect.LEGACY:
        return "refused: legacy object"
    return _path(PinningConf(), obj, spec)


def _under_iproute2(pins: PinningConf, obj: ObjectSpec, spec: MapSpec) -> str:
    return "refused: goebpf object" if spec.rule == RULE_GOEBPF else _path(pins, obj, replace(spec, rule=RULE_ELF_MAP))


def _iproute2_conf() -> PinningConf:
    """Return what iproute2 makes of its own file; a build with libbpf puts by-name maps where value 2 goes."""
    if not is_present(BPF_PINNING):
        return PinningConf()
    numbers = parse_iproute2_pinning(read_config_file(BPF_PINNING), source=str(BPF_PINNING))
    return assemble(numbers.statements)
