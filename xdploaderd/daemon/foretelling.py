"""What a plan comes to, maps included, told before any of it is done; reads only, in the daemon's worker.

A program is not loaded for it: what the verifier will say is not known.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from xdploaderd.config.attachments import AttachmentConfig
from xdploaderd.daemon.actions import Action, Attach, Replace, describe
from xdploaderd.daemon.programs import OwnPrograms
from xdploaderd.daemon.status import PlannedAction, PlannedMap
from xdploaderd.daemon.world import Wanted, overrides_of
from xdploaderd.errors import LoaderError, error_context
from xdploaderd.hooks import MapSharing
from xdploaderd.load.map_plan import EarlierLoads, MapFate, MapPlan
from xdploaderd.obj.spec import PreparedObject

REFUSE = "refuse"

Load = tuple[object, ...]


def foretell(programs: OwnPrograms, actions: Sequence[Action]) -> tuple[PlannedAction, ...]:
    """Return the actions in the words that users see; those that load a program with what becomes of its maps."""
    earlier, loads = EarlierLoads(), dict[Load, str]()
    return tuple(_foretell(programs, action, earlier, loads) for action in actions)


def _foretell(programs: OwnPrograms, action: Action, earlier: EarlierLoads, loads: dict[Load, str]) -> PlannedAction:
    planned = describe(action)
    if not isinstance(action, Attach | Replace) or action.from_pin:
        return planned
    config = action.wanted.config
    try:
        with error_context(f"attachment '{action.name}'"):
            maps = tuple(_maps(programs, action.wanted, earlier, loads))
    except LoaderError as error:
        return replace(planned, action=REFUSE, reason=str(error))
    if config.maps is MapSharing.SHARED:
        loads.setdefault(_load_of(action.wanted), config.name)
    refused = next((one.reason for one in maps if one.fate is MapFate.REFUSE), "")
    told = replace(planned, maps=tuple(map(_planned_map, maps)))
    return replace(told, action=REFUSE, reason=refused) if refused else told


def _maps(programs: OwnPrograms, want: Wanted, earlier: EarlierLoads, loads: dict[Load, str]) -> Iterator[MapPlan]:
    """Yield what becomes of each map, as OwnPrograms.stage goes about it."""
    config = want.config
    owner = loads.get(_load_of(want)) if config.maps is MapSharing.SHARED else None
    owner = owner or programs.loaded_for(config, want.sha1)
    prepared = programs.prepared(config, want.sha1)
    if owner is None:
        yield from programs.plan_maps(config, prepared, earlier)
    else:
        yield from _shared(config, prepared, owner)


def _shared(config: AttachmentConfig, prepared: PreparedObject, owner: str) -> Iterator[MapPlan]:
    whose = "this attachment before" if owner == config.name else f"'{owner}'"
    for name in prepared.maps:
        yield MapPlan(name=name, fate=MapFate.SHARE, reason=f"the program of {whose} is taken, with its maps")


def _load_of(want: Wanted) -> Load:
    return want.sha1, want.config.program, want.config.hook, overrides_of(want.config)


def _planned_map(one: MapPlan) -> PlannedMap:
    return PlannedMap(
        name=one.name,
        action=one.fate.value,
        pin=str(one.pin or ""),
        entries=one.entries,
        lost=one.lost,
        reason=one.reason,
    )
