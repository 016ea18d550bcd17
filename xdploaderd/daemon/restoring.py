"""How often what somebody else undid is put back: a few times, then it is only reported until it is asked for again."""

import time
from collections.abc import Callable, Container
from typing import Final

from xdploaderd.config.interface_match import entry_of

MOST: Final = 3
WITHIN_SECONDS: Final = 60.0


class Restoring:
    """Counts the restores of each entry; `clock` gives seconds and never goes back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._done: dict[str, list[float]] = {}
        self._given_up: set[str] = set()

    def allows(self, name: str) -> bool:
        """Return whether the entry may be restored now."""
        return name not in self._given_up and len(self._recent(name)) < MOST

    def exhausted(self) -> frozenset[str]:
        """Return the names that may not be restored now."""
        return frozenset(name for name in {*self._given_up, *self._done} if not self.allows(name))

    def restored(self, name: str) -> None:
        """Take note of one more."""
        self._done[name] = [*self._recent(name), self._clock()]

    def give_up(self, name: str) -> None:
        """Restore it no more: it was taken off again when no restore was left."""
        self._given_up.add(name)

    def forgive(self, name: str) -> None:
        """Begin anew, on all interfaces of an entry: it was asked for."""
        for known in {*self._given_up, *self._done}:
            if name in (known, entry_of(known)):
                self._given_up.discard(known)
                self._done.pop(known, None)

    def keep_only(self, names: Container[str]) -> None:
        """Forget all others; what is not pinned is not restored."""
        self._done = {name: times for name, times in self._done.items() if name in names}
        self._given_up = {name for name in self._given_up if name in names}

    def _recent(self, name: str) -> list[float]:
        return [at for at in self._done.get(name, ()) if self._clock() - at < WITHIN_SECONDS]
