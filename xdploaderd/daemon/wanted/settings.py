"""Read the configuration as a whole: attachments and pinning, or neither; and check what it names."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from xdploaderd.config.attachments import AttachmentConfig
from xdploaderd.daemon.state.drop_ins import DropIns
from xdploaderd.daemon.wanted.object_file import read_object
from xdploaderd.daemon.wanted.objects import Target, prepare_entry
from xdploaderd.daemon.wanted.wishes import Digests, Settings
from xdploaderd.errors import LoaderError, error_context
from xdploaderd.limits import Limits
from xdploaderd.load.config_files import drop_in_dir, read_attachments
from xdploaderd.load.pinning_files import read_pinning


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigSource:
    """Where the configuration comes from. Both block: `read` raises ConfigError or FileError, `objects` nothing."""

    read: Callable[[], Settings]
    objects: Callable[[Iterable[AttachmentConfig], Limits], Digests]
    config: Path


def read_settings(config: Path, pinning: Path) -> Settings:
    """Return the configuration in these files. Raises ConfigError or FileError where any of it is bad."""
    found = read_attachments(config)
    permanent = DropIns(drop_in_dir(config)).names()
    return Settings(found.attachments, read_pinning(pinning), permanent, found.limits, found.protect)


def check_objects(settings: Settings, target: Target) -> Iterator[tuple[AttachmentConfig, LoaderError | None]]:
    """Yield every entry with what keeps its program from being prepared for this kernel; loads nothing."""
    for config in settings.attachments:
        try:
            with error_context(f"attachment '{config.name}'"):
                prepare_entry(config, read_object(config.object, settings.limits), target, settings.limits)
        except LoaderError as error:
            yield config, error
        else:
            yield config, None
