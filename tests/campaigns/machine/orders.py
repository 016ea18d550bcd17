"""What operators do: write the configuration, and ask the daemon; the model says what is to come of it."""

from collections.abc import Callable, Coroutine
from typing import Any

from tests.campaigns.machine import asking
from tests.campaigns.machine.bench import Bench
from tests.campaigns.machine.model import Model
from tests.campaigns.machine.settling import settle
from tests.campaigns.machine.things import Entry
from xdploaderd.daemon.requests import AttachRequest
from xdploaderd.errors import LoaderError


def write_entry(bench: Bench, entry: Entry) -> None:
    """Write an entry into the configuration, in place of those that it cannot stand beside."""
    rival = entry.where, entry.spot
    kept = {e.name: e for e in bench.model.disk.values() if entry.glob or (e.where, e.spot) != rival}
    bench.model.disk = {**kept, entry.name: entry}
    bench.put_config()


def remove_entry(bench: Bench, name: str) -> None:
    bench.model.disk.pop(name, None)
    bench.put_config()


def reload(bench: Bench) -> None:
    refusal = _try(bench, bench.core.service.reload())
    _tell(bench, refusal, asking.reload, asking.keep_last_good)


def reload_partial(bench: Bench) -> None:
    refusal = _try(bench, bench.core.service.reload(partial=True))
    bench.model.now = bench.clock.steady()
    asking.adopt(bench.model)
    assert not refusal or bench.core.writes.armed, refusal


def attach(bench: Bench, name: str) -> None:
    refusal = _try(bench, bench.core.service.attach(name))
    _tell(bench, refusal, lambda model: asking.attach(model, name), lambda model: asking.attach(model, name))


def attach_object(bench: Bench, entry: Entry) -> None:
    """Attach what no file configures."""
    request = AttachRequest(entry=bench.values(entry), force=entry.force)
    refusal = _try(bench, bench.core.service.attach_object(request))
    _tell(
        bench,
        refusal,
        lambda model: asking.attach_object(model, entry),
        lambda model: asking.refuse_object(model, entry),
    )


def detach(bench: Bench, name: str) -> None:
    refusal = _try(bench, bench.core.service.detach(name))
    _tell(bench, refusal, lambda model: asking.detach(model, name), lambda model: asking.refuse_detach(model, name))


def sweep(bench: Bench) -> None:
    refusal = _try(bench, bench.core.service.sweep())
    bench.model.now = bench.clock.steady()
    bench.model.orphans = dict.fromkeys(bench.model.orphans, 0.0)
    settle(bench.model)
    assert not refusal or bench.core.writes.armed, refusal


def _try(bench: Bench, request: Coroutine[Any, Any, object]) -> str:
    """Make a request and return why it was refused."""
    try:
        bench.core.call(request)
    except LoaderError as error:
        bench.counts["refused"] += 1
        return str(error)
    return ""


def _tell(
    bench: Bench,
    refusal: str,
    granted: Callable[[Model], bool],
    failed: Callable[[Model], object],
) -> None:
    """Tell the model, which says by `granted` what was to come of it; a write that failed may have refused it."""
    bench.model.now = bench.clock.steady()
    if bench.core.writes.armed and refusal:
        failed(bench.model)
        return
    fine = granted(bench.model)
    assert fine is not bool(refusal), f"refused: {refusal}" if fine else "a request was not refused"
