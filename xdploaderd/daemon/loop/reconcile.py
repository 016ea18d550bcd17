"""The loop: observe, plan, carry out, wait; level-triggered.

Requests and netlink events only poke it. Reality is read anew on each pass, so a lost event costs a delay and never
correctness; a change is followed by another look, until nothing is left to do or only what failed and has to wait.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from xdploaderd.config.interface_match import entry_of
from xdploaderd.daemon.loop import events
from xdploaderd.daemon.loop.orphans import Orphans
from xdploaderd.daemon.loop.seams import Executes, Snapshots, Wish
from xdploaderd.daemon.plan.actions import Action, Attach, Change, Refuse, Rename, Repair, Replace, Wait
from xdploaderd.daemon.plan.matching import resolve
from xdploaderd.daemon.plan.planner import make_plan
from xdploaderd.daemon.plan.world import Observed, Wanted
from xdploaderd.errors import LoaderError, error_context
from xdploaderd.info import LinkInfo

log = logging.getLogger(__name__)

ROUNDS = 5  # of one pass: what needs more is in a fight with somebody else and has to wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Seconds: the first wait after a failure, which doubles up to `max_retry`, and the periodic look at the world."""

    first_retry: float = 1.0
    max_retry: float = 300.0
    resync: float = 30.0


@dataclass(frozen=True, slots=True)
class Failure:
    """An action that failed, and when (time.monotonic) it may be tried again; a different action is not bound by it."""

    action: Change
    error: LoaderError
    attempts: int
    not_before: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """How all stood at the end of a pass."""

    wanted: tuple[Wanted, ...] = ()
    observed: Observed = field(default_factory=Observed)
    actions: tuple[Action, ...] = ()
    failures: Mapping[str, Failure] = field(default_factory=dict)
    error: LoaderError | None = None  # the world could not be read
    settled: bool = True
    looked: bool = True  # False: the daemon has just started, no pass was made yet
    orphans: Mapping[str, float] = field(default_factory=dict)  # left alone until then (time.monotonic)
    protected: AbstractSet[str] = frozenset()  # interfaces where orphans are left alone


