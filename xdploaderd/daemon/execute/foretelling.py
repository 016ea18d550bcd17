"""What a plan comes to, maps included, told before any of it is done; reads only, in the daemon's worker.

A program is not loaded for it: what the verifier will say is not known.
"""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from xdploaderd.config.attachments import AttachmentConfig
from xdploaderd.daemon.execute.programs import OwnPrograms
from xdploaderd.daemon.plan.actions import Action, Attach, Detach, Replace, describe
from xdploaderd.daemon.plan.status import PlannedAction, PlannedMap
from xdploaderd.daemon.plan.world import Wanted, overrides_of
from xdploaderd.errors import LoaderError, error_context
from xdploaderd.hooks import MapSharing
from xdploaderd.load.map_plan import EarlierLoads, MapFate, MapPlan
from xdploaderd.obj.spec import PreparedObject
from xdploaderd.printable import quoted

REFUSE = "refuse"

Load = tuple[object, ...]


def foretell(programs: OwnPrograms, actions: Sequence[Action]) -> tuple[PlannedAction, ...]:
    """Return the actions in the words that users see; those that load a program with what becomes of its maps."""
    told = _Told(programs, EarlierLoads(), {}, frozenset(_changed(actions)))
    return tuple(_foretell(told, action) for action in actions)


@dataclass(frozen=True, slots=True)
class _Told:
    """One plan: what comes of the loads that were told of, and the attachments whose programs do not stay."""

    programs: OwnPrograms
    earlier: EarlierLoads
    loads: dict[Load, str]
    changed: AbstractSet[str]


def _changed(actions: Sequence[Action]) -> Iterator[str]:
    for action in actions:
        if isinstance(action, Detach) or (isinstance(action, Attach | Replace) and not action.from_pin):
            yield action.name


def _foretell(plan: _Told, action: Action) -> PlannedAction:
    planned = describe(action)
    if not isinstance(action, Attach | Replace) or action.from_pin:
        return planned
    config = action.wanted.config
    try:
        with error_context(f"attachment '{action.name}'"):
            maps = tuple(_maps(plan, action.wanted))
    except LoaderError as error:
        return replace(planned, action=REFUSE, reason=str(error))
    if config.maps is MapSharing.SHARED:
        plan.loads.setdefault(_load_of(action.wanted), config.name)
    refused = next((one.reason for one in maps if one.fate is MapFate.REFUSE), "")
    told = replace(planned, maps=tuple(_planned_map(plan, one) for one in maps))
    return replace(told, action=REFUSE, reason=refused) if refused else told


def _maps(plan: _Told, want: Wanted) -> Iterator[MapPlan]:
    """Yield what becomes of each map, as OwnPrograms.stage goes about it."""
    config, programs = want.config, plan.programs
    owner = plan.loads.get(_load_of(want)) if config.maps is MapSharing.SHARED else None
    owner = owner or programs.loaded_for(config, want.sha1)
    prepared = programs.prepared(config, want.sha1)
    if owner is None:
        yield from programs.plan_maps(config, prepared, plan.earlier)
    else:
        yield from _shared(config, prepared, owner)


def _shared(config: AttachmentConfig, prepared: PreparedObject, owner: str) -> Iterator[MapPlan]:
    whose = "this attachment before" if owner == config.name else f"'{owner}'"
    for name in prepared.maps:
        yield MapPlan(name=name, fate=MapFate.SHARE, reason=f"the program of {whose} is taken, with its maps")


def _load_of(want: Wanted) -> Load:
    return want.sha1, want.config.program, want.config.hook, overrides_of(want.config)


def _planned_map(plan: _Told, one: MapPlan) -> PlannedMap:
    stay = [name for name in plan.programs.users_of(one.old) if name not in plan.changed] if one.pin and one.old else []
    left = f"; {', '.join(map(quoted, stay))} will go on with the old one, in no pin" if stay else ""
    return PlannedMap(
        name=one.name,
        action=one.fate.value,
        pin=str(one.pin or ""),
        entries=one.entries,
        lost=one.lost,
        reason=one.reason + left,
    )
