"""What front-ends get from the Service, over a world in memory."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from tests.daemon.fake_world import FakeWorld, entry, read_objects
from xdploaderd.config.interface_match import Match
from xdploaderd.config.pinning import PinningConf
from xdploaderd.daemon.apply.applying import Applier
from xdploaderd.daemon.apply.confirming import Confirming
from xdploaderd.daemon.apply.request_trial import RequestTrial
from xdploaderd.daemon.apply.trial import Trial
from xdploaderd.daemon.execute.adopting import Adopter
from xdploaderd.daemon.loop.reconcile import Reconciler
from xdploaderd.daemon.plan.status import State
from xdploaderd.daemon.service.requests import Requests, Stores
from xdploaderd.daemon.service.service import Service
from xdploaderd.daemon.state.core_logs import CoreLogs
from xdploaderd.daemon.state.drop_ins import DropIns
from xdploaderd.daemon.state.kept_objects import KeptObjects
from xdploaderd.daemon.state.records import Held
from xdploaderd.daemon.state.runtime_entries import RuntimeEntries
from xdploaderd.daemon.wanted.settings import ConfigSource
from xdploaderd.daemon.wanted.wishes import Settings, Wishes
from xdploaderd.errors import AttachError, ConfigError, FileError, HookBusyError, NoSuchAttachmentError


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 5))


class Daemon:
    """A Service over a FakeWorld with a configuration that the test changes."""

    def __init__(self, tmp_path: Path, world: FakeWorld, *names: str) -> None:
        self.object = tmp_path / "fw.o"
        self.object.write_bytes(b"one")
        self.world = world
        self.settings: Settings | ConfigError = self.make_settings(*names)
        self.held = Held(tmp_path / "held", boot_id="boot")
        runtime = RuntimeEntries(tmp_path / "runtime", boot_id="boot")
        self.objects = read_objects(tmp_path)
        digests = self.objects.read_at_start((*self.read().attachments, *runtime.all()))
        self.wishes = Wishes(self.read(), digests, self.held, runtime, self.objects.read_first)
        self.reconciler = Reconciler(self.wishes, world, world)
        self.conf_d = tmp_path / "conf.d"
        self.kept = tmp_path / "objects"
        objects = KeptObjects(self.kept, durable=False), KeptObjects(tmp_path / "for-good", durable=True)
        stores = Stores(*objects, DropIns(self.conf_d), self.objects)
        adopter = Adopter(world, world)  # type: ignore[arg-type]  # tests that adopt have another
        self.applier = Applier(self.reconciler, self.wishes, world, world, world)
        self.requests = Requests(self.reconciler, self.wishes, stores, adopter, self.applier)
        self.confirming = Confirming(tmp_path / "data", self.objects, boot_id="boot")
        request = RequestTrial(tmp_path / "trial", self.wishes, world, boot_id="boot")
        self.trial = Trial(self.applier, self.wishes, self.confirming, world, request)
        self.core_logs = CoreLogs(tmp_path / "core", boot_id="boot")
        source = ConfigSource(read=self.read, objects=self.objects.read_all, config=Path("/etc/x.yaml"))
        self.service = Service(self.reconciler, self.wishes, self.requests, self.trial, source, self.core_logs)

    def make_settings(self, *names: str) -> Settings:
        """Return settings with one XDP entry for each name, on the interface eth0, eth1, ..."""
        entries = [
            entry(name, f"eth{number}", object=PurePosixPath(self.object), force=name.startswith("force"))
            for number, name in enumerate(names)
        ]
        return Settings(tuple(entries), PinningConf(sources=("/etc/p.conf", "/etc/p.conf.d/1.conf")))

    def read(self) -> Settings:
        """Stand for the reader of the configuration files."""
        if isinstance(self.settings, ConfigError):
            raise self.settings
        return self.settings


@asynccontextmanager
async def running(daemon: Daemon) -> AsyncIterator[Service]:
    task = asyncio.create_task(daemon.reconciler.run())
    try:
        await daemon.reconciler.settled()
        yield daemon.service
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def test_status_names_each_entry_and_is_degraded_by_one_that_waits(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(Daemon(tmp_path, FakeWorld("eth0"), "edge", "later")) as service:
            status = await service.status()
        assert [(a.name, a.state) for a in status.attachments] == [("edge", State.ATTACHED), ("later", State.WAITING)]
        assert status.degraded
        assert status.attachments[0].prog_id == 101
        assert len(status.attachments[0].object_sha1) == 40
        assert "eth1" in status.attachments[1].reason

    run(main())


def test_all_as_wanted_is_not_degraded(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(Daemon(tmp_path, FakeWorld("eth0"), "edge")) as service:
            assert not (await service.status()).degraded

    run(main())


def test_nothing_is_called_as_wanted_before_the_first_pass(tmp_path: Path) -> None:
    async def main() -> None:
        status = await Daemon(tmp_path, FakeWorld("eth0"), "edge").service.status()
        assert [a.state for a in status.attachments] == [State.WAITING]
        assert status.degraded

    run(main())


def test_status_names_the_files_of_pinning_that_were_read(tmp_path: Path) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0"), "edge")
        assert (await daemon.service.status()).pinning == "/etc/p.conf, /etc/p.conf.d/1.conf"

    run(main())


def test_detach_holds_over_reload_until_attach(tmp_path: Path) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0"), "edge")
        async with running(daemon) as service:
            assert (await service.detach("edge")).state is State.DETACHED
            assert not (await service.reload()).degraded
            assert daemon.world.hooks == {}
            assert "edge" in Held(tmp_path / "held", boot_id="boot")
            assert (await service.attach("edge")).state is State.ATTACHED
            assert len(daemon.world.hooks) == 1

    run(main())


def test_unknown_name_is_refused_and_the_known_ones_are_told(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(Daemon(tmp_path, FakeWorld("eth0"), "edge")) as service:
            with pytest.raises(NoSuchAttachmentError, match="'edge'"):
                await service.attach("nope")
            with pytest.raises(NoSuchAttachmentError):
                await service.detach("nope")

    run(main())


def test_attach_raises_what_keeps_the_entry_from_it(tmp_path: Path) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0"), "edge")
        daemon.world.hooks[daemon.world.place("eth0")] = 55
        async with running(daemon) as service:
            assert (await service.list())[0].state is State.FOREIGN
            with pytest.raises(HookBusyError) as busy:
                await service.attach("edge")
            assert busy.value.prog_id == 55
            daemon.world.hooks.clear()
            daemon.world.failures = [AttachError("no memory")]
            with pytest.raises(AttachError, match="attachment 'edge': no memory"):
                await service.attach("edge")
            assert (await service.attach("edge")).state is State.ATTACHED

    run(main())


def test_request_for_a_glob_entry_tries_again_what_failed_on_one_interface(tmp_path: Path) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0", "eth1"))
        every = entry("all", "", object=PurePosixPath(daemon.object), match=Match(name="eth*"))
        daemon.settings = Settings((every,), PinningConf())
        async with running(daemon) as service:
            await service.reload()
            for asked in ("all", "all@eth1"):
                daemon.world.failures = [AttachError("no memory")]
                with pytest.raises(AttachError, match="no memory"):
                    await service.detach(asked)
                assert (await service.detach(asked)).state is State.DETACHED
                await service.attach(asked)

    run(main())


def test_reload_replaces_what_changed_and_only_that(tmp_path: Path) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0", "eth1"), "edge", "core")
        async with running(daemon) as service:
            await service.reload()
            assert len(daemon.world.done) == 2
            daemon.object.write_bytes(b"two")
            assert len(await service.plan()) == 2
            assert len(daemon.world.done) == 2
            await service.reload()
            assert [type(a).__name__ for a in daemon.world.done[2:]] == ["Replace", "Replace"]

    run(main())


def test_changed_object_is_not_read_on_a_poke(tmp_path: Path) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0"), "edge")
        async with running(daemon):
            daemon.object.write_bytes(b"two")
            await daemon.reconciler.settled()
            assert len(daemon.world.done) == 1

    run(main())


def test_bad_configuration_keeps_the_last_good_one_and_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0"), "edge")
        async with running(daemon) as service:
            good, daemon.settings = daemon.settings, ConfigError("x.yaml:3:1: unknown key")
            with pytest.raises(ConfigError):
                await service.reload()
            with pytest.raises(ConfigError):
                await service.plan()
            status = await service.status()
            assert (status.degraded, status.config_error) == (True, "x.yaml:3:1: unknown key")
            assert status.attachments[0].state is State.ATTACHED
            daemon.settings = good
            assert not (await service.reload()).degraded

    run(main())


def test_changed_pinning_root_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0"), "edge")
        async with running(daemon) as service:
            moved = replace(PinningConf(), root=PurePosixPath("/run/bpf"))
            daemon.settings = Settings(daemon.read().attachments, moved)
            with pytest.raises(ConfigError, match="/run/bpf"):
                await service.reload()

    run(main())


def test_entry_without_object_file_fails_alone_and_comes_when_the_file_does(tmp_path: Path) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0"), "edge")
        daemon.object.unlink()
        async with running(daemon) as service:
            with pytest.raises(FileError):
                await service.reload()
            await service.reload(partial=True)
            found = (await service.list())[0]
            assert (found.state, found.error_code) == (State.FAILED, FileError.code)
            assert 0 < found.retry_at - time.monotonic() < 32
            daemon.object.write_bytes(b"three")
            assert (await service.attach("edge")).state is State.ATTACHED

    run(main())


def test_removed_entry_is_planned_and_detached(tmp_path: Path) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0"), "edge")
        async with running(daemon) as service:
            daemon.settings = daemon.make_settings()
            (planned,) = await service.plan()
            assert (planned.action, planned.name, planned.interface) == ("detach", "edge", "eth0")
            assert (await service.reload()).attachments == ()
            assert daemon.world.hooks == {}

    run(main())


def test_each_change_is_told_once_to_each_subscriber(tmp_path: Path) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0"), "edge")
        async with running(daemon) as service, aclosing(service.changes()) as changes:
            first = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(0)
            await service.reload()  # changes nothing
            await service.detach("edge")
            assert (await first).state is State.DETACHED
            await service.attach("edge")
            assert (await anext(changes)).state is State.ATTACHED

    run(main())


def test_next_change_tells_of_a_removed_entry_too(tmp_path: Path) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0"), "edge")
        async with running(daemon) as service:
            assert len((await service.next_change()).attachments) == 1
            daemon.settings = daemon.make_settings()
            await service.reload()
            assert (await service.next_change()).attachments == ()

    run(main())


def test_each_request_is_recorded_with_how_all_stood_before_and_after(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0"), "edge")
        async with running(daemon) as service:
            await service.detach("edge")
            with pytest.raises(NoSuchAttachmentError):
                await service.attach("nobody")

    run(main())
    records = [vars(record) for record in caplog.records if record.getMessage().startswith("audit:")]
    done, failed = records
    assert (done["AUDIT_VERB"], done["AFTER"]) == ("detach", "detached")
    assert done["BEFORE"] == "attached with program 101 (eth0, native)"
    assert len(done["OBJECT_SHA1"]) == 40
    assert (done["TRANSPORT"], done["CALLER_UID"], done["RESULT"]) == ("signal", 0, "done")
    assert (failed["AUDIT_VERB"], failed["BEFORE"]) == ("attach", "")
    assert "no attachment named 'nobody'" in failed["RESULT"]


def test_reload_is_recorded_as_a_whole_and_for_each_attachment_that_it_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0", "eth1"), "edge", "other")
        async with running(daemon) as service:
            caplog.set_level("INFO")
            daemon.settings = daemon.make_settings("edge", "later")
            await service.reload()

    run(main())
    records = [vars(record) for record in caplog.records if record.getMessage().startswith("audit:")]
    assert {record["AUDIT_VERB"] for record in records} == {"reload"}
    assert {record["ATTACHMENT"] for record in records} == {"", "other", "later"}
    assert records[-1]["ATTACHMENT"] == ""
    gone = next(record for record in records if record["ATTACHMENT"] == "other")
    assert gone["AFTER"] == ""


def test_failed_attachment_tells_when_it_is_tried_again(tmp_path: Path) -> None:
    async def main() -> None:
        world = FakeWorld("eth0")
        world.failures = [AttachError("busy")] * 9
        async with running(Daemon(tmp_path, world, "edge")) as service:
            (status,) = await service.list()
            assert status.state is State.FAILED
            assert 0 < status.retry_at - time.monotonic() < 3
            world.failures.clear()
            assert (await service.attach("edge")).retry_at == 0

    run(main())
