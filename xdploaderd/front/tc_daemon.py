"""Filters of `tc filter` given to the daemon, which keeps them attached and shows them in its status.

The daemon has direct-action filters of object files, on clsact, in chain 0. Everything else is made directly: bytecode,
pins, filters that only classify, shared blocks, other parents, hardware offload, and maps that are exported.
"""

import errno
from collections.abc import Mapping
from typing import Any

from xdploaderd.control.client import ControlClient
from xdploaderd.errors import AttachError
from xdploaderd.front.bpfspec import BpfMode
from xdploaderd.front.daemon import hand_over
from xdploaderd.front.load import Say
from xdploaderd.front.tc_filter import qdisc_kind
from xdploaderd.front.tc_filter_words import FilterCommand, FilterVerb
from xdploaderd.info import Interface
from xdploaderd.net import messages
from xdploaderd.net.request import dump
from xdploaderd.net.tc_messages import DIRECT_ACTION, FilterPlace, ShownFilter, pack_place, parse_shown_filter

_HOOKS = {parent: hook for hook, parent in messages.HOOK_PARENTS.items()}
_AUTO_ABOVE, _AUTO_FIRST = 0x8000, 0xC000  # net/sched/cls_api.c, tcf_auto_prio


def takes(command: FilterCommand, place: FilterPlace) -> bool:
    """Tell whether the daemon can do what a command asks, the interface having clsact."""
    options = command.options
    if command.verb is FilterVerb.DELETE:
        limited = bool(place.protocol or place.handle or command.kind)  # with one of these the kernel wants a priority
        return place.parent in _HOOKS and place.ifindex > 0 and (place.priority > 0 or not limited)
    if options is None or options.spec is None or options.spec.mode is not BpfMode.OBJECT or options.spec.export:
        return False
    if options.actions:
        return False
    placed = place.parent in _HOOKS and place.ifindex > 0 and not place.chain
    return placed and options.flags == DIRECT_ACTION and not options.flags_gen and qdisc_kind(place.ifindex) == "clsact"


def set_filter(client: ControlClient, command: FilterCommand, place: FilterPlace, device: Interface, say: Say) -> bool:
    """Let the daemon make or replace the filter; False for a change of what is not there, which the kernel refuses.

    A priority or handle that is not given is the one that the kernel would choose. Raises LoaderError as the daemon
    does, AttachError where the place is taken and the command is not one that replaces.
    """
    if command.options is None or command.options.spec is None:
        return False
    there = _filters(place)
    priority = place.priority or _free_priority(there)
    handle = place.handle or _free_handle(there, priority)
    taken = any((f.place.priority, f.place.handle) == (priority, handle) for f in there)
    if command.verb is FilterVerb.CHANGE and not taken:
        return False
    if command.verb is FilterVerb.ADD and taken:
        text = f"a filter with priority {priority} handle {handle:#x} already exists"
        raise AttachError(text, errno=errno.EEXIST)
    entry = {
        "interface": device.name,
        "hook": _HOOKS[place.parent],
        "priority": priority,
        "handle": handle,
        "protocol": f"{place.protocol:#x}",
        "classid": command.options.classid or 0,
    }
    hand_over(client, entry, command.options.spec, force=taken, say=say)
    return True


def forget_filters(client: ControlClient, place: FilterPlace, device: Interface) -> bool:
    """Let the daemon detach what it holds of the place; tell whether that was all there is of it.

    Filters of another protocol than the one named are left: the kernel refuses that.
    """
    if place.protocol and any(f.place.protocol != place.protocol for f in _filters(place)):
        return False
    hook = _HOOKS[place.parent]
    held = [
        attachment for attachment in _held(client, device) if attachment["hook"] == hook and _is_of(attachment, place)
    ]
    for attachment in held:
        client.call("Detach", {"name": attachment["name"]})
    return bool(held) and not _filters(place)


def forget_interface(client: ControlClient, device: Interface) -> bool:
    """Let the daemon detach all filters it holds on an interface, before their qdisc goes; tell whether it held any."""
    held = [attachment for attachment in _held(client, device) if attachment["hook"] in list(messages.HOOK_PARENTS)]
    for attachment in held:
        client.call("Detach", {"name": attachment["name"]})
    return bool(held)


def _held(client: ControlClient, device: Interface) -> list[Mapping[str, Any]]:
    found = client.call("List")["attachments"]
    return [attachment for attachment in found if attachment["interface"] == device.name and attachment["prog_id"]]


def _is_of(attachment: Mapping[str, Any], place: FilterPlace) -> bool:
    numbers = ((place.priority, attachment["priority"]), (place.handle, attachment["handle"]))
    return all(wanted in (0, found) for wanted, found in numbers) and not place.chain


def _filters(place: FilterPlace) -> list[ShownFilter]:
    """Return the filters of a direction, chain 0, that priority and handle of the place do not rule out."""
    whole = FilterPlace(ifindex=place.ifindex, parent=place.parent, priority=place.priority)
    found = [
        parse_shown_filter(message.payload)
        for message in dump(messages.RTM_GETTFILTER, pack_place(whole))
        if message.type == messages.RTM_NEWTFILTER
    ]
    return [f for f in found if f.place.handle and not f.place.chain and place.handle in (0, f.place.handle)]


def _free_priority(there: list[ShownFilter]) -> int:
    return min((f.place.priority for f in there if f.place.priority > _AUTO_ABOVE), default=_AUTO_FIRST + 1) - 1


def _free_handle(there: list[ShownFilter], priority: int) -> int:
    used = {f.place.handle for f in there if f.place.priority == priority}
    return next(number for number in range(1, len(used) + 2) if number not in used)
