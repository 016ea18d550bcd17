"""Who asks: set by a front-end around each call, read where a change is recorded."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from xdploaderd.daemon.plan.status import Stand
from xdploaderd.errors import LoaderError
from xdploaderd.printable import printable

log = logging.getLogger(__name__)

MESSAGE_AUDIT = "0d9c2f4be1a84f3d8f6a7c15be3920da"


@dataclass(frozen=True, slots=True)
class Caller:
    """A process as the kernel or the bus tells it; `transport`: how it came. pid 0: not told."""

    transport: str
    uid: int
    pid: int = 0


caller: ContextVar[Caller] = ContextVar("caller")
_DAEMON = Caller("signal", 0)  # where no front-end called: SIGHUP
NOWHERE = Stand()  # there is no such attachment
DEADLINE = Caller("deadline", 0)  # nobody: the time to confirm is over


@contextmanager
def audited(
    verb: str,
    name: str,
    stand: Callable[[], Stand],
    done: Callable[[], str] = lambda: "done",
    stood: Stand | None = None,
) -> Iterator[None]:
    """Record the change that the block makes, or fails to; `stand` tells how it stands, `done` how it went.

    `stood`: how it stood before, where that is over.
    """
    before = stand() if stood is None else stood
    try:
        yield
    except LoaderError as error:
        audit(verb, name, before=before, after=stand(), result=str(error))
        raise
    audit(verb, name, before=before, after=stand(), result=done())


def audit_each(verb: str, before: Mapping[str, Stand], after: Mapping[str, Stand]) -> None:
    """Record the change of every attachment that stands otherwise than before."""
    for name in dict.fromkeys((*before, *after)):
        was, now = before.get(name, NOWHERE), after.get(name, NOWHERE)
        if was != now:
            audit(verb, name, before=was, after=now)


def audit(
    verb: str,
    name: str,
    *,
    digest: str = "",
    before: Stand = NOWHERE,
    after: Stand = NOWHERE,
    result: str = "done",
) -> None:
    """Record one change that was asked for: by whom, of what, with which object, how all stood, and how it ended.

    `digest`: the SHA-256 of an object that came with the request.
    """
    who = caller.get(_DAEMON)
    extra: dict[str, str | int] = {"MESSAGE_ID": MESSAGE_AUDIT, "ATTACHMENT": name, "AUDIT_VERB": verb}
    extra |= {"CALLER_UID": who.uid, "CALLER_PID": who.pid, "TRANSPORT": who.transport, "OBJECT_SHA256": digest}
    sha1 = after.sha1 or before.sha1
    extra |= {"OBJECT_SHA1": sha1, "BEFORE": before.words, "AFTER": after.words, "RESULT": result}
    with_object = f", object sha256 {digest}" if digest else f", object sha1 {sha1}" if sha1 else ""
    log.info(
        "audit: %s '%s' by uid %d, process %d, over %s%s, was %s, is %s: %s",
        verb, printable(name), who.uid, who.pid, who.transport, with_object, printable(before.words) or "nothing",
        printable(after.words) or "nothing", printable(result), extra=extra,
    )  # fmt: skip
