"""What is wanted: the entries in force, the digests of their objects as read at start or reload, and who is held."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from xdploaderd.config.attachments import AttachmentConfig
from xdploaderd.config.pinning import PinningConf
from xdploaderd.daemon.object_file import read_digest
from xdploaderd.daemon.records import Held
from xdploaderd.daemon.world import Wanted
from xdploaderd.errors import LoaderError

Digests = Mapping[PurePosixPath, str | LoaderError]


@dataclass(frozen=True, slots=True)
class Settings:
    """A configuration that was read without an error."""

    attachments: tuple[AttachmentConfig, ...]
    pinning: PinningConf


class Wishes:
    """The one place where the wanted state changes. The caller pokes the reconciler after that."""

    def __init__(self, settings: Settings, digests: Digests, held: Held) -> None:
        self._held = held
        self._settings = settings
        self._digests: dict[str, str | LoaderError] = {}
        self.adopt(settings, digests)

    @property
    def settings(self) -> Settings:
        """Return the configuration in force."""
        return self._settings

    def adopt(self, settings: Settings, digests: Digests) -> None:
        """Put a configuration in force, with the digests of its objects."""
        self._settings = settings
        self._digests = {config.name: digests[config.object] for config in settings.attachments}

    def wanted(self) -> tuple[Wanted, ...]:
        """Return the wanted state as the planner takes it."""
        return make_wanted(self._settings.attachments, self._digests, self._held)

    def loaded(self, name: str, sha1: str) -> None:
        """Take note that the object's bytes were those of `sha1` when the entry's program was loaded."""
        if name in self._digests:
            self._digests[name] = sha1

    def read_failed_again(self) -> None:
        """Try again to read the objects that could not be read; those that were read stay as they were."""
        for config in self._settings.attachments:
            if isinstance(self._digests[config.name], LoaderError):
                self._digests[config.name] = read_digest(config.object)

    def hold(self, name: str) -> None:
        """Keep the entry detached."""
        self._held.hold(name)

    def release(self, name: str) -> None:
        """Let the entry be attached again."""
        self._held.release(name)

    def preview(self, settings: Settings, digests: Digests) -> tuple[Wanted, ...]:
        """Return the wanted state that `adopt` would bring about."""
        by_name: dict[str, str | LoaderError] = {config.name: digests[config.object] for config in settings.attachments}
        return make_wanted(settings.attachments, by_name, self._held)


def read_digests(attachments: Sequence[AttachmentConfig]) -> Digests:
    """Return the digest of every object the entries name, or why there is none."""
    return {path: read_digest(path) for path in {config.object for config in attachments}}


def make_wanted(
    attachments: Sequence[AttachmentConfig], digests: Mapping[str, str | LoaderError], held: Held
) -> tuple[Wanted, ...]:
    """Join entries, digests and holds."""
    return tuple(_wanted(config, digests[config.name], held=config.name in held) for config in attachments)


def _wanted(config: AttachmentConfig, found: str | LoaderError, *, held: bool) -> Wanted:
    if isinstance(found, LoaderError):
        return Wanted(config=config, held=held, problem=found)
    return Wanted(config=config, held=held, sha1=found)
