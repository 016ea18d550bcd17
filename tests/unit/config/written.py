"""Attachments as users write them, read back or refused."""

import re

import pytest

from xdploaderd.config.attachments import AttachmentConfig, parse_attachments
from xdploaderd.errors import ConfigError

XDP = "{name: edge, interface: eth0, hook: xdp, object: /o/fw.o, program: xdp_pass%s}"
TC = "{name: in, interface: eth0, hook: tc-ingress, object: /o/fw.o, program: cls/in%s}"


def parsed(text: str) -> tuple[AttachmentConfig, ...]:
    """Return the attachments of a file named f."""
    return parse_attachments(text.encode(), source="f")


def one_entry(text: str) -> AttachmentConfig:
    """Return the attachment of a file with this one."""
    (entry,) = parsed(f"attachments:\n- {text}\n")
    return entry


def faults_of(text: str) -> list[str]:
    """Return what is told of a file that is refused, each fault with its place."""
    with pytest.raises(ConfigError) as caught:
        parsed(text)
    errors = caught.value.fields.get("errors", [str(caught.value)])
    assert isinstance(errors, list)
    assert all(re.match(r"f:\d+:\d+: ", error) and error.isprintable() for error in errors)
    return errors
