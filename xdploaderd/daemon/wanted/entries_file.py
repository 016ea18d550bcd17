"""Files of map entries that an entry of the configuration or a command names."""

from pathlib import PurePosixPath

from xdploaderd.daemon.wanted.object_file import read_named
from xdploaderd.limits import DEFAULT_LIMITS, Limits
from xdploaderd.obj.map_document import Document
from xdploaderd.printable import quoted


def read_document(path: PurePosixPath, limits: Limits = DEFAULT_LIMITS) -> Document:
    """Return a file of map entries; raises FileError, and LimitError for one that is too large."""
    return Document(str(path), read_named(path, f"file {quoted(str(path))}", limits))
