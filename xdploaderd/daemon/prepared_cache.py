"""Objects prepared before: one that several entries name, or that comes back after a detach, is opened once."""

import hashlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

from xdploaderd.config.attachments import AttachmentConfig
from xdploaderd.daemon.objects import Target, prepare_entry
from xdploaderd.hooks import Hook
from xdploaderd.limits import DEFAULT_LIMITS, Limits
from xdploaderd.obj.prepare import target_needs
from xdploaderd.obj.spec import Need, PreparedObject

MAX_OBJECTS = 32
MAX_BYTES = 4 << 20  # of object files; what is kept of one takes a few times its size


class _Question(NamedTuple):
    """All that decides how an entry's object is prepared, but the kernel. The digest is one nobody can collide."""

    blake2b: bytes
    object: PurePosixPath
    hook: Hook
    program: str
    globals: tuple[tuple[str, str], ...]
    max_entries: tuple[tuple[str, int], ...]
    share: tuple[tuple[str, str], ...]
    no_maps: tuple[str, ...]
    limits: Limits


@dataclass(frozen=True, slots=True)
class _Kept:
    prepared: PreparedObject
    needs: frozenset[Need]
    size: int


class PreparedCache:
    """The objects prepared last, for one thread; bounded in number and in bytes of their files.

    An object is given out again only while `target` still answers its needs with the very kernel it was prepared for.
    What fails is not kept. Pinning has no part in it: paths are asked for when the object is loaded.
    """

    def __init__(self, target: Target, *, max_objects: int = MAX_OBJECTS, max_bytes: int = MAX_BYTES) -> None:
        self._target = target
        self._max_objects = max_objects
        self._max_bytes = max_bytes
        self._kept: dict[_Question, _Kept] = {}  # the one used last is at the end

    def prepare(self, config: AttachmentConfig, raw: bytes, limits: Limits = DEFAULT_LIMITS) -> PreparedObject:
        """Return the entry's object, of which the file has the bytes `raw`, prepared; errors as prepare_entry."""
        question = _question(config, raw, limits)
        kept = self._kept.pop(question, None)
        if kept is None or self._target(kept.needs) is not kept.prepared.target:
            prepared = prepare_entry(config, raw, self._target, limits)
            kept = _Kept(prepared, target_needs(prepared.spec), len(raw))
        self._kept[question] = kept
        self._drop_oldest()
        return kept.prepared

    def _drop_oldest(self) -> None:
        size = sum(kept.size for kept in self._kept.values())
        while len(self._kept) > self._max_objects or size > self._max_bytes:
            size -= self._kept.pop(next(iter(self._kept))).size


def _question(config: AttachmentConfig, raw: bytes, limits: Limits) -> _Question:
    return _Question(
        blake2b=hashlib.blake2b(raw).digest(),
        object=config.object,
        hook=config.hook,
        program=config.program,
        globals=config.globals,
        max_entries=config.max_entries,
        share=config.share,
        no_maps=config.no_maps,
        limits=limits,
    )
