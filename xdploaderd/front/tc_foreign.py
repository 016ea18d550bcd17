"""Filters with actions that only tc(8) knows, for objects that it may not load: loaded by us, set by the real tc.

The real tc gets the command with a pin in place of the object, which lasts as long as it runs. The filter is named
after that pin, since tc names it and nobody can rename it.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from xdploaderd.daemon.wanted.object_file import read_object
from xdploaderd.errors import LoaderError
from xdploaderd.front.bpfspec import BpfMode, BpfSpec, object_path
from xdploaderd.front.load import Say, load_for_hook
from xdploaderd.front.map_export import send_maps
from xdploaderd.front.pinned_for_now import pin_for_now
from xdploaderd.front.tc_filter_words import FilterCommand, FilterVerb
from xdploaderd.front.words import refused
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.obj.open import open_object
from xdploaderd.obj.spec import Dialect


def is_for_us(wanted: FilterCommand) -> bool:
    """Tell whether the command names a legacy object, which a tc built with libbpf refuses."""
    spec = wanted.options.spec if wanted.options else None
    if spec is None or spec.mode is not BpfMode.OBJECT or wanted.verb is FilterVerb.DELETE:
        return False
    path = object_path(spec)
    try:
        return open_object(read_object(path), name=path.name).dialect is Dialect.LEGACY
    except LoaderError:  # the real tc tells
        return False


def set_with_real_tc(
    wanted: FilterCommand, words: Sequence[str], bpf: Bpf, *, call: Callable[[Sequence[str]], int], say: Say
) -> None:
    """Load the object of a command and let `call` carry the command out; raises LoaderError, then no pin is left."""
    options = wanted.options
    if options is None or options.spec is None:
        raise ValueError("no object is named")
    spec: BpfSpec = options.spec
    start, end = options.spec_at
    with load_for_hook(spec, bpf, say=say) as program, ExitStack() as pinned:
        path = pin_for_now(program, bpf, 0, pinned)
        if spec.export and program.loaded:
            send_maps(spec.export, program.loaded.maps, spec.operand)
        status = call((*words[:start], "pinned", str(path), *words[end:]))
        if status:
            raise refused("the real 'tc' failed", status=status)
