"""The confirmed configuration as values of a JSON file, and back: entries with the digests of objects, and all besides.

What a file of an older daemon does not have is as in the configuration that the caller gives.
"""

import hashlib
import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from pathlib import PurePosixPath
from typing import Any

from xdploaderd.config.entry import entry_values, parse_entry
from xdploaderd.config.pinning import PinningConf
from xdploaderd.daemon.wanted.wishes import Digests, Settings
from xdploaderd.errors import ConfigError
from xdploaderd.limits import DEFAULT_LIMITS, Limits, limit_problem


def written(settings: Settings, digests: Digests) -> Mapping[str, Any]:
    """Return the configuration, with the digests of the objects that could be read."""
    known = {str(path): found for path in objects_of(settings) if isinstance(found := digests[path], str)}
    defaults = DEFAULT_LIMITS._asdict()
    return {
        "entries": [entry_values(config) for config in settings.attachments],
        "digests": known,
        "names": sorted(settings.permanent),
        "protect": sorted(settings.protect),
        "limits": {name: value for name, value in settings.limits._asdict().items() if value != defaults[name]},
        "pinning": _written_pinning(settings.pinning),
    }


def read_back(values: Mapping[str, Any], like: Settings) -> Settings | None:
    """Return the configuration that `values` are of; None where they are of none."""
    try:
        if not isinstance(values["digests"], dict):
            return None
        return Settings(
            attachments=tuple(parse_entry(value, source="confirmed") for value in values["entries"]),
            pinning=read_pinning_back(values.get("pinning")) or like.pinning,
            permanent=frozenset(str(name) for name in values["names"]),
            limits=_read_limits_back(values["limits"]) if "limits" in values else like.limits,
            protect=frozenset(str(name) for name in values.get("protect", like.protect)),
        )
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError):
        return None


def read_pinning_back(values: object) -> PinningConf | None:
    """Return the pinning configuration that was written; None where none was."""
    if not isinstance(values, dict):
        return None
    try:
        return PinningConf(
            root=PurePosixPath(values["root"]),
            by_name=PurePosixPath(values["by_name"]),
            object_ns=PurePosixPath(values["object_ns"]),
            global_ns=PurePosixPath(values["global_ns"]),
            subdirs={int(number): PurePosixPath(path) for number, path in values["subdirs"].items()},
            sources=("as last confirmed",),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def fingerprint(values: Mapping[str, Any]) -> str:
    """Return a digest of the entries and their objects."""
    return _digest({name: values.get(name) for name in ("entries", "digests")})


def fingerprint_besides(values: Mapping[str, Any]) -> str:
    """Return a digest of what else the configuration says."""
    return _digest({name: values.get(name) for name in ("protect", "limits", "pinning")})


def objects_of(settings: Settings) -> AbstractSet[PurePosixPath]:
    """Return the objects that the entries name."""
    return {config.object for config in settings.attachments}


def _written_pinning(conf: PinningConf) -> Mapping[str, Any]:
    return {
        "root": str(conf.root),
        "by_name": str(conf.by_name),
        "object_ns": str(conf.object_ns),
        "global_ns": str(conf.global_ns),
        "subdirs": {str(number): str(path) for number, path in conf.subdirs.items()},
    }


def _read_limits_back(values: Mapping[str, Any]) -> Limits:
    """Return the limits that were written; one that this daemon cannot set is as it is by default."""
    known = {name: int(value) for name, value in values.items() if not limit_problem(name, int(value))}
    return DEFAULT_LIMITS._replace(**known)


def _digest(what: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
