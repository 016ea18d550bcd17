"""One log line for each change made in the kernel and for each attachment that is not as wanted, with its fields."""

import logging
from dataclasses import replace
from typing import assert_never

from xdploaderd.daemon.loop.seams import Outcome
from xdploaderd.daemon.plan.actions import Attach, Change, Detach, Refuse, Rename, Repair, Replace, describe
from xdploaderd.daemon.plan.reasons import all_of
from xdploaderd.daemon.plan.world import Place
from xdploaderd.errors import HookBusyError, LoaderError, VerifierError
from xdploaderd.hooks import XdpMode
from xdploaderd.printable import printable

log = logging.getLogger(__name__)

MESSAGE_ATTACHED = "f9b04a2d0f4a4b0e9a5a6e1f6f0b8c41"
MESSAGE_DETACHED = "4e6e3f0c8d0b4c7f9d1b7a52c8a9e6d3"
MESSAGE_VERIFIER_REJECTED = "b1c7d85e29a34f08a3f60f6d9c2e57ab"
MESSAGE_HOOK_BUSY = "7a90e5c46d124be8b0e1d3f4852c6f19"

Extra = dict[str, str | int]


def log_change(action: Change, outcome: Outcome, op_id: str) -> None:
    """Tell what was changed in the kernel."""
    extra: Extra = {"OP_ID": op_id, "ATTACHMENT": action.name}
    if outcome.prog is not None:
        extra["PROG_ID"] = outcome.prog.id
    if outcome.sha1:
        extra["OBJECT_SHA1"] = outcome.sha1
    if outcome.second_best:
        log.warning("attachment '%s': %s", action.name, printable(outcome.second_best), extra=extra)
    _log_change(action, outcome, extra)


def _log_change(action: Change, outcome: Outcome, extra: Extra) -> None:
    prog = f"program {outcome.prog.id} '{printable(outcome.prog.name)}'" if outcome.prog is not None else "its program"
    match action:
        case Attach():
            extra |= {"IFNAME": action.place.ifname, "MESSAGE_ID": MESSAGE_ATTACHED}
            why = f": {action.reason}" if action.restores else ""
            log.info("attached '%s': %s to %s%s", action.name, prog, _in_fact(action, outcome), why, extra=extra)
        case Replace():
            extra |= {"IFNAME": action.place.ifname, "MESSAGE_ID": MESSAGE_ATTACHED}
            replaced, why = action.current.prog_id, action.reason
            if outcome.gap:
                extra["GAP_USEC"] = round(outcome.gap * 1e6)
                why += f"; {outcome.gap * 1e3:.1f} ms without a program"
            place = _in_fact(action, outcome)
            log.info("replaced '%s': %s on %s, was %s: %s", action.name, prog, place, replaced, why, extra=extra)
        case Detach(places=()):
            log.info("removed the pins of '%s': %s", action.name, action.reason, extra=extra)
        case Detach():
            extra |= {"IFNAME": action.interface, "MESSAGE_ID": MESSAGE_DETACHED}
            where = all_of(action.places)
            log.info("detached '%s': %s from %s: %s", action.name, prog, where, action.reason, extra=extra)
        case Rename():
            extra |= {"IFNAME": action.place.ifname}
            new = action.wanted.config.name
            log.info("renamed '%s' to '%s': %s runs on", action.name, new, prog, extra=extra)
        case Repair(unpinned=int()):
            log.warning("pinned '%s' again: %s", action.name, action.reason, extra=extra)
        case Repair():
            what = "took over the program of" if action.promote else "cleared up what was left of"
            log.info("%s '%s': %s", what, action.name, action.reason, extra=extra)
        case _:
            assert_never(action)


def _in_fact(action: Attach | Replace, outcome: Outcome) -> Place:
    """Return where the program is: in the mode that the driver took, or that of the program whose place it took."""
    mode = outcome.mode
    if mode is XdpMode.UNSPECIFIED and isinstance(action, Replace) and not action.gap:
        mode = action.current.place.mode
    return action.place if mode is XdpMode.UNSPECIFIED else replace(action.place, mode=mode)


def log_failure(action: Change, error: LoaderError, op_id: str) -> None:
    """Tell that an attachment is not as wanted; it will be tried again."""
    planned = describe(action)
    whole = ""
    extra: Extra = {
        "OP_ID": op_id,
        "ATTACHMENT": action.name,
        "IFNAME": planned.interface,
        "ERROR_CODE": error.code,
    }
    if isinstance(error, VerifierError):
        extra |= {"MESSAGE_ID": MESSAGE_VERIFIER_REJECTED, "VERIFIER_LOG": "\n".join(error.log)}
        whole = f"; the whole log: journal field VERIFIER_LOG, or `xdploaderctl attach {action.name} --verbose`"
    if isinstance(error, HookBusyError):
        extra |= {"MESSAGE_ID": MESSAGE_HOOK_BUSY, "PROG_ID": error.prog_id}
    log.error("%s failed, will be tried again: %s%s", planned.action, error, whole, extra=extra)


def log_refusal(action: Refuse) -> None:
    """Tell that an entry is not carried out until the configuration or the world changes."""
    extra: Extra = {
        "ATTACHMENT": action.name,
        "IFNAME": action.wanted.config.interface,
        "ERROR_CODE": action.error.code,
    }
    if isinstance(action.error, HookBusyError):
        extra |= {"MESSAGE_ID": MESSAGE_HOOK_BUSY, "PROG_ID": action.error.prog_id}
    log.warning("attachment '%s': %s", action.name, action.error, extra=extra)
