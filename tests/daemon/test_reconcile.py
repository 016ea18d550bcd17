"""The loop over a world in memory: retries, coalescing, requests, faults."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import pytest

from tests.daemon.fake_world import FakeWishes, FakeWorld, WithoutClsact, entry, prog, want
from xdploaderd.daemon.loop.reconcile import Pace, Picture, Reconciler
from xdploaderd.daemon.loop.seams import Outcome
from xdploaderd.daemon.plan.actions import Attach, Change, Detach, Replace
from xdploaderd.daemon.plan.world import Owned
from xdploaderd.errors import AttachError, KernelError

FAST = Pace(first_retry=0.01, max_retry=0.02, resync=30)


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 5))


class Running:
    """A reconciler that runs while the block lasts."""

    def __init__(self, reconciler: Reconciler) -> None:
        self.reconciler = reconciler

    async def __aenter__(self) -> Reconciler:
        self._task = asyncio.create_task(self.reconciler.run())
        return self.reconciler

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


async def pass_once(world: FakeWorld, wishes: FakeWishes, pace: Pace = FAST) -> Picture:
    return await Reconciler(wishes, world, world, pace=pace).reconcile_once()


def test_entry_is_attached_and_second_pass_changes_nothing() -> None:
    async def main() -> None:
        world, wishes = FakeWorld("eth0"), FakeWishes(want())
        reconciler = Reconciler(wishes, world, world)
        await reconciler.reconcile_once()
        await reconciler.reconcile_once()
        assert [type(a) for a in world.done] == [Attach]

    run(main())


def test_two_failures_then_success() -> None:
    async def main() -> None:
        world = FakeWorld("eth0")
        world.failures = [AttachError("busy"), AttachError("busy")]
        async with Running(Reconciler(FakeWishes(want()), world, world, pace=FAST)) as reconciler:
            seen: list[int] = []
            reconciler.on_pass = lambda picture: seen.append(len(picture.failures))
            await world.acted.wait()
            picture = await reconciler.settled()
        assert seen[:3] == [1, 1, 0]
        assert not picture.failures

    run(main())


def test_fifty_pokes_make_one_pass() -> None:
    async def main() -> None:
        world = FakeWorld("eth0")
        async with Running(Reconciler(FakeWishes(), world, world)) as reconciler:
            await reconciler.settled()
            before = world.snapshots
            passes: list[Picture] = []
            reconciler.on_pass = passes.append
            for _ in range(50):
                reconciler.poke()
            await asyncio.sleep(0.01)
        assert len(passes) == 1
        assert world.snapshots == before + 1

    run(main())


def test_poke_during_a_pass_makes_another() -> None:
    async def main() -> None:
        world = FakeWorld("eth0")
        async with Running(Reconciler(FakeWishes(), world, world)) as reconciler:
            passes: list[Picture] = []

            def poke_once(picture: Picture) -> None:
                passes.append(picture)
                if len(passes) == 1:
                    reconciler.poke()

            reconciler.on_pass = poke_once
            await reconciler.settled()
            await asyncio.sleep(0.01)
        assert len(passes) == 2

    run(main())


def test_one_bad_entry_does_not_stop_the_rest() -> None:
    async def main() -> None:
        world = FakeWorld("eth0", "eth1")
        world.failures = [AttachError("busy")]
        picture = await pass_once(world, FakeWishes(want(), want(entry("other", "eth1"))), Pace())
        assert set(picture.failures) == {"edge"}
        assert [a.name for a in world.done] == ["other"]

    run(main())


def test_failed_action_waits_although_poked() -> None:
    async def main() -> None:
        world = FakeWorld("eth0")
        world.failures = [AttachError("busy")]
        reconciler = Reconciler(FakeWishes(want()), world, world)
        await reconciler.reconcile_once()
        await reconciler.reconcile_once()
        assert world.done == []
        reconciler.forgive("edge")
        await reconciler.reconcile_once()
        assert [type(a) for a in world.done] == [Attach]

    run(main())


def test_failure_does_not_hold_up_a_different_action() -> None:
    async def main() -> None:
        world, wishes = FakeWorld("eth0"), FakeWishes(want())
        world.failures = [AttachError("gone")]
        reconciler = Reconciler(wishes, world, world)
        await reconciler.reconcile_once()
        world.indexes["eth0"] = type(world.indexes["eth0"])(9)  # deleted and made again
        picture = await reconciler.reconcile_once()
        assert [type(a) for a in world.done] == [Attach]
        assert not picture.failures

    run(main())


def test_fault_of_the_daemon_in_one_action_is_that_entry_s_failure() -> None:
    async def main() -> None:
        world = FakeWorld("eth0", "eth1")
        world.failures = [RuntimeError("bug")]
        picture = await pass_once(world, FakeWishes(want(), want(entry("other", "eth1"))), Pace())
        assert picture.failures["edge"].error.code == "Failed"
        assert [a.name for a in world.done] == ["other"]

    run(main())


def test_unreadable_world_is_told_and_tried_again() -> None:
    async def main() -> None:
        world = FakeWorld("eth0")
        world.unreadable = [KernelError("no netlink", operation="RTM_GETLINK", errno=12)]
        async with Running(Reconciler(FakeWishes(want()), world, world, pace=FAST)) as reconciler:
            picture = await reconciler.settled()
            assert picture.error is not None
            await world.acted.wait()
            assert (await reconciler.settled()).error is None

    run(main())


def test_look_that_fails_once_behind_a_change_is_taken_again() -> None:
    async def main() -> None:
        world = FakeWorld("eth0")

        async def execute(action: Change) -> Outcome:
            world.unreadable = [KernelError("no memory", operation="BPF_OBJ_GET", errno=12)]
            return await FakeWorld.execute(world, action)

        world.execute = execute  # type: ignore[method-assign]
        picture = await pass_once(world, FakeWishes(want()))
        assert (picture.error, [type(a) for a in world.done]) == (None, [Attach])

    run(main())


def test_client_that_goes_away_does_not_stop_the_attach() -> None:
    async def main() -> None:
        world = FakeWorld("eth0")
        async with Running(Reconciler(FakeWishes(want()), world, world)) as reconciler:
            client = asyncio.create_task(reconciler.settled())
            await asyncio.sleep(0)
            client.cancel()
            await reconciler.settled()
        assert [type(a) for a in world.done] == [Attach]

    run(main())


def test_stop_ends_after_the_action_under_way() -> None:
    async def main() -> None:
        world, finished = FakeWorld("eth0"), []

        class Slow(WithoutClsact):
            async def execute(self, action: Change) -> Outcome:
                await asyncio.sleep(0.02)
                finished.append(action)
                return await world.execute(action)

        task = asyncio.create_task(Reconciler(FakeWishes(want()), world, Slow()).run())
        await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(finished) == 1
        assert world.hooks

    run(main())


def test_fight_with_another_tool_is_given_up_for_a_while() -> None:
    async def main() -> None:
        world = FakeWorld("eth0")

        class Robbed(WithoutClsact):
            async def execute(self, action: Change) -> Outcome:
                outcome = await world.execute(action)
                world.hooks.clear()  # somebody takes it off at once
                return outcome

        picture = await Reconciler(FakeWishes(want()), world, Robbed()).reconcile_once()
        assert not picture.settled
        assert len(world.done) < 10

    run(main())


def test_renamed_entry_is_replaced_then_its_old_pins_go() -> None:
    async def main() -> None:
        world, wishes = FakeWorld("eth0"), FakeWishes(want())
        reconciler = Reconciler(wishes, world, world)
        await reconciler.reconcile_once()
        wishes.list = (want(entry("new")),)
        await reconciler.reconcile_once()
        assert [type(a) for a in world.done] == [Attach, Replace, Detach]
        assert set(world.owned) == {"new"}
        assert len(world.hooks) == 1

    run(main())


def test_swapped_entries_of_changed_objects_settle() -> None:
    async def main() -> None:
        world = FakeWorld("eth0", "eth1")
        wishes = FakeWishes(want(entry("left", "eth0")), want(entry("right", "eth1")))
        reconciler = Reconciler(wishes, world, world)
        await reconciler.reconcile_once()
        new = "c" * 40
        wishes.list = (want(entry("left", "eth1"), sha1=new), want(entry("right", "eth0"), sha1=new))
        picture = await reconciler.reconcile_once()
        assert (picture.actions, picture.settled) == ((), True)
        owned = {name: o.prog.id for name, o in world.owned.items() if o.prog is not None}
        assert world.hooks == {world.place("eth1"): owned["left"], world.place("eth0"): owned["right"]}

    run(main())


def test_change_cut_short_is_repaired_and_then_as_wanted() -> None:
    async def main() -> None:
        world, wishes = FakeWorld("eth0"), FakeWishes(want())
        done = world.add_owned(entry(), 7)
        world.owned["edge"] = Owned(name="edge", prog=prog(7), staged=prog(8), record=done.record)
        world.hooks[world.place("eth0")] = 7
        picture = await pass_once(world, wishes)
        assert picture.actions == ()
        assert world.owned["edge"].staged is None
        assert world.hooks == {world.place("eth0"): 7}

    run(main())


def test_same_failure_is_logged_once_whatever_is_forgiven(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        world = FakeWorld("eth0")
        world.failures = [AttachError("busy"), AttachError("busy"), AttachError("worse")]
        reconciler = Reconciler(FakeWishes(want()), world, world)
        for _ in range(3):
            reconciler.forgive()
            await reconciler.reconcile_once()

    with caplog.at_level("ERROR", logger="xdploaderd"):
        run(main())
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == ["busy", "worse"]


def test_whoever_waits_for_a_pass_after_the_stop_is_cancelled() -> None:
    async def main() -> None:
        world = FakeWorld("eth0")
        reconciler = Reconciler(FakeWishes(want()), world, world)
        task = asyncio.create_task(reconciler.run())
        await reconciler.settled()
        task.cancel()
        await asyncio.wait((task,))
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(1):
                await reconciler.settled()

    run(main())
