"""What operators ask for, as the manual pages say it: what the model of G14 wants then, and whether that is granted."""

from collections.abc import Set as AbstractSet

from tests.campaigns.machine.matching import resolve
from tests.campaigns.machine.model import Model
from tests.campaigns.machine.modes import is_refused
from tests.campaigns.machine.settling import settle
from tests.campaigns.machine.stores import can_be_loaded, needs_load
from tests.campaigns.machine.things import BAD, INIT, MISSING, Entry, Key, Trial, Wish
from xdploaderd.daemon.plan.status import State

FARTHEST = (State.FAILED, State.FOREIGN, State.WAITING, State.DETACHED, State.ATTACHED, State.IDLE)


def start(model: Model) -> None:
    """Begin anew with nothing but what is on disk, pinned and attached."""
    if (
        model.rejected is not None and model.rejected == model.said
    ):  # then the last confirmed one is in force, as it was
        kept, model.config_error = dict(model.force), True
    else:
        kept, model.config_error, model.rejected = dict(model.disk), False, None
    known = ((entry.file, model.digests.get(name, MISSING)) for name, entry in reversed(model.entries.items()))
    before = {file: content for file, content in known if content != MISSING}
    model.force, model.runtime = kept, _not_claimed(model, kept)
    for name, entry in model.entries.items():  # a file that cannot be read now is what it was
        if model.rejected is None or name in model.runtime:
            model.digests[name] = model.files[entry.file] or before.get(entry.file, MISSING)
    model.asked, model.ended, model.orphans = set(), set(), {}
    model.stuck = set()
    if model.trial is not None and model.now >= model.trial.deadline:
        roll_back(model)
    else:
        settle(model)


def reload(model: Model) -> bool:
    """Put the configuration of the files in force, all of it or nothing; return whether that can be done."""
    entries = {**model.disk, **_not_claimed(model, model.disk)}
    digests = {name: model.files[entry.file] for name, entry in entries.items()}
    before = {w.name: (w.entry, w.interface, model.digests[w.entry.name]) for w in model.wishes()}
    wishes = {w.name: (w.entry, w.interface, digests[w.entry.name]) for w in resolve(entries, model.interfaces)}
    changed = {name for name, now in wishes.items() if before.get(name) != now}
    for wish in resolve(entries, model.interfaces):
        if wish.name in changed and _refuses(model, wish, digests):
            model.changes += wish.entry.init and model.files[INIT] in (
                BAD,
                MISSING,
            )  # others may have been loaded before
            keep_last_good(model)
            return False
    return adopt(model, changed)


def apply_on_trial(model: Model, seconds: float) -> bool:
    """Do as reload(), to be rolled back unless it is confirmed."""
    before = _before(model, seconds)
    if not reload(model):
        return False
    model.trial = before
    return True


def begin_trial(model: Model, seconds: float) -> None:
    """Be on trial, whatever comes of it: the daemon was killed before it could tell."""
    model.trial = _before(model, seconds)


def _before(model: Model, seconds: float) -> Trial:
    programs = {name: own.prog for name, own in model.own.items()}
    maps = frozenset(name for name, own in model.own.items() if own.maps)
    return Trial(model.now + seconds, model.force, dict(model.runtime), dict(model.digests), programs, maps)


def confirm(model: Model) -> bool:
    """Let the configuration on trial stay."""
    if model.trial is None:
        return False
    model.trial, model.config_error = None, False
    return True


def roll_back(model: Model) -> None:
    """Be as before the trial, with the same programs, whatever became of the files, and without orphans of its own."""
    before = model.trial
    assert before is not None
    names = set(model.entries)
    model.force, model.runtime, model.digests = dict(before.force), dict(before.runtime), dict(before.digests)
    model.ended = (model.ended | names) - set(model.entries)
    ask(model, *model.entries)
    settle(model)
    same = {**before.force} == model.disk and all(
        before.digests[n] == model.files[e.file] for n, e in model.disk.items()
    )
    model.trial, model.config_error, model.rejected = None, True, None if same else model.said
    model.orphans = {name: since if name in before.programs else 0.0 for name, since in model.orphans.items()}
    settle(model)


def keep_last_good(model: Model) -> None:
    """Refuse the configuration of the files."""
    model.config_error = True
    settle(model)


def adopt(model: Model, changed: AbstractSet[str] = frozenset()) -> bool:
    """Want what the files say from now on, and all that others took off again; first comes what they changed."""
    before = set(model.entries)
    model.force, model.runtime, model.config_error = dict(model.disk), _not_claimed(model, model.disk), False
    model.rejected = None
    model.ended = (model.ended | before) - set(model.entries)
    model.digests = {name: model.files[entry.file] for name, entry in model.entries.items()}
    ask(model, *model.entries)
    settle(model, first=changed)
    return True