class Reconciler:
    """The one writer of hooks and pins."""

    def __init__(
        self,
        wishes: Wish,
        snapshots: Snapshots,
        executor: Executes,
        *,
        pace: Pace = Pace(),
        orphans: Orphans | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wishes = wishes
        self._snapshots = snapshots
        self._executor = executor
        self._pace = pace
        self._clock = clock
        self.orphans = orphans or Orphans()
        self._wake = asyncio.Event()
        self._failures: dict[str, Failure] = {}
        self._forgiven: set[str] = set()
        self._told: dict[str, str] = {}  # the error of each name as it was logged last
        self._waiters: list[asyncio.Future[Picture]] = []
        self._over = False
        self.picture = Picture(wanted=wishes.wanted(), settled=False, looked=False)
        self.next_look = clock()  # at the latest
        self.writing = asyncio.Lock()  # held by a pass, and by whoever changes hooks and pins besides
        self.passed = asyncio.Event()  # set at the end of each pass; whoever waits for it clears it
        self.on_pass: Callable[[Picture], None] = lambda _: None
        self.first: Callable[[], Awaitable[None]] | None = None  # what is done before the first pass, under the lock

    def poke(self) -> None:
        """Ask for a pass; any number of pokes before it begins ask for the same one."""
        self._wake.set()

    def forgive(self, name: str | None = None) -> None:
        """Let a failed action of `name` (of all, where none is given) be tried again at once, by the next pass.

        The name of an entry for several interfaces stands for its attachments.
        """
        forgiven = self._failures if name is None else (name,)
        self._forgiven.update(forgiven)

    async def settled(self) -> Picture:
        """Return how all stands after a pass that begins from now on; to stop waiting does not stop the pass.

        CancelledError when run() ends before that, or has ended: whoever is in the middle of something ends as well.
        """
        waiter: asyncio.Future[Picture] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        if self._over:
            waiter.cancel()
        self.poke()
        return await waiter

    async def links_of(self, names: Sequence[str]) -> Mapping[str, tuple[LinkInfo, ...]]:
        """Return what the pinned links of these attachments are now; no pass. Raises LoaderError."""
        return await self._snapshots.links_of(names)

    async def run(self) -> None:
        """Reconcile for ever; when cancelled, end after the action that is being carried out."""
        try:
            if self.first is not None:
                async with self.writing:
                    await self.first()
            while True:
                self._wake.clear()  # before reading: a poke during the pass makes another pass
                await self.reconcile_once()
                try:
                    pause = self._pause()
                    self.next_look = self._clock() + pause
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            self._over = True
            for waiter in self._waiters:
                waiter.cancel()

    async def reconcile_once(self) -> Picture:
        """Make one pass and tell those who wait for it."""
        waiters, self._waiters = self._waiters, []
        try:
            async with self.writing:
                self.picture = await self._pass()
        except LoaderError as error:
            if str(error) != str(self.picture.error):
                log.error("interfaces and pins cannot be read: %s", error, extra={"ERROR_CODE": error.code})
            self.picture = Picture(
                wanted=self._wishes.wanted(), observed=self.picture.observed, error=error, settled=False
            )
        except BaseException:
            self._waiters = [*waiters, *self._waiters]
            raise
        self.on_pass(self.picture)
        self.passed.set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(self.picture)
        return self.picture

    async def _pass(self) -> Picture:
        op_id, started = secrets.token_hex(4), self._clock()  # an action fails but once in a pass, however long
        kept = (name for name in self._failures if self._forgiven.isdisjoint((name, entry_of(name))))
        self._failures = {name: self._failures[name] for name in kept}
        self._forgiven.clear()
        if any(want.problem for want in self._wishes.wanted()):
            await asyncio.to_thread(self._wishes.read_failed_again)
        carried_out = False
        for _ in range(ROUNDS):
            picture = await self._look_again() if carried_out else await self._look()
            actions = picture.actions
            due = tuple(action for action in _changes(actions) if self._is_due(action, started))
            if not due:
                break
            carried_out = True
            repairs = tuple(action for action in due if isinstance(action, Repair | Rename))
            for action in repairs or due:  # what is repaired may be in the way of the others, or they of it
                await finish(self._carry_out(action, op_id))
        else:
            return await self._unsettled()
        await finish(self._executor.tidy(picture.observed))
        self._wishes.passed(actions, picture.observed.owned)
        planned = {action.name for action in _changes(actions)}
        self._failures = {name: failure for name, failure in self._failures.items() if name in planned}
        self._told = {name: text for name, text in self._told.items() if name in planned}
        return replace(picture, failures=dict(self._failures))

    async def _look_again(self) -> Picture:
        """Look after changes: that a look fails once is no reason to tell those who asked for them of a failure."""
        try:
            return await self._look()
        except LoaderError as error:
            log.debug("the look after a change is taken again: %s", error)
            return await self._look()

    async def _look(self) -> Picture:
        """Return how all stands now, and what has to be done."""
        wanted = self._wishes.wanted()
        observed = await self._snapshots.snapshot(wanted)
        wanted = resolve(wanted, observed.interfaces)
        orphans = self.orphans.look(wanted, observed, self._wishes.ended())
        actions = make_plan(wanted, observed, orphans.keys())
        protected = self.orphans.protected()
        return Picture(wanted=wanted, observed=observed, actions=actions, orphans=orphans, protected=protected)

    async def _unsettled(self) -> Picture:
        picture = await self._look()
        log.warning("what was changed does not stay so; the next look is in %g s", self._pace.first_retry)
        return replace(picture, failures=dict(self._failures), settled=False)

    def _is_due(self, action: Change, now: float) -> bool:
        failure = self._failures.get(action.name)
        return failure is None or failure.action != action or now >= failure.not_before

    async def _carry_out(self, action: Change, op_id: str) -> None:
        try:
            with error_context(f"attachment '{action.name}'"):
                outcome = await self._executor.execute(action)
        except LoaderError as error:
            self._fail(action, error, op_id)
        except Exception as error:
            log.exception("attachment '%s': fault of the daemon", action.name)
            self._fail(action, LoaderError(f"attachment '{action.name}': fault of the daemon: {error!r}"), op_id)
        else:
            if isinstance(action, Attach | Replace):
                self._wishes.carried_out(action.name)
                if action.restores:
                    self._wishes.restored(action.name)
            if not isinstance(action, Repair | Rename):
                self._failures.pop(action.name, None)
                self._told.pop(action.name, None)
            elif action.name in self._failures:
                return  # it clears up after a failed change, which stays failed: in all, nothing was changed
            events.log_change(action, outcome, op_id)

    def _fail(self, action: Change, error: LoaderError, op_id: str) -> None:
        before = self._failures.get(action.name)
        attempts = before.attempts + 1 if before is not None and before.action == action else 1
        delay = min(self._pace.first_retry * 2 ** min(attempts - 1, 32), self._pace.max_retry)
        self._failures[action.name] = Failure(action, error, attempts, self._clock() + delay)
        if self._told.get(action.name) != str(error):
            events.log_failure(action, error, op_id)
        self._told[action.name] = str(error)

    def _pause(self) -> float:
        if not self.picture.settled:
            return self._pace.first_retry
        now = self._clock()
        times = (*(failure.not_before for failure in self._failures.values()), *self.picture.orphans.values())
        return max(0.0, min((self._pace.resync, *(at - now for at in times))))


def _changes(actions: Sequence[Action]) -> Iterator[Change]:
    for action in actions:
        if not isinstance(action, Wait | Refuse):
            yield action


async def finish(work: Coroutine[None, None, None]) -> None:
    """Wait for `work`; when cancelled meanwhile, let it come to its end first: no change is left half done."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        raise
