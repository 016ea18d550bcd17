"""The pins of bpf_links: ROOT/xdploaderd/NAME/link, and NAME/link_new while the entry moves to another hook.

A link is known by what the kernel tells of it, not by which of the two names it has. One whose interface is gone, or
that somebody detached, is dead for good, and is swept.
"""

import os
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from xdploaderd.daemon.pins.pin_names import NAME, file_name
from xdploaderd.daemon.plan.world import Place
from xdploaderd.errors import PinError, error_context
from xdploaderd.hooks import AttachKind, Hook
from xdploaderd.info import LinkInfo
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.bpffs import unpin
from xdploaderd.kernel.fdinfo import ObjectKind
from xdploaderd.kernel.syscall import Fd
from xdploaderd.load.pins import open_pin
from xdploaderd.uapi.bpf import AttachType, Ifindex

FILES: Final = ("link", "link_new")
LINK_TYPE_XDP, LINK_TYPE_TCX = 6, 11  # enum bpf_link_type
_TCX_HOOKS = {AttachType.TCX_INGRESS: Hook.TC_INGRESS, AttachType.TCX_EGRESS: Hook.TC_EGRESS}


def hook_of(info: LinkInfo) -> Hook | None:
    """Return the hook that a link is on; None for links of other kinds."""
    if info.type == LINK_TYPE_XDP:
        return Hook.XDP
    return _TCX_HOOKS.get(AttachType(info.attach_type)) if info.type == LINK_TYPE_TCX else None


def is_at(info: LinkInfo, place: Place) -> bool:
    """Return whether a link is the one at that place."""
    return place.kind is AttachKind.LINK and (info.ifindex, hook_of(info)) == (place.ifindex, place.hook)


class LinkPins:
    """The links in the directories of the daemon's own pins. Raises PinError, KernelError."""

    def __init__(self, root: PurePosixPath, bpf: Bpf) -> None:
        self._root = root
        self._bpf = bpf

    def infos(self, name: str) -> tuple[LinkInfo, ...]:
        """Return what the kernel tells of the entry's links, dead ones included (ifindex 0)."""
        return tuple(info for _, info in self._each(name)) if NAME.fullmatch(name) else ()

    def open(self, name: str, ifindex: Ifindex, hook: Hook) -> Fd | None:
        """Return a descriptor of the entry's link to that hook, which the caller closes; None: there is none alive."""
        found = self._find(name, ifindex, hook)
        return open_pin(self._bpf, found, ObjectKind.LINK) if found is not None else None

    def pin(self, name: str, link: Fd) -> None:
        """Pin a link as one of the entry's, which has a directory; dead ones make room."""
        self.sweep(name)
        free = next((path for path in self._files(name) if not os.path.lexists(path)), None)
        if free is None:
            raise PinError(f"'{self._root / file_name(name)}' has links to two hooks already")
        self._bpf.obj_pin(link, free)

    def move(self, owner: str, name: str, ifindex: Ifindex, hook: Hook) -> None:
        """Make the link of one entry that of another, which has a directory, and no link to that hook."""
        found = self._find(owner, ifindex, hook)
        if found is None:
            return
        self.sweep(name)
        free = next(
            (path for path in self._files(name) if not os.path.lexists(path)), self._root / file_name(name) / FILES[-1]
        )
        try:
            os.rename(found, free)
        except OSError as error:
            raise PinError(f"'{found}' cannot be made the link of '{name}': {error.strerror}") from error

    def sweep(self, name: str) -> None:
        """Remove the pins of dead links."""
        for path, info in tuple(self._each(name)):
            if not info.ifindex:
                unpin(path)

    def forget(self, name: str) -> None:
        """Remove every pin of the entry's links."""
        for path in self._files(name):
            unpin(path)

    def _files(self, name: str) -> tuple[PurePosixPath, ...]:
        return tuple(self._root / file_name(name) / file for file in FILES)

    def _find(self, name: str, ifindex: Ifindex, hook: Hook) -> PurePosixPath | None:
        return next((path for path, info in self._each(name) if (info.ifindex, hook_of(info)) == (ifindex, hook)), None)

    def _each(self, name: str) -> Iterator[tuple[PurePosixPath, LinkInfo]]:
        for path in self._files(name):
            link = open_pin(self._bpf, path, ObjectKind.LINK)
            if link is not None:
                with link, error_context(f"pin '{path}'"):
                    info = self._bpf.link_info(link)
                yield path, info
