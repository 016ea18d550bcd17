"""What fails while a configuration is rolled back or confirmed: told, tried again, and never the end of the daemon."""

import asyncio
import errno
import logging
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from tests.daemon.fake_world import FakeWorld
from tests.daemon.test_service import Daemon, running
from xdploaderd.daemon.apply.confirming import read_pending
from xdploaderd.daemon.pins import before as before_module
from xdploaderd.daemon.pins.before import DIRECTORY, Before
from xdploaderd.daemon.plan.status import State
from xdploaderd.daemon.service import unconfirmed
from xdploaderd.daemon.service.service import Service
from xdploaderd.daemon.wanted.wishes import Digests, Settings
from xdploaderd.errors import FileError, KernelError, PinError
from xdploaderd.kernel.bpf import Bpf


async def _rolled_back(daemon: Daemon, rejected: asyncio.Event) -> None:
    """Let a configuration on trial be rolled back, until `rejected`."""
    async with running(daemon) as service:
        daemon.trial.keep()
        await service.reload(confirm=60)
        assert daemon.confirming.pending is not None
        daemon.confirming.pending = replace(daemon.confirming.pending, deadline=0)
        trials = asyncio.create_task(service.keep_trials())
        async with asyncio.timeout(2):
            await rejected.wait()
        assert not trials.done()
        trials.cancel()
        with suppress(asyncio.CancelledError):
            await trials


def test_roll_back_that_cannot_be_written_down_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0"), "edge")
        reject, rejected = daemon.confirming.reject, asyncio.Event()
        errors = [FileError("no space left on device")]
        loop = asyncio.get_running_loop()

        def failing() -> None:
            if errors:
                raise errors.pop()
            reject()
            loop.call_soon_threadsafe(rejected.set)

        monkeypatch.setattr(daemon.confirming, "reject", failing)
        monkeypatch.setattr(unconfirmed, "LOOK_SECONDS", 0.01)
        await _rolled_back(daemon, rejected)

    with caplog.at_level(logging.ERROR):
        asyncio.run(main())
    assert "tried again: no space left on device" in caplog.text


@pytest.mark.parametrize("entry_fails", [False, True])
def test_map_that_does_not_get_its_pin_back_at_a_roll_back_gets_it_with_the_next_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, entry_fails: bool
) -> None:
    class World(FakeWorld):
        def __init__(self) -> None:
            super().__init__("eth0")
            self.steps: list[str] = []
            self.rejected = asyncio.Event()
            self.loop = asyncio.get_running_loop()

        def restore_maps(self) -> None:
            self.steps.append("restore")
            if self.steps.count("restore") == 1:
                raise KernelError("cannot open the pin", operation="BPF_OBJ_GET", errno=errno.EIO)

        def drop(self) -> None:
            if self.steps:
                self.steps.append("drop")
                self.loop.call_soon_threadsafe(self.rejected.set)

    async def main() -> None:
        world = World()
        daemon = Daemon(tmp_path, world, "edge")
        confirmed = daemon.confirming.confirmed

        def before(like: Settings) -> tuple[Settings, Digests] | None:
            world.failures = [PinError("operation not permitted")] if entry_fails and not world.steps else []
            return confirmed(like)

        monkeypatch.setattr(daemon.confirming, "confirmed", before)
        monkeypatch.setattr(unconfirmed, "LOOK_SECONDS", 0.01)
        await _rolled_back(daemon, world.rejected)
        assert world.steps == ["restore", "restore", "drop"]

    asyncio.run(main())


class Pins:
    """Directories in place of pins; the first ones that are to go do not."""

    def __init__(self, root: Path) -> None:
        self.root = PurePosixPath(root)
        self.failing = 2

    def forget(self, name: str) -> None:
        if self.failing:
            self.failing -= 1
            raise PinError("operation not permitted")
        Path(self.root / name).rmdir()


def test_pins_of_old_programs_go_although_one_stays_at_first(tmp_path: Path) -> None:
    for name in ("edge", "tail"):
        (tmp_path / DIRECTORY / name).mkdir(parents=True)
    pins: Any = Pins(tmp_path)
    Before(pins, Bpf()).drop()
    assert not (tmp_path / DIRECTORY).exists()


