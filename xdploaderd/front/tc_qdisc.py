"""`tc qdisc add|replace|change|del ... clsact|ingress`: the place that bpf filters hang on.

Mirrors do_qdisc and tc_qdisc_modify of iproute2 tc/tc_qdisc.c.
"""

from dataclasses import dataclass
from enum import StrEnum

from xdploaderd.front.tc_words import parse_classid
from xdploaderd.front.words import Words, duplicate, invalid, refused
from xdploaderd.net import messages
from xdploaderd.net.request import request
from xdploaderd.net.tc_messages import pack_ingress_qdisc
from xdploaderd.printable import quoted

EXIT_OPTIONS = 1  # what a qdisc's kind refuses
QDISCS = ("clsact", "ingress")


class QdiscVerb(StrEnum):
    """What is done to a qdisc, in the order in which abbreviations are tried."""

    ADD = "add"
    CHANGE = "change"
    REPLACE = "replace"
    LINK = "link"
    DELETE = "delete"


_REQUESTS = {
    QdiscVerb.ADD: (messages.RTM_NEWQDISC, messages.NLM_F_CREATE | messages.NLM_F_EXCL),
    QdiscVerb.CHANGE: (messages.RTM_NEWQDISC, 0),
    QdiscVerb.REPLACE: (messages.RTM_NEWQDISC, messages.NLM_F_CREATE | messages.NLM_F_REPLACE),
    QdiscVerb.LINK: (messages.RTM_NEWQDISC, messages.NLM_F_REPLACE),
    QdiscVerb.DELETE: (messages.RTM_DELQDISC, 0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class QdiscCommand:
    """One command about clsact or ingress; `dev` empty where none is named."""

    verb: QdiscVerb
    dev: str
    kind: str


def parse_qdisc_command(words: Words) -> QdiscCommand | None:
    """Return the command; None for one that is the real tc's: of another verb or qdisc. Raises UsageError."""
    verb = next((verb for verb in QdiscVerb if words.accept(verb)), None)
    dev = kind = ""
    while words and verb and not kind:
        if words.accept_exact("dev"):
            if dev:
                raise duplicate("dev", words.take())
            dev = words.take()
        elif words.accept_exact("handle"):
            word = words.take()
            if parse_classid(word) is None:
                raise invalid(word, "the handle of a qdisc, such as ffff:")
        elif words.peek() in QDISCS:
            kind = words.take()
        else:
            return None
    if verb is None or not kind:
        return None
    if words:
        raise refused(f"{quoted(words.take())}: qdisc '{kind}' takes no options", status=EXIT_OPTIONS)
    return QdiscCommand(verb=verb, dev=dev, kind=kind)


def change_qdisc(command: QdiscCommand, ifindex: int) -> None:
    """Carry it out. Raises AttachError."""
    kind, flags = _REQUESTS[command.verb]
    request(kind, pack_ingress_qdisc(ifindex, command.kind), flags)
