"""Verb btfgen: the part of kernels' BTF that objects need, for hosts whose kernel has none; no privilege, no bpf(2).

The work for ten objects takes less time than an interpreter's start: what is imported here is what one kernel needs.
"""

from __future__ import annotations

import os

from xdploaderd.cli.btfgen_file import minimise_file
from xdploaderd.cli.named_values import limits_of
from xdploaderd.cli.output import EXIT_DEGRADED, print_json, print_line
from xdploaderd.daemon.wanted.object_file import read_object
from xdploaderd.obj.btf_sections import CoreObject, read_core_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from xdploaderd.limits import Limits


def btfgen(args: Any) -> int:
    """Write a minimised BTF for one kernel, or for each of a directory; 3 when some of a directory's failed."""
    limits = limits_of(args)
    objects = [_open(name, limits) for name in args.objects]
    if os.path.isdir(args.btf):
        from xdploaderd.cli.btfgen_directory import minimise_directory

        done, failed = minimise_directory(objects, args)
    else:
        done, failed = [minimise_file(args.btf, args.output, objects)], 0
    if args.json:
        print_json({"minimised": [row._asdict() for row in done], "failed": failed})
    else:
        for row in done:
            print_line(f"{row.btf} -> {row.output}: {row.size_before} -> {row.size} bytes, {row.types} types")
    return EXIT_DEGRADED if failed else 0


def _open(path: str, limits: Limits) -> CoreObject:
    return read_core_object(read_object(path, limits), name=os.path.basename(path), limits=limits)
