"""Events and passes: the first event is looked after at once, a storm does not make a pass of each."""

import asyncio
import struct
import time
from collections.abc import AsyncGenerator

import pytest

from tests.daemon.fake_world import FakeWishes, FakeWorld, want
from xdploaderd.daemon.loop.reconcile import Reconciler
from xdploaderd.daemon.loop.watching import Rests, Saved, watch
from xdploaderd.errors import AttachError
from xdploaderd.net import messages
from xdploaderd.net.channel import Channel
from xdploaderd.uapi.bpf import Ifindex

RESTS = Rests(shortest=0.02, longest=0.02, saved=0.0, retry=0.01)


async def watched(events: AsyncGenerator[Ifindex, None] | list[AsyncGenerator[Ifindex, None]], seconds: float) -> int:
    """Return how many snapshots were taken while the events came."""
    world = FakeWorld("eth0")
    reconciler = Reconciler(FakeWishes(want()), world, world)
    sources = iter(events if isinstance(events, list) else [events])
    tasks = [asyncio.create_task(reconciler.run())]
    tasks.append(asyncio.create_task(watch(lambda: next(sources), reconciler, RESTS)))
    await asyncio.sleep(seconds)
    began = time.monotonic()
    await reconciler.settled()  # as a request does it, in the midst of it all
    assert time.monotonic() - began < 0.02
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return world.snapshots


async def storm() -> AsyncGenerator[Ifindex, None]:
    while True:
        yield Ifindex(1)
        await asyncio.sleep(0)


async def once() -> AsyncGenerator[Ifindex, None]:
    yield Ifindex(1)
    await asyncio.sleep(60)


async def broken() -> AsyncGenerator[Ifindex, None]:
    raise AttachError("no more events")
    yield Ifindex(1)


def test_g9_storm_of_events_is_paced_and_requests_are_answered() -> None:
    assert 4 <= asyncio.run(watched(storm(), 0.1)) <= 14


def test_first_event_is_looked_after_at_once() -> None:
    assert asyncio.run(watched(once(), 0.01)) >= 3


def test_pass_after_a_quiet_time_is_not_followed_by_a_long_rest() -> None:
    saved = Saved(Rests())
    assert [saved.rest_after(0.2, quiet=0.5) for _ in range(9)] == [0.01] * 9
    assert [saved.rest_after(0.2, quiet=0.0) for _ in range(2)] == [0.01, pytest.approx(0.1)]


def test_passes_of_a_storm_take_half_of_the_time() -> None:
    saved, rest = Saved(Rests()), 0.0
    rests = [rest := saved.rest_after(0.1, quiet=rest) for _ in range(20)]
    assert rests[10:] == [pytest.approx(0.1)] * 10


def test_rest_after_slow_passes_is_bounded_and_owes_nothing_later() -> None:
    saved = Saved(Rests())
    assert max(saved.rest_after(9.0, quiet=0.25) for _ in range(9)) == 0.25
    assert saved.rest_after(0.1, quiet=1.0) == 0.01


def test_events_that_fail_are_asked_for_again() -> None:
    assert asyncio.run(watched([broken(), broken(), once()], 0.05)) >= 3


def answer(seq: int, kind: int, flags: int, payload: bytes = bytes(16)) -> bytes:
    return struct.pack("=IHHII", 16 + len(payload), kind, flags, seq, 0) + payload


class Scripted(Channel):
    """A channel whose socket answers each dump with the next of a script: an errno, or flags of its messages."""

    def __init__(self, *script: int | OSError) -> None:
        super().__init__()
        self.script = list(script)

    async def _send(self, kind: int, flags: int, payload: bytes) -> None:
        self._seq += 1

    async def _receive(self) -> list[messages.Message]:
        step = self.script.pop(0)
        if isinstance(step, OSError):
            raise step
        link = answer(self._seq, messages.RTM_NEWLINK, step)
        return list(messages.parse_messages(link + answer(self._seq, messages.NLMSG_DONE, step, bytes(4))))


def dump(*script: int | OSError) -> int:
    channel = Scripted(*script)
    try:
        return len(asyncio.run(channel.dump(messages.RTM_GETLINK, b"")))
    finally:
        channel.close()


def test_f30_overrun_of_the_socket_in_a_dump_begins_it_anew() -> None:
    assert dump(OSError(105, "No buffer space available"), 0) == 1
    with pytest.raises(AttachError):
        dump(OSError(5, "Input/output error"))


def test_f31_interrupted_dump_is_begun_anew() -> None:
    assert dump(messages.NLM_F_DUMP_INTR, messages.NLM_F_DUMP_INTR, 0) == 1
