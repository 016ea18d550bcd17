"""Where the files of the attachment configuration lie, and which of them count; what is in them is read elsewhere."""

from pathlib import Path

from xdploaderd.load.checked_files import is_masked, is_present

MAIN_FILE = "xdploaderd.yaml"
DROP_IN_DIR = "conf.d"
CONFIG_DIRS = (Path("/etc/xdploaderd"), Path("/run/xdploaderd"), Path("/usr/lib/xdploaderd"))
CONFIG_FILE = CONFIG_DIRS[0] / MAIN_FILE


def config_files(*directories: Path) -> tuple[Path, ...]:
    """Return the files that count, the main one first, then the drop-ins sorted by name; earlier directories win."""
    found: dict[tuple[bool, str], Path] = {}
    for directory in directories:
        main = directory / MAIN_FILE
        if is_present(main):
            found.setdefault((False, main.name), main)
        for file in (directory / DROP_IN_DIR).glob("*.yaml"):
            found.setdefault((True, file.name), file)
    return tuple(file for _, file in sorted(found.items()) if not is_masked(file))
