"""What operators do: write the configuration, and ask the daemon; the model says what is to come of it."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from tests.campaigns.machine import asking
from tests.campaigns.machine.bench import Bench
from tests.campaigns.machine.model import Model
from tests.campaigns.machine.things import Entry
from xdploaderd.daemon.service.requests import AttachRequest
from xdploaderd.daemon.service.service import Service
from xdploaderd.errors import LoaderError

CONFIRM = 60  # seconds


@dataclass(frozen=True, slots=True)
class Order:
    """A request: `tell` says what the model makes of it and whether it is granted.

    `fail`: of one that was refused since a write failed; None: the same. `begin`: of one whose daemon was killed once
    it was written down.
    """

    ask: Callable[[Service], Coroutine[Any, Any, object]]
    tell: Callable[[Model], bool]
    fail: Callable[[Model], object] | None = None
    begin: Callable[[Model], object] | None = None


RELOAD = Order(lambda service: service.reload(), asking.reload, asking.keep_last_good)
RELOAD_PARTIAL = Order(lambda service: service.reload(partial=True), asking.adopt)
SWEEP = Order(lambda service: service.sweep(), asking.sweep)
APPLY_ON_TRIAL = Order(
    lambda service: service.reload(confirm=CONFIRM),
    lambda model: asking.apply_on_trial(model, CONFIRM),
    begin=lambda model: asking.begin_trial(model, CONFIRM),
)
CONFIRM_IT = Order(lambda service: service.confirm(), asking.confirm)


def attach(name: str) -> Order:
    """Attach what is configured."""
    return Order(lambda service: service.attach(name), lambda model: asking.attach(model, name))


def detach(name: str) -> Order:
    """Detach, until attach or reboot."""
    return Order(
        lambda service: service.detach(name),
        lambda model: asking.detach(model, name),
        lambda model: asking.refuse_detach(model, name),
    )


def attach_object(bench: Bench, entry: Entry) -> Order:
    """Attach what no file configures."""
    request = AttachRequest(entry=bench.values(entry), force=entry.force)
    return Order(
        lambda service: service.attach_object(request),
        lambda model: asking.attach_object(model, entry),
        lambda model: asking.refuse_object(model, entry),
        lambda model: asking.write_down(model, entry),
    )


def carry_out(bench: Bench, order: Order) -> None:
    """Give an order, and tell the model."""
    refusal = _try(bench, order.ask(bench.core.service))
    bench.model.now = bench.clock.steady()
    if bench.core.writes.armed and refusal:
        (order.fail or order.tell)(bench.model)
        return
    fine = order.tell(bench.model)
    assert fine is not bool(refusal), f"refused: {refusal}" if fine else "a request was not refused"


def _try(bench: Bench, request: Coroutine[Any, Any, object]) -> str:
    """Make a request and return why it was refused."""
    try:
        bench.core.call(request)
    except LoaderError as error:
        bench.counts["refused"] += 1
        return str(error)
    return ""


def write_entry(bench: Bench, entry: Entry) -> None:
    """Write an entry into the configuration, in place of those that it cannot stand beside."""
    kept = {e.name: e for e in bench.model.disk.values() if entry.glob or e.claim != entry.claim}
    bench.model.disk = {**kept, entry.name: entry}
    bench.put_config()


def remove_entry(bench: Bench, name: str) -> None:
    """Take an entry out of the configuration."""
    bench.model.disk.pop(name, None)
    bench.put_config()
