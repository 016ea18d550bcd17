"""Entries through the API over a world in memory: kept, attached, undone, forgotten."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.fake_world import FakeWorld
from tests.daemon.test_service import Daemon, run, running
from xdploaderd.daemon.plan.status import Origin, State
from xdploaderd.daemon.service.requests import AttachRequest
from xdploaderd.daemon.service.service import Service
from xdploaderd.daemon.state.runtime_entries import RuntimeEntries
from xdploaderd.errors import (
    AttachError,
    ConfigError,
    FileError,
    HookBusyError,
    LimitError,
    UsageError,
)

ENTRY = {"interface": "eth0", "hook": "xdp", "program": "main"}


@contextmanager
def opened(path: Path, raw: bytes) -> Iterator[int]:
    path.write_bytes(raw)
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def by_path(daemon: Daemon, **fields: Any) -> AttachRequest:
    permanent = fields.pop("permanent", False)
    return AttachRequest(entry={**ENTRY, "object": str(daemon.object), **fields}, permanent=permanent)


def test_name_is_made_of_interface_and_hook_and_origin_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0", "Br_0.1"))
        async with running(daemon) as service:
            assert (await service.attach_object(by_path(daemon))).name == "eth0-xdp"
            status = await service.attach_object(by_path(daemon, interface="Br_0.1", hook="tc-egress", handle=3))
            assert (status.name, status.state, status.origin) == (
                "br-0-1-tc-egress-1-3",
                State.ATTACHED,
                Origin.RUNTIME,
            )

    run(main())


def test_failure_to_attach_brings_back_what_was_wanted_before(tmp_path: Path) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0"))
        async with running(daemon) as service:
            await service.attach_object(by_path(daemon))
            with opened(tmp_path / "new.o", b"two") as fd:
                daemon.world.failures.append(AttachError("no"))
                with pytest.raises(AttachError, match="no"):
                    await service.attach_object(AttachRequest(entry={**ENTRY, "object": "new.o"}, descriptor=fd))
            (status,) = await service.list()
            assert (status.state, status.object) == (State.ATTACHED, str(daemon.object))
            assert list(daemon.kept.glob("*")) == []
            assert list(daemon.world.hooks.values()) == [101]

    run(main())


def test_what_is_wanted_as_before_is_not_taken_back_from_others(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, FakeWorld("eth0"), "edge")
    before = daemon.wishes.checkpoint()
    (config,) = daemon.wishes.entries
    daemon.wishes.put(config, "b" * 40, permanent=True)
    daemon.wishes.restore(before)
    assert [want.retake for want in daemon.wishes.wanted()] == [False]


def test_entry_that_was_never_attached_is_not_kept(tmp_path: Path) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0"))
        daemon.world.hooks[daemon.world.place("eth0")] = 7
        async with running(daemon) as service:
            for permanent in (False, True):
                with pytest.raises(HookBusyError):
                    await service.attach_object(by_path(daemon, permanent=permanent))
                assert await service.list() == ()
            assert RuntimeEntries(tmp_path / "runtime", boot_id="boot").all() == ()
            assert list(daemon.conf_d.iterdir()) == []

    run(main())


def test_interface_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld())
        async with running(daemon) as service:
            assert (await service.attach_object(by_path(daemon))).state is State.WAITING
        kept = RuntimeEntries(tmp_path / "runtime", boot_id="boot").all()
        assert [config.name for config in kept] == ["eth0-xdp"]
        assert RuntimeEntries(tmp_path / "runtime", boot_id="other").all() == ()

    run(main())


def test_object_of_a_descriptor_is_copied_under_its_name_and_swept(tmp_path: Path) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0"))
        async with running(daemon) as service:
            for raw in (b"one", b"two"):
                with opened(tmp_path / "x", raw) as fd:
                    os.lseek(fd, 2, os.SEEK_SET)
                    entry = {**ENTRY, "object": "../../etc/fw.o"}
                    status = await service.attach_object(AttachRequest(entry=entry, descriptor=fd))
                (path,) = daemon.kept.glob("*/*")
                assert (path.name, path.read_bytes(), str(path)) == ("fw.o", raw, status.object)
            await service.detach("eth0-xdp")
            assert list(daemon.kept.glob("*")) == []
            assert await service.list() == ()

    run(main())


def test_nothing_is_remembered_of_an_entry_once_its_pins_are_gone(tmp_path: Path) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0"))
        async with running(daemon) as service:
            await service.attach_object(by_path(daemon, name="first"))
            daemon.wishes.drop("first")
            assert daemon.wishes.ended() == {"first"}
            await daemon.reconciler.settled()
            assert not daemon.world.owned
            assert daemon.wishes.ended() == set()

    run(main())


@pytest.mark.parametrize("name", ["..", "", "/", "\x1b[2J", "x" * 300, ".new", "a\nb"])
def test_name_of_an_object_that_cannot_be_a_file_s_is_not_taken(tmp_path: Path, name: str) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0"))
        async with running(daemon) as service:
            with opened(tmp_path / "x", b"one") as fd:
                await service.attach_object(AttachRequest(entry={**ENTRY, "object": name}, descriptor=fd))
            (path,) = daemon.kept.glob("*/*")
            assert path.name == "object.o"

    run(main())


def test_object_larger_than_the_limit_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0"))
        async with running(daemon) as service:
            with opened(tmp_path / "x", b"") as fd:
                os.truncate(tmp_path / "x", (16 << 20) + 1)
                with pytest.raises(LimitError, match="16777216"):
                    await service.attach_object(AttachRequest(entry=ENTRY, descriptor=fd))

    run(main())


def test_permanent_entry_is_written_and_read_back_as_it_was(tmp_path: Path) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0"))
        async with running(daemon) as service:
            values = {"globals": {"k": "no", "text": 'a "b" ü'}, "max_entries": {"m": 5}, "mode": "native"}
            status = await service.attach_object(by_path(daemon, permanent=True, name="edge", **values))
            assert status.origin is Origin.PERMANENT
            (file,) = daemon.conf_d.iterdir()
            assert (file.name, file.stat().st_mode & 0o777) == ("50-edge.yaml", 0o644)
            (config,) = daemon.wishes.entries
            assert dict(config.globals) == values["globals"]
            await service.detach("edge")
            assert file.exists()
            await service.detach("edge", permanent=True)
            assert (list(daemon.conf_d.iterdir()), await service.list()) == ([], ())

    run(main())


def test_file_of_the_administrator_is_not_overwritten(tmp_path: Path) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0"))
        daemon.conf_d.mkdir()
        (daemon.conf_d / "50-edge.yaml").write_text("attachments: []\n")
        async with running(daemon) as service:
            with pytest.raises(UsageError, match="is not the daemon's"):
                await service.attach_object(by_path(daemon, permanent=True, name="edge"))
        assert (daemon.conf_d / "50-edge.yaml").read_text() == "attachments: []\n"

    run(main())


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"hok": "xdp"}, "entry: hok: unknown key 'hok', did you mean 'hook'"),
        ({"hook": "xpd"}, "entry: hook: 'xpd' is not one of"),
        ({"hook": "tc-ingress", "priority": 0}, "entry: priority: want a number from 1"),
        ({"hook": "tc-ingress", "priority": "7"}, "not a word in quotes"),
        ({"interface": 1.5}, "neither text, number"),
        ({"name": "Bad"}, "'Bad' is not a name"),
    ],
)
def test_key_that_the_file_could_not_have_is_refused_alike(tmp_path: Path, fields: dict[str, Any], text: str) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0"))
        async with running(daemon) as service:
            with pytest.raises(ConfigError) as caught:
                await service.attach_object(by_path(daemon, **fields))
            assert text in str(caught.value)

    run(main())


def test_object_that_is_not_named_or_not_there_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(Daemon(tmp_path, FakeWorld("eth0"))) as service:
            with pytest.raises(UsageError, match="needs its object"):
                await service.attach_object(AttachRequest(entry=ENTRY))
            with pytest.raises(FileError):
                await service.attach_object(AttachRequest(entry={**ENTRY, "object": "/nowhere.o"}))

    run(main())


def test_configuration_that_claims_the_place_ends_a_runtime_entry(tmp_path: Path) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0"))
        async with running(daemon) as service:
            await service.attach_object(by_path(daemon, name="mine"))
            daemon.settings = daemon.make_settings("edge")
            assert [action.action for action in await service.plan()] == ["replace"]
            status = await service.reload()
            assert [(a.name, a.state) for a in status.attachments] == [("edge", State.ATTACHED)]
            assert set(daemon.world.owned) == {"edge"}

    run(main())


def test_permanent_object_goes_with_its_entry_and_not_with_a_file_that_is_missing(tmp_path: Path) -> None:
    async def main() -> None:
        daemon = Daemon(tmp_path, FakeWorld("eth0"))
        kept = tmp_path / "for-good"
        async with running(daemon) as service:
            with opened(tmp_path / "x", b"one") as fd:
                request = AttachRequest(entry={**ENTRY, "object": "fw.o"}, descriptor=fd, permanent=True)
                await service.attach_object(request)
            other = kept / ("0" * 64) / "other.o"
            other.parent.mkdir()
            other.write_bytes(b"of an entry that is switched off")
            await service.reload()  # the files of this test's configuration do not have the entry
            assert len(list(kept.glob("*/*"))) == 2
            with opened(tmp_path / "y", b"two") as fd:
                await service.attach_object(replace(request, descriptor=fd))
            await service.detach("eth0-xdp", permanent=True)
            assert sorted(path.name for path in kept.glob("*/*")) == ["fw.o", "other.o"]

    run(main())


@pytest.mark.parametrize("change", ["detach", "attach"])
def test_old_programs_are_pinned_once_more_while_no_pass_renames_or_removes_them(tmp_path: Path, change: str) -> None:
    class World(FakeWorld):
        kept = 0

        def keep(self) -> None:
            self.kept += 1

    async def main() -> None:
        world = World("eth0", "eth1")
        daemon = Daemon(tmp_path, world, "edge")
        async with running(daemon) as service:
            async with daemon.reconciler.writing:
                request = asyncio.create_task(_on_trial(service, daemon, change))
                await asyncio.sleep(0.05)
                assert (world.kept, request.done()) == (0, False)
            await request
            assert world.kept == 1

    run(main())


async def _on_trial(service: Service, daemon: Daemon, change: str) -> None:
    if change == "detach":
        await service.detach("edge", confirm=60)
    else:
        await service.attach_object(replace(by_path(daemon, interface="eth1"), confirm=60))
