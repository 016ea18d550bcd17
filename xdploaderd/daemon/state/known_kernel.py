"""The running kernel as the daemon knows it: targets to prepare for, and what probes found out, kept until reboot.

A daemon that starts again in the same boot asks the kernel nothing a second time. What was kept counts only from a file
of root's own that nobody else may read or write, of this boot, this very kernel and this version of ours.
"""

import logging
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xdploaderd import __version__
from xdploaderd.daemon.state.state_file import read_state, write_state
from xdploaderd.kernel.bpf import Answer, Bpf
from xdploaderd.kernel.target import running_kernel
from xdploaderd.obj.spec import Need, TargetKernel
from xdploaderd.uapi.bpf import Feature

log = logging.getLogger(__name__)

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class KnownKernel:
    """What `bpf` leads to."""

    def __init__(self, bpf: Bpf, path: Path, *, boot_id: str) -> None:
        self.bpf = bpf
        self._path = path
        self._boot_id = boot_id
        self._targets: dict[frozenset[Need], TargetKernel] = {}  # costly: a walk of the kernel's BTF
        self._kept: Mapping[Feature, Answer] = _answers_in(read_state(path, boot_id=boot_id)) if _is_own(path) else {}
        self._complained = False
        bpf.answers.update(self._kept)

    def target(self, needs: frozenset[Need]) -> TargetKernel:
        """Return the kernel with the needed facts, the very same one each time. Raises as running_kernel."""
        if needs not in self._targets:
            self._targets[needs] = running_kernel(self.bpf, needs)
        return self._targets[needs]

    def keep(self) -> None:
        """Write down what was found out since; what we were not permitted to find out is asked again."""
        found = {feature: answer for feature, answer in self.bpf.answers.items() if answer is not Answer.UNKNOWN}
        if found == self._kept:
            return
        try:
            write_state(self._path, {**_identity(), "answers": found}, boot_id=self._boot_id)
        except OSError as error:
            if not self._complained:
                log.warning("what the kernel can do is not kept in '%s': %s", self._path, error.strerror)
            self._complained = True
        else:
            self._kept = found


def _identity() -> Mapping[str, str]:
    name = os.uname()
    return {"kernel": f"{name.release} {name.version} {name.machine}", "daemon": __version__}


def _is_own(path: Path) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & _OTHERS


def _answers_in(values: Mapping[str, Any]) -> dict[Feature, Answer]:
    """Return the answers of a file; none where it is another kernel's or daemon's, or not understood."""
    if any(values.get(key) != value for key, value in _identity().items()):
        return {}
    try:
        found = {Feature(feature): Answer(answer) for feature, answer in values["answers"].items()}
    except (KeyError, ValueError, AttributeError):
        return {}
    return {feature: answer for feature, answer in found.items() if answer is not Answer.UNKNOWN}
