"""Objects prepared before: one that several entries name, or that comes back after a detach, is opened once."""

import itertools
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

from xdploaderd.config.attachments import AttachmentConfig
from xdploaderd.daemon.wanted.objects import Target, prepare_entry
from xdploaderd.hooks import Hook
from xdploaderd.limits import DEFAULT_LIMITS, Limits
from xdploaderd.obj.prepare import target_needs
from xdploaderd.obj.spec import Need, PreparedObject

MAX_OBJECTS = 32
MAX_BYTES = 4 << 20  # of object files, which are kept; what is made of one takes a few times its size


class _Question(NamedTuple):
    """All that decides how an entry's object is prepared, but the kernel.

    The file's bytes themselves: to find them in a dict takes a fifth of computing a digest that nobody can collide.
    """

    raw: bytes
    object: PurePosixPath
    hook: Hook
    program: str
    globals: tuple[tuple[str, str], ...]
    max_entries: tuple[tuple[str, int], ...]
    share: tuple[tuple[str, str], ...]
    no_maps: tuple[str, ...]
    limits: Limits


@dataclass(slots=True)
class _Kept:
    prepared: PreparedObject
    needs: frozenset[Need]
    size: int
    used: int = 0  # the turn in which it was asked for last


class PreparedCache:
    """The objects prepared last, for one thread; bounded in number and in bytes of their files.

    An object is given out again only while `target` still answers its needs with the very kernel it was prepared for.
    What fails is not kept. Pinning has no part in it: paths are asked for when the object is loaded.
    """

    def __init__(self, target: Target, *, max_objects: int = MAX_OBJECTS, max_bytes: int = MAX_BYTES) -> None:
        self._target = target
        self._max_objects = max_objects
        self._max_bytes = max_bytes
        self._kept: dict[_Question, _Kept] = {}
        self._turns = itertools.count(1)

    def prepare(self, config: AttachmentConfig, raw: bytes, limits: Limits = DEFAULT_LIMITS) -> PreparedObject:
        """Return the entry's object, of which the file has the bytes `raw`, prepared; errors as prepare_entry."""
        question = _question(config, raw, limits)
        kept = self._kept.get(question)
        if kept is None or self._target(kept.needs) is not kept.prepared.target:
            self._kept.pop(question, None)
            prepared = prepare_entry(config, raw, self._target, limits)
            kept = self._kept[question] = _Kept(prepared, target_needs(prepared.spec), len(raw), next(self._turns))
            self._drop_oldest()
        kept.used = next(self._turns)
        return kept.prepared

    def _drop_oldest(self) -> None:
        size = sum(kept.size for kept in self._kept.values())
        while len(self._kept) > self._max_objects or size > self._max_bytes:
            oldest = min(self._kept, key=lambda question: self._kept[question].used)
            size -= self._kept.pop(oldest).size


def _question(config: AttachmentConfig, raw: bytes, limits: Limits) -> _Question:
    return _Question(
        raw=raw,
        object=config.object,
        hook=config.hook,
        program=config.program,
        globals=config.globals,
        max_entries=config.max_entries,
        share=config.share,
        no_maps=config.no_maps,
        limits=limits,
    )