def test_pins_that_stayed_after_an_earlier_trial_go_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(before_module, "make_pin_dir", lambda _path: ())
    (tmp_path / DIRECTORY / "gone").mkdir(parents=True)
    pins: Any = Pins(tmp_path)
    pins.names, pins.claim = lambda: (), lambda: None
    Before(pins, Bpf()).keep()
    assert not (tmp_path / DIRECTORY).exists()


def test_change_on_trial_whose_file_cannot_be_removed_waits_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0"), "edge")
        unlink, errors = Path.unlink, [OSError(errno.EIO, "Input/output error")]

        def failing(path: Path, *, missing_ok: bool = False) -> None:
            if path.name == "trial" and errors:
                raise errors.pop()
            unlink(path, missing_ok=missing_ok)

        async with running(daemon) as service:
            await service.detach("edge", confirm=60)
            monkeypatch.setattr(Path, "unlink", failing)
            with pytest.raises(FileError, match="trial' cannot be removed: input/output error"):
                await service.confirm()
            assert (await service.status()).confirm_seconds > 50
            await service.confirm()
            assert not (tmp_path / "trial").exists()

    asyncio.run(main())


def test_configuration_is_confirmed_although_its_note_cannot_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class World(FakeWorld):
        dropped = 0

        def drop(self) -> None:
            self.dropped += 1

    async def main() -> None:
        world = World("eth0")
        daemon = Daemon(tmp_path, world, "edge")
        async with running(daemon) as service:
            daemon.trial.keep()
            daemon.settings = daemon.make_settings("edge", "more")
            await service.reload(confirm=60)
            with monkeypatch.context() as patched:
                patched.setattr(Path, "unlink", _fail)
                assert not (await service.confirm()).confirm_seconds
        assert world.dropped == 1
        assert (tmp_path / "data/pending").exists()
        assert read_pending(tmp_path / "data") is None

    asyncio.run(main())


class Stubborn(FakeWorld):
    """A world in which a detach fails, and the map gets its pin back with the third try."""

    def __init__(self) -> None:
        super().__init__("eth0")
        self.restored = 0
        self.over = asyncio.Event()
        self.loop = asyncio.get_running_loop()

    def restore_maps(self) -> None:
        self.restored += 1
        if self.restored <= 2:
            raise KernelError("cannot open the pin", operation="BPF_OBJ_GET", errno=errno.EIO)

    def drop(self) -> None:
        if self.restored:
            self.loop.call_soon_threadsafe(self.over.set)


async def _detach_failed(service: Service, world: Stubborn) -> None:
    world.failures = [PinError("operation not permitted")]
    with pytest.raises(PinError, match="operation not permitted"):
        await service.detach("edge", confirm=60)
    assert not world.over.is_set()


def test_request_whose_undoing_fails_too_is_undone_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        world = Stubborn()
        daemon = Daemon(tmp_path, world, "edge")
        monkeypatch.setattr(unconfirmed, "LOOK_SECONDS", 0.01)
        async with running(daemon) as service, asyncio.timeout(2):
            trials = asyncio.create_task(service.keep_trials())
            await _detach_failed(service, world)
            await world.over.wait()
            assert [found.state for found in await service.list()] == [State.ATTACHED]
            trials.cancel()

    asyncio.run(main())
    assert "a change that failed is not undone yet: cannot open the pin" in caplog.text


def test_request_after_one_whose_undoing_failed_is_carried_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        world = Stubborn()
        world.restored = 1
        daemon = Daemon(tmp_path, world, "edge")
        monkeypatch.setattr(unconfirmed, "LOOK_SECONDS", 0.01)
        async with running(daemon) as service, asyncio.timeout(2):
            await _detach_failed(service, world)
            assert (await service.detach("edge", confirm=60)).state is State.DETACHED
            assert (await service.status()).confirm_seconds > 50

    asyncio.run(main())


def _fail(*_given: object, **_named: object) -> None:
    raise OSError(errno.EIO, "Input/output error")
