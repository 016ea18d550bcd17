"""Interfaces that the configuration protects: nobody acts on them beside the daemon, which puts changes on trial."""

from collections.abc import Set as AbstractSet
from importlib import import_module

from xdploaderd.errors import LoaderError, UsageError
from xdploaderd.info import Interface
from xdploaderd.load.checked_files import read_config_file
from xdploaderd.load.config_places import CONFIG_DIRS, config_files
from xdploaderd.printable import quoted

_READER = "xdploaderd.load.config_files"  # imported where the word is in a file: a third of a second
_WORD = b"protect"


def refuse_protected(interface: Interface, protected: AbstractSet[str]) -> None:
    """Raise UsageError, which names the way, where the interface is protected."""
    if interface.name in protected:
        raise UsageError(
            f"interface {quoted(interface.name)} is protected, and is not changed directly: let the daemon do it by"
            " `xdploaderctl attach --object FILE --interface DEV --hook HOOK --confirm 60s`,"
            " `detach NAME --confirm 60s` or `apply --confirm 60s`, or take it out of `protect` in xdploaderd.yaml"
        )


def configured_protection() -> frozenset[str]:
    """Return the interfaces that the system's configuration protects.

    Raises ConfigError or FileError for files that have the word in them and are bad: nobody knows then.
    """
    files = config_files(*CONFIG_DIRS)
    if not any(_WORD in read_config_file(file) for file in files):
        return frozenset()
    try:
        found: frozenset[str] = import_module(_READER).read_attachments().protect
    except LoaderError as error:
        error.message = f"which interfaces are protected is not known: {error.message}"
        raise
    return found
