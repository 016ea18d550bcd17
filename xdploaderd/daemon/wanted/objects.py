"""The way from an object's bytes to a prepared object, as the daemon and `--check` go it; no bpf(2) call."""

from collections.abc import Callable

from xdploaderd.config.attachments import AttachmentConfig
from xdploaderd.errors import error_context
from xdploaderd.limits import DEFAULT_LIMITS, Limits
from xdploaderd.obj.open import open_object
from xdploaderd.obj.overrides import leave_out_maps, set_globals, set_max_entries, share_maps
from xdploaderd.obj.prepare import prepare, target_needs
from xdploaderd.obj.select import select_programs
from xdploaderd.obj.spec import Need, PreparedObject, TargetKernel
from xdploaderd.printable import quoted

Target = Callable[[frozenset[Need]], TargetKernel]


def prepare_entry(
    config: AttachmentConfig, raw: bytes, target: Target, limits: Limits = DEFAULT_LIMITS
) -> PreparedObject:
    """Open the object and prepare the entry's program for its hook, with what that program needs of the kernel."""
    opened = open_object(raw, name=config.object.name, limits=limits)
    with error_context(f"object {quoted(str(config.object))}"):
        chosen = select_programs(opened, hook=config.hook, names=(config.program,))
    changed = set_max_entries(set_globals(chosen, dict(config.globals)), dict(config.max_entries))
    changed = leave_out_maps(share_maps(changed, dict(config.share)), config.no_maps)
    return prepare(changed, target(target_needs(changed)))
