"""What must hold whenever the daemon rests: the kernel is as the model says, and the daemon tells the truth."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from tests.campaigns.machine.chains import out_of_place
from tests.campaigns.machine.core import Core
from tests.campaigns.machine.host import OWN, Seen, Spot
from tests.campaigns.machine.model import Model
from tests.campaigns.machine.modes import is_second_best
from tests.campaigns.machine.settling import GRACE
from tests.campaigns.machine.things import Prog
from tests.support.rawbpf import map_ids, map_word
from xdploaderd.daemon.plan.status import AttachmentStatus


def check_hooks(model: Model, seen: Seen, known: set[int]) -> None:
    """Each program is where the model has it and nowhere else; one that was loaded anew has an id not seen before."""
    assert dict(seen.interfaces) == model.interfaces, f"interfaces {seen.interfaces}, want {model.interfaces}"
    _bind(model.hooks, seen.programs, known)
    wanted = {spot: prog.id for spot, prog in model.hooks.items()}
    assert dict(seen.programs) == wanted, f"programs {_text(seen.programs)}, want {_text(wanted)}"
    assert dict(seen.modes) == model.modes, f"modes {seen.modes}, want {model.modes}"
    links = {spot: wanted[spot] for spot in model.links}
    assert dict(seen.links) == links, f"links {_text(seen.links)}, want {_text(links)}"
    for (index, hook), chain in seen.chains.items():
        ours = tuple(wanted[Spot(index, hook, slot)] for slot in model.chains.get((index, hook), ()))
        assert chain == ours, f"TCX programs {chain} of {index} {hook}, want {ours}"


def take_order(model: Model, seen: Seen) -> None:
    """Let the links of the TCX hooks be in the order they are: what was undone after an error may be the last one."""
    slots = {(spot[:2], number): spot.slot for spot, number in seen.links.items()}
    for hook, chain in seen.chains.items():
        found = [slots[hook, number] for number in chain if (hook, number) in slots]
        if sorted(found) == sorted(model.chains.get(hook, [])):
            model.chains[hook] = found


def _bind(hooks: Mapping[Spot, Prog], programs: Mapping[Spot, int], known: set[int]) -> None:
    for spot, prog in hooks.items():
        found = programs.get(spot, 0)
        if not prog.id and found:
            assert found not in known, f"{spot} has program {found} of before, want one that was loaded anew"
            prog.id = found
            known.add(found)


def _text(programs: Mapping[Spot, int]) -> str:
    return ", ".join(f"{s.ifindex} {s.hook} {s.slot}: {number}" for s, number in sorted(programs.items())) or "none"


def check_pins(model: Model, *, alive: bool) -> None:
    """Below the daemon's own directory there is a directory for each attachment, with program and link, nothing else.

    While no daemon runs, the pins of links that are dead stay.
    """
    found = {str(Path(top, name).relative_to(OWN)) for top, dirs, files in os.walk(OWN) for name in [*dirs, *files]}
    found = {re.sub("/arrays_[0-9]+(/.*)?$", _array, path.replace("/link_new", "/link")) for path in found}
    for name, own in model.own.items():
        own.maps = f"{name}/arrays/map" in found if own.maps is None else own.maps
    wanted = {path for name in model.own for path in (name, f"{name}/prog")}
    if model.trial is not None:
        wanted |= {"_before", *(f"_before/{name}{file}" for name in model.trial.programs for file in ("", "/prog"))}
    wanted |= {f"{name}/arrays{file}" for name, own in model.own.items() if own.maps for file in ("", "/map")}
    if model.trial is not None:
        wanted |= {f"_before/{name}/arrays{file}" for name in model.trial.maps for file in ("", "/map")}
    wanted |= {f"{name}/link" for name in model.own if model.links.intersection(model.spots_of(name))}
    found -= set() if alive else {path for path in found - wanted if path.endswith("/link")}
    assert found == wanted, f"pins {sorted(found)}, want {sorted(wanted)}"


def _array(found: "re.Match[str]") -> str:
    return "/arrays/map" if found[1] else "/arrays"


def check_maps(model: Model, known: set[int]) -> None:
    """Each program that runs has the map that the model says, with what it holds; a new one has a new id."""
    for prog in {id(own.prog): own.prog for own in model.own.values() if own.prog in model.hooks.values()}.values():
        (found,) = map_ids(prog.id)
        if not prog.store.id:
            assert -found not in known, f"program {prog.id} has map {found} of before, want a new one"
            prog.store.id = found
            known.add(-found)
        assert found == prog.store.id, f"program {prog.id} has map {found}, want {prog.store.id}"
        assert (value := map_word(found)) == prog.store.value, f"map {found} holds {value}, want {prog.store.value}"


def check_status(model: Model, core: Core) -> None:
    """The report has every attachment, and the state, program and place of each are those of model and kernel."""
    status = core.call(core.service.status())
    told = {one.name: one.state for one in status.attachments}
    reasons = {one.name: one.reason for one in status.attachments if one.reason}
    assert told == model.states, f"states {_words(told)}, want {_words(model.states)}; {reasons}"
    for one in status.attachments:
        _check_running(model, one)
    orphans = {name for name, since in model.orphans.items() if model.now - since < GRACE}
    assert {one.name for one in status.orphans} == orphans, f"{status.orphans}, want {orphans}"
    assert status.degraded is model.degraded, f"degraded: {status.degraded}, want {model.degraded}"
    assert bool(status.config_error) is model.config_error, status.config_error


def _check_running(model: Model, one: AttachmentStatus) -> None:
    ids = {model.hooks[spot].id for spot in model.spots_of(one.name)} or {0}
    assert one.prog_id in ids, f"{one.name}: program {one.prog_id} is told, want {ids}"
    assert bool(one.pins) is (one.name in model.own), f"{one.name}: pins {one.pins}"
    out = {wish.name for wish in model.wishes() if out_of_place(model, wish) or is_second_best(model, wish)}
    assert one.note.startswith(("runs as ", "runs in ")) is (one.name in out), f"{one.name}: note '{one.note}'"


def _words(states: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {state}" for name, state in sorted(states.items()))