def _not_claimed(model: Model, entries: dict[str, Entry]) -> dict[str, Entry]:
    """Return the runtime entries whose name and place these entries leave to them."""
    taken = {entry.claim for entry in entries.values()}
    return {n: e for n, e in model.runtime.items() if n not in entries and e.claim not in taken}


def attach_object(model: Model, entry: Entry) -> bool:
    """Want an entry that no file has; one that cannot be attached is not kept."""
    rivals = [e for e in model.entries.values() if e.name != entry.name and e.claim == entry.claim]
    if entry.name in model.force or rivals or model.files[entry.file] == MISSING:
        return False
    before, digests, asked = dict(model.runtime), dict(model.digests), set(model.asked)
    model.runtime[entry.name] = entry
    model.digests[entry.name] = model.files[entry.file]
    model.ended.discard(entry.name)
    model.held.discard(entry.name)
    ask(model, entry.name, by_name=True)
    settle(model)
    if model.states[entry.name] not in (State.FAILED, State.FOREIGN):
        return True
    model.changes += any(is_refused(model, wish) for wish in model.wishes() if wish.name == entry.name)  # it was tried
    model.runtime, model.digests, model.asked = before, digests, asked
    model.ended |= {entry.name} - set(model.entries)
    settle(model)
    return False


def write_down(model: Model, entry: Entry) -> bool:
    """Want an entry without doing anything about it, as a daemon that is killed then does."""
    model.runtime[entry.name] = entry
    model.digests[entry.name] = model.files[entry.file]
    return True


def _refuses(model: Model, wish: Wish, digests: dict[str, str]) -> bool:
    """Whether an attachment that the configuration changes cannot be carried out."""
    if model.is_held(wish):
        return False
    key = Key(digests[wish.entry.name], wish.entry.hook, wish.entry.shared, wish.entry.init)
    if wish.rivals or key.content == MISSING:
        return True
    if not wish.interface:
        return False
    there = model.hooks.get(model.spot(wish))
    if there is not None and not model.is_ours(there) and not wish.entry.force:
        return True
    if model.needs_gap(wish) or is_refused(model, wish):
        return True
    return needs_load(model, wish, key) and not can_be_loaded(model, key)


def refuse_object(model: Model, entry: Entry) -> None:
    """Keep nothing of an entry whose program could not be attached."""
    model.held.discard(entry.name)
    model.ended |= {entry.name} - set(model.entries)
    settle(model)


def attach(model: Model, name: str) -> bool:
    """End a hold, and want again what others took off; return whether the entry is as wanted then, or waits."""
    entry = name.partition("@")[0]
    if not _is_known(model, name) or (entry != name and entry in model.held):
        return False
    model.held = {held for held in model.held if held != name and held.partition("@")[0] != name}
    ask(model, name, by_name=True)
    settle(model)
    return _worst(model, name) not in (State.FAILED, State.FOREIGN)


def detach(model: Model, name: str) -> bool:
    """Take the program off until attach() or reboot."""
    if not _is_known(model, name):
        return False
    if name in model.runtime:  # it is forgotten besides, unless the glob whose turn it is cannot be carried out
        if _has_unfit_heir(model, name):
            return False
        del model.runtime[name], model.digests[name]
        model.held.discard(name)
        model.ended.add(name)
    else:
        model.held.add(name)
    settle(model)
    return True


def _has_unfit_heir(model: Model, name: str) -> bool:
    """Whether the attachment that would take the place of a runtime entry's program cannot."""
    spots = model.spots_of(name)
    others = resolve({other: entry for other, entry in model.entries.items() if other != name}, model.interfaces)
    heirs = [wish for wish in others if wish.interface and model.spot(wish) in spots]
    return any(_refuses(model, wish, model.digests) for wish in heirs)


def refuse_detach(model: Model, name: str) -> None:
    """Keep a runtime entry that a failed write kept from ending; any other ends when the write is done again."""
    if name in model.runtime:
        settle(model)
    else:
        detach(model, name)


def sweep(model: Model) -> bool:
    """Let the time of grace be over for all orphans."""
    model.orphans = dict.fromkeys(model.orphans, 0.0)
    settle(model)
    return True


def _is_known(model: Model, name: str) -> bool:
    return name in model.entries or name in model.states


def _worst(model: Model, name: str) -> State:
    """Return the state farthest from the wish, of an attachment or of all of an entry."""
    found = {state for each, state in model.states.items() if name in (each, each.partition("@")[0])}
    return next(state for state in FARTHEST if state in found)


def ask(model: Model, *names: str, by_name: bool = False) -> None:
    """Want entries, or single attachments, again whatever others did, and try again what failed."""
    for wish in model.wishes():
        if {wish.name, wish.entry.name} & set(names):
            model.asked.add(wish.name)
            model.urged |= {wish.name} if by_name else set()
            model.restored.pop(wish.name, None)
            model.given_up.discard(wish.name)
            model.stuck.discard(wish.name)
