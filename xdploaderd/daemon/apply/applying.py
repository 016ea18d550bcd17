"""A new configuration becomes the one in force as one change, or not at all.

What the configuration changes is carried out by one transaction. An entry that it leaves as it is has no part in that:
what was wrong with it before is no reason to refuse the others, and the loop goes on trying.
"""

import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from dataclasses import replace

from xdploaderd.config.interface_match import entry_of
from xdploaderd.daemon.execute.foretelling import REFUSE
from xdploaderd.daemon.execute.putting_back import PuttingBack
from xdploaderd.daemon.loop import events
from xdploaderd.daemon.loop.reconcile import Reconciler, finish
from xdploaderd.daemon.loop.seams import Executes, Outcome, Snapshots, Transacts
from xdploaderd.daemon.plan.actions import (
    Action,
    Attach,
    Change,
    Detach,
    Refuse,
    Rename,
    Repair,
    Replace,
    Wait,
    interfaces_of,
)
from xdploaderd.daemon.plan.matching import resolve
from xdploaderd.daemon.plan.planner import awaited_places, make_plan
from xdploaderd.daemon.plan.status import PlannedAction
from xdploaderd.daemon.plan.world import Observed, Wanted
from xdploaderd.daemon.wanted.wishes import Digests, Settings, Wishes
from xdploaderd.errors import LoaderError, error_context

REPAIRS = 3  # looks at most: what was cut short, and names that went round, take two


