"""From entries to attachments: which interfaces each entry is for, and which entry has an interface's hook; pure.

An entry for several interfaces becomes one attachment on each, NAME@IFNAME. Where two want one place, the entry that
names the interface wins over those that only fit it; among equals nobody does, and each is told of the other.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import translate

from xdploaderd.config.attachments import AttachmentConfig, AttachmentName
from xdploaderd.config.interface_match import ANY, Match, entry_of, instance_name, is_glob
from xdploaderd.daemon.plan.world import Wanted, wanted_place
from xdploaderd.errors import ConfigError
from xdploaderd.hooks import AttachKind, Hook
from xdploaderd.info import Interface
from xdploaderd.printable import quoted


def resolve(wanted: Sequence[Wanted], interfaces: Sequence[Interface]) -> tuple[Wanted, ...]:
    """Return what is wanted on these interfaces. What was resolved before comes out as it went in."""
    named = _by_name(interfaces)
    fits = [fit for want in wanted for fit in _fits(want, interfaces, named)]
    kept = list(_settle(fits))
    served = {entry_of(want.config.name) for want in kept}
    none_left = (want for want in wanted if want.config.several and want.config.name not in served)
    return (*kept, *(_idle(want) for want in none_left))


def _by_name(interfaces: Sequence[Interface]) -> Mapping[str, Interface]:
    """Return the interfaces by their names, and by alternative names that are no interface's name."""
    by_altname = {name: interface for interface in reversed(interfaces) for name in interface.altnames}
    return by_altname | {interface.name: interface for interface in interfaces}


def _fits(
    want: Wanted, interfaces: Sequence[Interface], named: Mapping[str, Interface]
) -> Iterator[tuple[Wanted, Interface | None]]:
    """Yield the entry with each interface it is for, NAME@IFNAME for one of several."""
    config = want.config
    if want.missing:
        yield want, None
        return
    if config.interface:
        found = named.get(config.interface)
        missing = "" if found else f"no interface named {quoted(config.interface)} yet"
        yield replace(want, missing=missing), found
        return
    matching = matcher(config.match)
    fitting = [interface for interface in interfaces if matching(interface)]
    if config.several:
        yield from ((_instance(want, interface), interface) for interface in fitting)
    elif fitting:
        yield replace(want, config=replace(config, interface=fitting[0].name, match=ANY)), fitting[0]
    else:
        yield replace(want, missing=f"no interface with {config.match} yet"), None


def matcher(match: Match) -> Callable[[Interface], bool]:
    """Return what tells whether an interface fits; made once for an entry, asked for each interface."""
    is_name, is_altname = _name_test(match.name), _name_test(match.altname)

    def fits(interface: Interface) -> bool:
        return (
            match.ifindex in (0, interface.index)
            and match.mac in ("", interface.mac)
            and match.driver in ("", interface.kind, interface.driver)
            and (not match.name or is_name(interface.name))
            and (not match.altname or any(map(is_altname, interface.altnames)))
        )

    return fits


def may_be_for(config: AttachmentConfig, name: str, interface: Interface | None) -> bool:
    """Return whether an entry is for the interface of that name, or, where None is there, may be once it comes."""
    if config.interface:
        return config.interface == name or (interface is not None and config.interface in interface.altnames)
    match = config.match
    if interface is None or (match.driver and not interface.driver):  # drivers are asked for where an entry needs them
        return not match.name or _name_test(match.name)(name)
    return matcher(match)(interface)


def _name_test(text: str) -> Callable[[str], bool]:
    if not is_glob(text):
        return lambda name: name == text
    glob = re.compile(translate(text))
    return lambda name: glob.match(name) is not None


def _instance(want: Wanted, interface: Interface) -> Wanted:
    name = instance_name(want.config.name, interface.name)
    config = replace(want.config, name=AttachmentName(name), interface=interface.name, match=ANY)
    return replace(
        want,
        config=config,
        held=want.held or name in want.marks.held,
        retake=(want.retake and name not in want.marks.done) or name in want.marks.retake,
        asked=(want.asked and name not in want.marks.done) or name in want.marks.asked,
        may_restore=name not in want.marks.exhausted,
    )


def _idle(want: Wanted) -> Wanted:
    return replace(want, missing=f"no interface with {want.config.match} is there, or free for it, now")


def _settle(fits: Sequence[tuple[Wanted, Interface | None]]) -> Iterator[Wanted]:
    """Yield the entries in their order, without those that give way, with an error for those that nobody chose of."""
    claims: dict[tuple[object, ...], list[Wanted]] = {}
    for want, interface in fits:
        if interface is not None:
            claims.setdefault(_claim(want.config, interface), []).append(want)
    for want, interface in fits:
        rivals = claims[_claim(want.config, interface)] if interface is not None else [want]
        if len(rivals) == 1:
            yield want
            continue
        exact = [rival for rival in rivals if entry_of(rival.config.name) == rival.config.name]
        chosen = exact or rivals
        if any(want is one for one in chosen):
            yield want if len(chosen) == 1 else replace(want, problem=_rivalry(want.config, chosen))


def _claim(config: AttachmentConfig, interface: Interface) -> tuple[object, ...]:
    """Return what only one entry can have; a TCX hook has room for any number of links."""
    place = wanted_place(config, interface)
    shared = place.kind is AttachKind.LINK and place.hook is not Hook.XDP
    return (place.ifindex, place.hook, place.priority, place.handle, place.slot if shared else "")


def _rivalry(config: AttachmentConfig, rivals: Sequence[Wanted]) -> ConfigError:
    names = " and ".join(quoted(entry_of(rival.config.name)) for rival in rivals)
    where = "XDP" if config.hook is Hook.XDP else f"{config.hook} with that priority and handle"
    several = all(entry_of(rival.config.name) != rival.config.name for rival in rivals)
    mend = f"an entry with `interface: {config.interface}` would win" if several else "let one of them go"
    return ConfigError(
        f"{where} of interface {quoted(config.interface)} is wanted by {names} alike; {mend}, or let them match other"
        " interfaces"
    )
