"""Program arrays that bpftool may open and close without the kernel losing count of them.

When the last user reference of a program array goes, a work item of the kernel takes a reference of its own and
empties the array, which waits for an RCU grace period. bpftool opens and closes each map of a program twice (once for
metadata, once to show it), and each close is again the last: the second finds the item queued already, takes its
reference, and nothing ever releases it (kernel/bpf/arraymap.c, prog_array_map_clear; seen on 6.18).
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from xdploaderd.kernel.bpf import Bpf
from xdploaderd.uapi.bpf import ProgId


@contextmanager
def held_maps(prog_ids: Iterable[int]) -> Iterator[None]:
    """Keep every map of the programs open, so that no close within is the last one."""
    bpf = Bpf()
    with ExitStack() as stack:
        for prog_id in prog_ids:
            with bpf.prog_by_id(ProgId(prog_id)) as prog:
                for map_id in bpf.prog_info(prog).map_ids:
                    stack.enter_context(bpf.map_by_id(map_id))
        yield