class Applier:
    """Puts configurations in force; one call at a time."""

    def __init__(
        self,
        reconciler: Reconciler,
        wishes: Wishes,
        snapshots: Snapshots,
        executor: Executes,
        transaction: Transacts,
    ) -> None:
        self._reconciler = reconciler
        self._wishes = wishes
        self._snapshots = snapshots
        self._executor = executor
        self._transaction = transaction
        self.putting_back: PuttingBack | None = None  # None where others' programs are not held

    def is_there(self, interface: str) -> bool:
        """Return whether there was an interface of that name at the last look."""
        return any(interface == one.name for one in self._reconciler.picture.observed.interfaces)

    async def plan(self, settings: Settings, digests: Digests) -> tuple[Action, ...]:
        """Return what apply() would do now, and the pass after it, without doing it."""
        wanted = self._wishes.preview(settings, digests)
        _, actions = self._plan(wanted, await self._snapshots.snapshot(wanted))
        return actions

    async def foretell(
        self, settings: Settings, digests: Digests, protected: AbstractSet[str] = frozenset()
    ) -> tuple[PlannedAction, ...]:
        """Return what plan() does in the words that users see, with what becomes of maps."""
        async with self._reconciler.writing:  # no other load goes by these settings
            preview = self._wishes.preview(settings, digests)
            observed = await self._snapshots.snapshot(preview)
            wanted, actions = self._plan(preview, observed)
            with self._wishes.loading_by(settings):
                planned = await self._transaction.foretell(actions)
        part = {id(action) for action in _changed(actions, wanted, self._now(observed))}
        both = zip(actions, planned, strict=True)
        return tuple(
            replace(
                one,
                blocks=one.action == REFUSE and id(action) in part,
                confirm=not protected.isdisjoint(interfaces_of(action)),
            )
            for action, one in both
        )

    def _now(self, observed: Observed) -> Mapping[str, Wanted]:
        """Return what is wanted now, by name."""
        return {str(want.config.name): want for want in resolve(self._wishes.wanted(), observed.interfaces)}

    def _plan(self, wanted: Sequence[Wanted], observed: Observed) -> tuple[tuple[Wanted, ...], tuple[Action, ...]]:
        """Return what is wanted on the interfaces observed, and what has to be done for it."""
        resolved = resolve(wanted, observed.interfaces)
        before = {config.name for config in self._wishes.entries} | self._wishes.ended()
        ended = before - {want.config.name for want in wanted}
        spared = self._reconciler.orphans.peek(resolved, observed, ended)
        return resolved, make_plan(resolved, observed, spared.keys())

    async def apply(self, settings: Settings, digests: Digests, *, begin: Callable[[], None] = lambda: None) -> None:
        """Carry the configuration out and want it from now on; a caller that is cancelled waits for the end.

        Raises the LoaderError that keeps one of its changes from being made; then nothing was changed.
        """
        await finish(self._apply(settings, digests, begin))

    async def roll_back(self, settings: Settings, digests: Digests) -> None:
        """Put the configuration of before a trial in force again, and the programs of others that gave way to it.

        Raises LoaderError where not all can be done at once: it is in force all the same, and each entry by itself.
        """
        await finish(self._roll_back(settings, digests))

    async def _roll_back(self, settings: Settings, digests: Digests) -> None:
        async with self._reconciler.writing:
            try:
                await self._put_back(self._wishes.preview(settings, digests, back=True))
                done = await self._carry_out(settings, digests, back=True)
            except LoaderError:
                self._wishes.adopt(settings, digests, back=True)
                raise
        self._take_note(done)

    async def put_back(
        self, restore: Callable[[], None], *, first: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Let `restore` want again what was wanted before; what of others gave way since is put back.

        `first` is done before that, and before any pass.
        """
        await finish(self._restore(restore, first))

    async def _restore(self, restore: Callable[[], None], first: Callable[[], Awaitable[None]] | None) -> None:
        async with self._reconciler.writing:  # no pass takes ours off before
            if first is not None:
                await first()
            restore()
            await self._put_back(self._wishes.wanted())

    async def _put_back(self, wanted: Sequence[Wanted]) -> None:
        if self.putting_back is not None:
            await self.putting_back.put_back(wanted)

    async def _apply(self, settings: Settings, digests: Digests, begin: Callable[[], None]) -> None:
        async with self._reconciler.writing:
            done = await self._carry_out(settings, digests, begin=begin)
        self._take_note(done)

    async def _carry_out(
        self, settings: Settings, digests: Digests, *, begin: Callable[[], None] = lambda: None, back: bool = False
    ) -> Sequence[tuple[Change, Outcome]]:
        preview = self._wishes.preview(settings, digests, back=back)
        observed = await self._look(preview)
        wanted, actions = self._plan(preview, observed)
        part = tuple(_changed(actions, wanted, self._now(observed)))
        for refusal in part:
            if isinstance(refusal, Refuse):
                with error_context(f"attachment '{refusal.name}'"):
                    raise refusal.error
        changes = [action for action in part if not isinstance(action, Refuse)]
        with self._wishes.loading_by(settings):
            done = await self._transaction.carry_out(changes, begin=begin)
        self._wishes.adopt(settings, digests, back=back)
        return done

    async def end(self, name: str, *, begin: Callable[[], None] = lambda: None) -> None:
        """Take an entry's program off, or put there that of the entry whose turn it is; then want it no longer.

        `begin` as in apply(). Raises the LoaderError that keeps it from that; then nothing was changed.
        """
        await finish(self._end(name, begin))

    async def _end(self, name: str, begin: Callable[[], None]) -> None:
        async with self._reconciler.writing:
            others = tuple(want for want in self._wishes.wanted() if want.config.name != name)
            observed = await self._look(others)
            _, actions = self._plan(others, observed)
            part = tuple(_after(name, actions, observed))
            refused = [action for action in part if isinstance(action, Refuse)]
            changes = [action for action in part if not isinstance(action, Refuse)]
            with _stays(name, (*refused, *changes)):
                for refusal in refused:
                    raise refusal.error
                done = await self._transaction.carry_out(changes, begin=begin)
            self._wishes.drop(name)
        self._take_note(done)

    def _take_note(self, done: Sequence[tuple[Change, Outcome]]) -> None:
        op_id = secrets.token_hex(4)
        for action, outcome in done:
            if isinstance(action, Attach | Replace):
                self._wishes.carried_out(action.name)
            events.log_change(action, outcome, op_id)

    async def _look(self, wanted: Sequence[Wanted]) -> Observed:
        """Return the world after what an earlier change left behind was repaired, and interfaces were followed."""
        observed = await self._snapshots.snapshot(wanted)
        for _ in range(REPAIRS):
            _, actions = self._plan(wanted, observed)
            repairs = [action for action in actions if isinstance(action, Repair | Rename)]
            for repair in repairs:
                with error_context(f"attachment '{repair.name}'"):
                    await self._executor.execute(repair)
            if not repairs:
                break
            observed = await self._snapshots.snapshot(wanted)
        return observed


def _changed(
    actions: Sequence[Action], wanted: Sequence[Wanted], before: Mapping[str, Wanted]
) -> Iterator[Change | Refuse]:
    """Yield what the new configuration itself asks for: entries that are new, others than before, or gone."""
    after = {str(want.config.name): want for want in wanted}
    for action in actions:
        now, then = after.get(action.name), before.get(action.name)
        same = now is not None and then is not None and (now.config, now.sha1) == (then.config, then.sha1)
        if not isinstance(action, Wait) and (not same or (isinstance(action, Detach) and action.forget)):
            yield action


def _after(name: str, actions: Sequence[Action], observed: Observed) -> Iterator[Change | Refuse]:
    """Yield what becomes of an entry's programs when it ends: others take their places, or cannot, or they go."""
    owned = (one for one in observed.owned.values() if entry_of(one.name) == name)
    left = frozenset(place for one in owned for place in observed.places_of(one))
    for action in actions:
        match action:
            case Detach() if entry_of(action.name) == name:
                yield action
            case Replace() if action.current.place in left:
                yield action
            case Refuse() if left.intersection(awaited_places(action, observed)):
                yield action


def _stays(name: str, part: Sequence[Change | Refuse]) -> AbstractContextManager[None]:
    """Tell in errors that an entry stays, since the one whose turn it would be cannot be carried out."""
    heirs = [action.name for action in part if not isinstance(action, Detach)]
    if not heirs:
        return error_context(f"attachment '{name}'")
    why = f"attachment '{name}' stays, since '{heirs[0]}' would take its place and cannot"
    return error_context(f"{why} (mend that, or detach '{entry_of(heirs[0])}' first)")
