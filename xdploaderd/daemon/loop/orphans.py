"""What is pinned as ours and no entry wants: for how long it is left alone.

An entry that ends by request takes its program along at once. Anything else without an entry was left behind by
something that this daemon did not see (a state file lost, a configuration changed meanwhile), or its interface is gone
and may come back: it runs on for a grace time, is listed, and swept after that. On a protected interface it runs on for
as long as that is protected: what runs there goes on trial alone. One that gave way to what is on trial is left alone
until that has ended, as a roll-back puts it back.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from xdploaderd.config.interface_match import AT, entry_of
from xdploaderd.daemon.plan.planner import names_of
from xdploaderd.daemon.plan.world import Observed, Owned, Wanted
from xdploaderd.uapi.bpf import ProgId


class Orphans:
    """When each orphan was seen first; `clock` gives seconds and never goes back, `grace` is in seconds.

    `protected` gives the interfaces that programs are taken off on trial alone, by the kernel's names; `gave_way` the
    programs whose places something on trial has.
    """

    def __init__(
        self,
        grace: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        protected: Callable[[], AbstractSet[str]] = frozenset,
        gave_way: Callable[[], AbstractSet[ProgId]] = frozenset,
    ) -> None:
        self._grace = grace
        self._clock = clock
        self.protected = protected
        self._gave_way = gave_way
        self._since: dict[str, float] = {}
        self._rejected: set[str] = set()

    def look(self, wanted: Sequence[Wanted], observed: Observed, ended: AbstractSet[str]) -> Mapping[str, float]:
        """Take note of the orphans there are, and return those that are left alone now, as peek() does."""
        now = self._clock()
        found = self._orphans(wanted, observed, ended)
        self._since = {name: now if stays else self._since.get(name, now) for name, stays in found.items()}
        self._rejected.intersection_update(found)
        return self.peek(wanted, observed, ended)

    def peek(self, wanted: Sequence[Wanted], observed: Observed, ended: AbstractSet[str]) -> Mapping[str, float]:
        """Return the orphans that would be left alone now, each with when that ends; math.inf: that is not known.

        `wanted` was resolved; `ended` are entries and attachments that ended by request.
        """
        now = self._clock()
        found = self._orphans(wanted, observed, ended)
        ends = {name: math.inf if stays else self._since.get(name, now) + self._grace for name, stays in found.items()}
        return {name: end for name, end in ends.items() if end > now}

    def is_one(self, name: str) -> bool:
        """Return whether that was an orphan when the daemon looked last."""
        return name in self._since

    def sweep(self, name: str | None = None) -> None:
        """Let the grace time of an orphan be over, or of all; on a protected interface it begins anew all the same."""
        for known in self._since:
            if name in (None, known):
                self._since[known] = self._clock() - self._grace

    def reject(self, name: str) -> None:
        """Let an orphan go that came with a configuration which is rolled back, off a protected interface too."""
        self._rejected.add(name)
        self.sweep(name)

    def _orphans(self, wanted: Sequence[Wanted], observed: Observed, ended: AbstractSet[str]) -> Mapping[str, bool]:
        """Return the orphans there are, each with whether it stays for as long as something else is so."""
        protected, gave_way = self.protected(), self._gave_way()
        return {
            owned.name: owned.name not in self._rejected
            and (bool(protected_interface(owned, observed, protected)) or _is_among(owned, gave_way))
            for owned in _orphans(wanted, observed, ended)
        }


def protected_interface(owned: Owned, observed: Observed, protected: AbstractSet[str]) -> str:
    """Return the first of the protected interfaces that an orphan's program is attached to; '' where it is to none."""
    return min((p.ifname for p in observed.places_left_by(owned) if p.ifname in protected), default="")


def _is_among(owned: Owned, progs: AbstractSet[ProgId]) -> bool:
    return owned.prog is not None and owned.prog.id in progs


def _orphans(wanted: Sequence[Wanted], observed: Observed, ended: AbstractSet[str]) -> list[Owned]:
    names = names_of(wanted)
    several = {entry_of(want.config.name) for want in wanted if want.config.several or AT in want.config.name}
    return [
        owned
        for owned in observed.owned.values()
        if owned.name not in names
        and (owned.prog or owned.staged or owned.links)  # else a crash left an empty directory
        and ended.isdisjoint((owned.name, entry_of(owned.name)))
        and (entry_of(owned.name) not in several or not _is_here(owned, observed))
    ]


def _is_here(owned: Owned, observed: Observed) -> bool:
    """Whether the interface is still there, and so no longer one of its entry's."""
    if observed.places_of(owned):
        return True
    return owned.record is not None and any(
        i.index in (owned.record.ifindex, owned.record.left) for i in observed.interfaces
    )
