"""Programs that run already, taken over through the API, over a world in memory."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tests.daemon.fake_world import FakeWorld
from tests.daemon.test_requests import ENTRY, by_path, opened
from tests.daemon.test_service import Daemon, run, running
from xdploaderd.config.attachments import AttachmentConfig
from xdploaderd.config.entry import parse_entry
from xdploaderd.daemon.execute.adopting import Adopter
from xdploaderd.daemon.plan.status import State
from xdploaderd.daemon.plan.world import Place
from xdploaderd.daemon.wanted.object_digest import digest
from xdploaderd.errors import HookBusyError, LoaderError, ObjectError, UsageError
from xdploaderd.kernel.syscall import Fd


class FakeExecutor:
    """Stands for the executor of an Adopter: pins in the world in memory, or refuses."""

    def __init__(self, daemon: Daemon, number: int) -> None:
        self._daemon = daemon
        self._number = number
        self.error: LoaderError | None = None
        self.wanted_at_adoption: list[str] = []

    def prog_id(self, _prog: Fd) -> int:
        return self._number

    async def adopt(self, config: AttachmentConfig, _place: Place, _sha1: str, _prog: Fd) -> None:
        self.wanted_at_adoption = [entry.name for entry in self._daemon.wishes.entries]
        if self.error is not None:
            raise self.error
        self._daemon.world.add_owned(config, self._number, sha1=digest(b"one"))

    async def disown(self, name: str) -> None:
        self._daemon.world.owned.pop(name, None)


def adopting(daemon: Daemon, number: int) -> FakeExecutor:
    executor = FakeExecutor(daemon, number)
    daemon.requests.adopter = Adopter(daemon.world, executor)  # type: ignore[arg-type]
    return executor


def test_adopted_program_is_wanted_before_it_is_pinned_and_not_changed(tmp_path: Path) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0"))
        daemon.world.hooks[daemon.world.place("eth0")] = 7
        executor = adopting(daemon, 7)
        async with running(daemon) as service:
            with opened(tmp_path / "prog", b"") as fd:
                status = await service.attach_object(replace(by_path(daemon), program=fd))
        assert executor.wanted_at_adoption == ["eth0-xdp"]
        assert (status.state, status.prog_id, daemon.world.done) == (State.ATTACHED, 7, [])

    run(main())


def test_adoption_waits_for_a_pass_which_would_forget_what_is_noted_of_a_program_that_it_has_not_seen(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0"))
        daemon.world.hooks[daemon.world.place("eth0")] = 7
        executor = adopting(daemon, 7)
        async with running(daemon) as service:
            with opened(tmp_path / "prog", b"") as fd:
                async with daemon.reconciler.writing:
                    request = asyncio.create_task(service.attach_object(replace(by_path(daemon), program=fd)))
                    await asyncio.sleep(0.05)
                    assert (executor.wanted_at_adoption, tuple(daemon.wishes.entries)) == ([], ())
                assert (await request).state is State.ATTACHED

    run(main())


@pytest.mark.parametrize("there", [None, 8])
def test_program_that_is_not_at_its_place_is_not_adopted(tmp_path: Path, there: int | None) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0"))
        if there is not None:
            daemon.world.hooks[daemon.world.place("eth0")] = there
        before = dict(daemon.world.hooks)
        adopting(daemon, 7)
        async with running(daemon) as service:
            with opened(tmp_path / "prog", b"") as fd, pytest.raises(HookBusyError, match="to be taken over"):
                await service.attach_object(replace(by_path(daemon), program=fd))
            assert (await service.list(), daemon.world.hooks, daemon.world.done) == ((), before, [])

    run(main())


def test_adoption_that_was_cut_short_may_be_asked_for_again(tmp_path: Path) -> None:
    """Killed between wanting the entry and pinning its program, it left an entry without one."""

    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0"))
        daemon.world.hooks[daemon.world.place("eth0")] = 7
        config = parse_entry({**ENTRY, "name": "eth0-xdp", "object": str(daemon.object)}, source="test")
        daemon.wishes.put(config, digest(b"one"), permanent=False)
        async with running(daemon) as service:
            assert [status.state for status in await service.list()] == [State.FOREIGN]
            adopting(daemon, 7)
            with opened(tmp_path / "any", b"") as fd:
                await service.attach_object(replace(by_path(daemon, name="eth0-xdp"), program=fd))
                (status,) = await service.list()
                assert (status.state, status.prog_id) == (State.ATTACHED, 7)
                with pytest.raises(UsageError, match="give another name"):
                    await service.attach_object(replace(by_path(daemon, name="eth0-xdp"), program=fd))

    run(main())


def test_refused_adoption_leaves_the_program_on_its_hook(tmp_path: Path) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0"))
        daemon.world.hooks[daemon.world.place("eth0")] = 7
        adopting(daemon, 7).error = ObjectError("it is not the same program")
        async with running(daemon) as service:
            with opened(tmp_path / "prog", b"") as fd, pytest.raises(ObjectError):
                await service.attach_object(replace(by_path(daemon, permanent=True), program=fd))
            assert await service.list() == ()
        assert list(daemon.world.hooks.values()) == [7]
        assert daemon.world.done == []
        assert list(daemon.conf_d.iterdir()) == []

    run(main())
