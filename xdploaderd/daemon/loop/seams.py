"""What the reconciler asks of its parts: the seams that tests replace."""

from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol

from xdploaderd.daemon.plan.actions import Action, Change
from xdploaderd.daemon.plan.status import PlannedAction
from xdploaderd.daemon.plan.world import Observed, Wanted
from xdploaderd.hooks import XdpMode
from xdploaderd.info import LinkInfo, ProgInfo


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a change came to: the program put in place or taken off, and the digest of the object that was loaded.

    `second_best`: why a better mode was not taken, the first time that this is so. `gap`: seconds during which no
    program was on the hook; at most, since it is measured around the system calls. `mode`: the one of XDP that it was
    put in, where the driver was asked for one.
    """

    prog: ProgInfo | None = None
    sha1: str = ""
    gap: float = 0.0
    second_best: str = ""
    mode: XdpMode = XdpMode.UNSPECIFIED


class Snapshots(Protocol):
    """What reads the world; daemon.observe.Observer is one."""

    async def snapshot(self, wanted: Sequence[Wanted]) -> Observed: ...
    async def links_of(self, names: Sequence[str]) -> Mapping[str, tuple[LinkInfo, ...]]: ...


class Executes(Protocol):
    """What changes it; daemon.executor.Executor is one."""

    async def execute(self, action: Change) -> Outcome: ...
    async def tidy(self, observed: Observed) -> None: ...


class Transacts(Protocol):
    """What carries out a whole plan or nothing, and tells what it would do; daemon.transaction.Transaction is one."""

    async def carry_out(
        self, actions: Sequence[Change], *, begin: Callable[[], None]
    ) -> tuple[tuple[Change, Outcome], ...]: ...
    async def foretell(self, actions: Sequence[Action]) -> tuple[PlannedAction, ...]: ...


class Wish(Protocol):
    """What is wanted; daemon.wishes.Wishes is one."""

    def wanted(self) -> tuple[Wanted, ...]: ...
    def ended(self) -> AbstractSet[str]: ...
    def read_failed_again(self) -> None: ...
    def restored(self, name: str) -> None: ...
    def carried_out(self, name: str) -> None: ...
    def passed(self, actions: Sequence[Action], pinned: Collection[str]) -> None: ...
