"""The BTF of one kernel cut down to what objects need, and put in place of a file."""

import os
from contextlib import ExitStack
from typing import NamedTuple

from xdploaderd.btf.codec import Btf
from xdploaderd.errors import FileError, error_context
from xdploaderd.kernel.shown_btf import is_shown, shown_types
from xdploaderd.obj.minimize import minimize
from xdploaderd.printable import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from xdploaderd.obj.btf_sections import CoreObject


class Minimised(NamedTuple):
    """One blob cut down: where it came from and went, bytes before and after, and how many types are left."""

    btf: str
    output: str
    size_before: int
    size: int
    types: int


def minimise_file(source: str, output: str, objects: "Sequence[CoreObject]") -> Minimised:
    """Write to `output` what `objects` need of the BTF in `source`. Raises LoaderError; `output` is then as it was."""
    kernel = shown_types(source) if is_shown(source) else _types_of_file(source)
    with error_context(quoted(source)):
        left = minimize(kernel, objects)
    _write(output, left)
    return Minimised(source, output, len(kernel.raw), len(left), len(Btf.parse(left, name=output, trusted=True)) - 1)


def _types_of_file(path: str) -> Btf:
    from xdploaderd.kernel.btf_file import kernel_types, read_btf_file

    raw = read_btf_file(path)
    with error_context(quoted(path)):
        return kernel_types(raw, name=os.path.basename(path))


def _write(path: str, content: bytes) -> None:
    """Put a whole file in place or none; raises FileError."""
    folder, name = os.path.split(path)
    try:
        if folder and not os.path.isdir(folder):
            os.makedirs(folder)
        _replace(path, os.path.join(folder, f".{name}.{os.getpid()}"), content)
    except FileExistsError:
        raise FileError(f"cannot write {quoted(path)}: {quoted(folder)} is no directory") from None
    except OSError as error:
        raise FileError(f"cannot write {quoted(path)}: {os.strerror(error.errno or 0).lower()}") from None


def _replace(path: str, new: str, content: bytes) -> None:
    with open(new, "xb") as file, ExitStack() as undo:
        undo.callback(os.unlink, new)
        file.write(content)
        file.flush()
        os.replace(new, path)
        undo.pop_all()
