"""`convert`: the `.maps` definitions that replace an object's legacy maps, and what else must change."""

import argparse
from dataclasses import asdict
from pathlib import PurePosixPath

from xdploaderd.cli.load_options import pinning_of
from xdploaderd.cli.objects import open_selected
from xdploaderd.cli.output import print_json, print_line, print_warnings
from xdploaderd.config.pinning import PinningConf
from xdploaderd.load.pins import pin_path
from xdploaderd.obj.convert import convert_object
from xdploaderd.obj.spec import MapSpec, ObjectSpec
from xdploaderd.printable import printable
from xdploaderd.terminal import write_out


def convert(args: argparse.Namespace) -> int:
    """Print the C text and the changes; nothing is loaded."""
    obj = open_selected(args)
    pins = pinning_of(args)
    conversion = convert_object(obj, {name: _pin_now(pins, obj, spec) for name, spec in obj.maps.items()})
    print_warnings((*pins.warnings, *obj.warnings), as_json=args.json)
    if args.json:
        described = {"object": obj.name, "dialect": obj.dialect, "why": obj.why}
        maps = [asdict(found) for found in conversion.maps]
        print_json({**described, "text": conversion.text, "maps": maps, "changes": list(conversion.changes)})
        return 0
    print_line(f"/* {_commented(f'object {obj.name}: {obj.dialect}, {obj.why}')} */")
    if not conversion.maps:
        print_line("/* no legacy map: nothing is to be converted */")
        return 0
    write_out(f"\n{conversion.text}\n\n/*\n * What else changes:")
    write_out("\n".join((*(f" * - {printable(_commented(change))}" for change in conversion.changes), " */")))
    return 0


def _pin_now(pins: PinningConf, obj: ObjectSpec, spec: MapSpec) -> PurePosixPath | None:
    """Return where the map is pinned now; a path that the object names counts, whether it may be used here or not."""
    return PurePosixPath(spec.pin_path) if spec.pin_path else pin_path(pins, obj, spec)


def _commented(text: str) -> str:
    """Return foreign text that cannot end the comment it stands in."""
    return text.replace("*/", "* /")
