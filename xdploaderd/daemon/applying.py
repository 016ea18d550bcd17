"""A new configuration becomes the one in force as one change, or not at all.

What the configuration changes is carried out by one transaction. An entry that it leaves as it is has no part in that:
what was wrong with it before is no reason to refuse the others, and the loop goes on trying.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence

from xdploaderd.daemon import events
from xdploaderd.daemon.actions import Action, Change, Detach, Refuse, Repair, Wait
from xdploaderd.daemon.plan import make_plan
from xdploaderd.daemon.reconcile import Reconciler, finish
from xdploaderd.daemon.seams import Executes, Snapshots, Transacts
from xdploaderd.daemon.wishes import Digests, Settings, Wishes
from xdploaderd.daemon.world import Observed, Wanted
from xdploaderd.errors import error_context


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

    async def plan(self, settings: Settings, digests: Digests) -> tuple[Action, ...]:
        """Return what apply() would do now, and the pass after it, without doing it."""
        wanted = self._wishes.preview(settings, digests)
        return make_plan(wanted, await self._snapshots.snapshot(wanted))

    async def apply(
        self, settings: Settings, digests: Digests, *, before_hooks: Callable[[], None] = lambda: None
    ) -> None:
        """Carry the configuration out and want it from now on; a caller that is cancelled waits for the end.

        Raises the LoaderError that keeps one of its changes from being made; then nothing was changed.
        """
        await finish(self._apply(settings, digests, before_hooks))

    async def _apply(self, settings: Settings, digests: Digests, before_hooks: Callable[[], None]) -> None:
        async with self._reconciler.writing:
            before = {str(want.config.name): want for want in self._wishes.wanted()}
            wanted = self._wishes.preview(settings, digests)
            actions = make_plan(wanted, await self._look(wanted))
            part = tuple(_changed(actions, wanted, before))
            for refusal in part:
                if isinstance(refusal, Refuse):
                    with error_context(f"attachment '{refusal.name}'"):
                        raise refusal.error
            changes = [action for action in part if not isinstance(action, Refuse)]
            done = await self._transaction.carry_out(changes, before_hooks=before_hooks)
            self._wishes.adopt(settings, digests)
        op_id = secrets.token_hex(4)
        for action, outcome in done:
            if outcome.sha1:
                self._wishes.loaded(action.name, outcome.sha1)
            events.log_change(action, outcome, op_id)

    async def _look(self, wanted: Sequence[Wanted]) -> Observed:
        """Return the world after what an earlier change left behind was repaired."""
        observed = await self._snapshots.snapshot(wanted)
        repairs = [action for action in make_plan(wanted, observed) if isinstance(action, Repair)]
        for repair in repairs:
            with error_context(f"attachment '{repair.name}'"):
                await self._executor.execute(repair)
        return await self._snapshots.snapshot(wanted) if repairs else observed


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
