"""The YAML file of attachments: text in, checked frozen values out."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NewType

from xdploaderd.hooks import Hook, XdpMode

AttachmentName = NewType("AttachmentName", str)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentConfig:
    """One wanted attachment. `object` is absolute; `program` a function's name, or a section where it has none.

    `priority` and `handle` place a tc filter and are 0 for XDP; `mode` is UNSPECIFIED for tc.
    """

    name: AttachmentName
    interface: str
    hook: Hook
    object: PurePosixPath
    program: str
    mode: XdpMode = XdpMode.UNSPECIFIED
    priority: int = 0
    handle: int = 0
    force: bool = False
