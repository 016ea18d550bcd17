"""G2: a daemon that is killed at a write of an operation, and started after somebody changed something by hand.

After that all is as it is where the operation was not begun, or was carried out: what is attached, told, pinned and on
disk, each for itself. What is told is also that of a daemon which begins from nothing but the files. And no hook that
has a program before and after is without one meanwhile, unless the entries allow the gap.
"""

import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from tests.campaigns.figures import Figures, spread
from tests.campaigns.interrupted.by_hand import BY_HAND, ByHand
from tests.campaigns.interrupted.operations import OPERATIONS, Operation
from tests.campaigns.interrupted.scene import GRACE_SECONDS, RETRY_SECONDS, Scene
from tests.campaigns.interrupted.stand import Eyes, Hook, Stand, stand_of
from tests.campaigns.sample import sample
from xdploaderd.daemon.loop.report import AS_WANTED

SETTLE_SECONDS, LOOK_SECONDS = 3.0, 0.05  # in which the kernel frees what is closed
ALL_WRITES = 1 << 30
KILLS = 2
ALL_PAIRS = len(OPERATIONS) * len(BY_HAND)


@dataclass(frozen=True, slots=True)
class Life:
    """What came of one: `kept` had a program when the daemon was killed, of those that had one `before`."""

    before: frozenset[Hook]
    kept: frozenset[Hook]
    bare: frozenset[Hook]  # at some moment of the start, of those that had a program then, and have one in the end
    stand: Stand
    writes: int
    seconds: float  # that the start took


@dataclass(slots=True)
class Bench:
    """One directory for one life after the other."""

    directory: Path
    eyes: Eyes
    lives: int = 0
    kills: int = 0
    writes: int = 0
    took: list[float] = field(default_factory=list)

    def live(self, operation: Operation, hand: ByHand, number: int, *ends: Stand, from_nothing: bool = False) -> Life:
        """Kill the daemon before that write, counted from 0, let somebody do something by hand, and start it again.

        Look until all stands between these two `ends`, or does not change any more where there are none.
        """
        self.lives += 1
        with self._scene(operation) as scene:
            before = self.eyes.busy()
            operation.happens(scene)
            before &= self.eyes.busy()
            scene.killed_at(number, lambda: operation.act(scene))
            kept = self.eyes.busy()
            hand.do(scene)
            if from_nothing:
                scene.take_all_off()
            left, bare = self.eyes.busy(), set[Hook]()

            def look(_call: str) -> bool:
                bare.update(left - self.eyes.busy())
                return False

            began = time.monotonic()
            with scene.core.writes.ending_before(look):
                scene.start()
            seconds = time.monotonic() - began
            stand = _settled(scene, ends)
            return Life(before, before & kept, self.eyes.busy() & bare, stand, len(scene.writes), seconds)

    @contextmanager
    def _scene(self, operation: Operation) -> Iterator[Scene]:
        home = self.directory / f"life{self.lives}"
        with closing(Scene(home, self.eyes)) as scene:
            scene.first = operation.entries
            scene.configure(*operation.entries)
            scene.start()
            operation.before(scene)
            yield scene
            scene.core.end()
        shutil.rmtree(home)


def run(
    directory: Path,
    rounds: int,
    seed: int = 1,
    *,
    operations: Collection[str] = tuple(OPERATIONS),
    by_hand: Collection[str] = tuple(BY_HAND),
    kills: int = KILLS,
) -> Figures:
    """Take `rounds` of the pairs of an operation and a change by hand, and kill `kills` times in each, evenly spread.

    AssertionError where it does harm.
    """
    pairs = sample(tuple(product(operations, by_hand)), rounds, seed)
    with closing(Eyes()) as eyes:
        bench = Bench(directory, eyes)
        for name, what in pairs:
            _kill_in(bench, name, what, kills, seed)
    return {"operations and changes by hand": len(pairs), "writes": bench.writes, "kills": bench.kills, "left": 0,
            "without a program": 0, **spread("started in", bench.took)}  # fmt: skip


def _kill_in(bench: Bench, name: str, what: str, kills: int, seed: int) -> None:
    operation, hand = OPERATIONS[name], BY_HAND[what]
    alone = bench.live(operation, hand, ALL_WRITES, from_nothing=True)
    none, done = bench.live(operation, hand, 0), bench.live(operation, hand, ALL_WRITES)
    gap = operation.gap or hand.gap
    never = frozenset[Hook]() if gap else done.before & done.kept  # without a program
    bench.writes += done.writes

    def judge(life: Life, where: str) -> None:
        said = life.stand.beyond(none.stand, done.stand)
        told = any(life.stand.unlike == one.stand.unlike for one in (alone, none, done))
        lost = sorted(never - life.kept) or sorted(frozenset() if gap else life.bare)
        assert not said, f"{name}, killed {where}, then {what}: {said}"
        assert told, f"{name}, killed {where}, then {what}: {life.stand.unlike}, want {alone.stand.unlike}"
        assert not lost, f"{name}, killed {where}, then {what}: {lost} without a program"

    judge(none, "before it began")
    judge(done, "when it had ended")
    if not operation.asks:  # else what was asked for is known to the daemon alone
        for end in (none, done):
            assert end.stand.unlike == alone.stand.unlike, f"{name}, then {what}: {end.stand.unlike}"
    for number in sample(range(1, done.writes), kills, seed):
        life = bench.live(operation, hand, number, none.stand, done.stand)
        bench.kills += 1
        bench.took.append(life.seconds)
        judge(life, f"at write {number} of {done.writes}")


def _settled(scene: Scene, ends: Sequence[Stand]) -> Stand:
    """Return how all stands when failures were tried again and orphans swept, once it does not change any more."""
    scene.later(RETRY_SECONDS)
    status = scene.core.call(scene.core.service.status())
    unlike = frozenset(f"{one.name} {one.state}: {one.reason}" for one in status.attachments
                       if one.state not in AS_WANTED)  # fmt: skip
    for _ in range(2):  # that of an orphan begins when the daemon sees it first
        scene.later(GRACE_SECONDS)
    deadline, found = time.monotonic() + SETTLE_SECONDS, stand_of(scene, unlike)
    while time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
        last, found = found, stand_of(scene, unlike)
        if (not found.beyond(ends[0], ends[1])) if ends else found == last:
            break
    return found
