"""How often what somebody else undid is put back: a few times, then it is only reported until it is asked for again.

A restart of the daemon begins no new count: it is written down, with times of a clock that runs on from boot.
"""

import time
from collections.abc import Callable, Container

from xdploaderd.config.interface_match import entry_of
from xdploaderd.daemon.plan.reasons import MOST_RESTORES, WITHIN_SECONDS
from xdploaderd.daemon.state.records import StateStore


class Restoring:
    """Counts the restores of each entry; `clock` gives seconds since boot, and `store` outlives the daemon."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, store: StateStore | None = None) -> None:
        self._clock = clock
        self._store = store
        values = store.read() if store is not None else {}
        self._done, self._given_up = _times(values.get("done")), _names(values.get("given_up"))

    def allows(self, name: str) -> bool:
        """Return whether the entry may be restored now."""
        return name not in self._given_up and len(self._recent(name)) < MOST_RESTORES

    def exhausted(self) -> frozenset[str]:
        """Return the names that may not be restored now."""
        return frozenset(name for name in {*self._given_up, *self._done} if not self.allows(name))

    def restored(self, name: str) -> None:
        """Take note of one more."""
        self._done[name] = [*self._recent(name), self._clock()]
        self._save()

    def give_up(self, name: str) -> None:
        """Restore it no more: it was taken off again when no restore was left."""
        if name not in self._given_up:
            self._given_up.add(name)
            self._save()

    def forgive(self, name: str) -> None:
        """Begin anew, on all interfaces of an entry: it was asked for."""
        self._keep(lambda known: name not in (known, entry_of(known)))

    def keep_only(self, names: Container[str]) -> None:
        """Forget all others; what is not pinned is not restored."""
        self._keep(lambda known: known in names)

    def _keep(self, stays: Callable[[str], bool]) -> None:
        done = {name: times for name, times in self._done.items() if stays(name)}
        given_up = {name for name in self._given_up if stays(name)}
        if (done, given_up) != (self._done, self._given_up):
            self._done, self._given_up = done, given_up
            self._save()

    def _save(self) -> None:
        if self._store is not None:
            self._store.save({"done": self._done, "given_up": sorted(self._given_up)})

    def _recent(self, name: str) -> list[float]:
        return [at for at in self._done.get(name, ()) if self._clock() - at < WITHIN_SECONDS]


def _times(value: object) -> dict[str, list[float]]:
    """Return what was written of times; nothing where it is something else."""
    items = value.items() if isinstance(value, dict) else ()
    return {
        name: [at for at in times if isinstance(at, int | float)] for name, times in items if isinstance(times, list)
    }


def _names(value: object) -> set[str]:
    return {name for name in value if isinstance(name, str)} if isinstance(value, list) else set()
