"""Names of an object's maps and programs as names of pins: one component of a path, which a hostile file may not leave.

Checked when the object is opened, so that nothing is made in the kernel for a name that cannot be used.
"""

from collections.abc import Iterable

from xdploaderd.errors import ObjectError, PinError
from xdploaderd.obj.spec import MapSpec
from xdploaderd.printable import quoted

NAME_MAX = 255  # bytes, of any Linux file system
_PATH_CHARACTERS = frozenset("/\\\0")  # names read from files have `\` in place of what cannot be printed


def check_names(maps: Iterable[MapSpec], programs: Iterable[str]) -> None:
    """Raise ObjectError for a map or program whose name has a meaning in paths, PinError for one to be pinned so."""
    for kind, name in (*(("map", spec.name) for spec in maps), *(("program", name) for name in programs)):
        if name in ("", ".", "..") or "/" in name:
            raise ObjectError(f"{quoted(name)} is no name of a {kind}: it is empty, or has a meaning in paths")
    for spec in maps:
        if spec.pinning:
            check_pin_name(spec.name)


def check_pin_name(name: str) -> None:
    """Raise PinError unless a BPF file system takes the name."""
    if not name or not _PATH_CHARACTERS.isdisjoint(name) or not name.isprintable():
        fault = "it is empty, or has a slash, a backslash or what cannot be printed"
        raise PinError(f"{quoted(name)} cannot be the name of a pin: {fault}")
    if "." in name:
        raise PinError(f"{quoted(name)} cannot be the name of a pin: a BPF file system takes no name with a dot")
    if len(name.encode()) > NAME_MAX:
        raise PinError(
            f"{quoted(name[:32])}.. of {len(name)} bytes cannot be the name of a pin, want {NAME_MAX} at most"
        )
