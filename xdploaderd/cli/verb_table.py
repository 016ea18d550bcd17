"""The verbs of xdploaderctl in the order of `--help`, and where each is declared: imported when it is asked for."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from xdploaderd.cli.declared import Verbs

MAP = "map"  # the one with verbs of its own
VERBS: Mapping[str, tuple[str, str]] = {
    "status": ("daemon_verbs", "plain_online"),
    "list": ("daemon_verbs", "plain_online"),
    "reload": ("daemon_verbs", "apply_verb"),
    "apply": ("daemon_verbs", "apply_verb"),
    "confirm": ("daemon_verbs", "confirm_verb"),
    "plan": ("daemon_verbs", "plain_online"),
    "wait": ("daemon_verbs", "wait_verb"),
    "monitor": ("daemon_verbs", "monitor_verb"),
    "orphans": ("daemon_verbs", "orphans_verb"),
    "attach": ("attach_verbs", "attach_verb"),
    "adopt": ("attach_verbs", "adopt_verb"),
    "detach": ("daemon_verbs", "detach_verb"),
    "core-log": ("daemon_verbs", "core_log_verb"),
    "load": ("object_verbs", "load_verb"),
    "prepare": ("object_verbs", "prepare_verb"),
    "unload": ("object_verbs", "unload_verb"),
    "explain-pin": ("object_verbs", "explain_pin_verb"),
    "convert": ("object_verbs", "convert_verb"),
    "convert-pinning": ("object_verbs", "convert_pinning_verb"),
    "btfgen": ("object_verbs", "btfgen_verb"),
    "core-diff": ("object_verbs", "core_diff_verb"),
    MAP: ("arguments", "map_verb"),
    "version": ("object_verbs", "version_verb"),
}


def declare(verbs: Verbs, name: str) -> None:
    """Declare a verb of the table: its text, its options, and the function that runs it."""
    module, function = VERBS[name]
    declared: Callable[[Verbs, str], None] = getattr(import_module(f"xdploaderd.cli.{module}"), function)
    declared(verbs, name)
