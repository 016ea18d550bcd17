"""An adopted program is remembered before it is pinned: whatever dies in between, it is not loaded anew."""

from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any, Never

import pytest

from tests.daemon.fake_world import FakeWorld, entry, prog, read_objects
from xdploaderd.daemon.execute import programs
from xdploaderd.daemon.execute.programs import OwnPrograms
from xdploaderd.daemon.state.core_logs import CoreLogs
from xdploaderd.daemon.state.known_kernel import KnownKernel
from xdploaderd.daemon.state.records import Records
from xdploaderd.obj.open import open_object
from xdploaderd.uapi.bpf import ProgId

OBJECT = Path(__file__).parents[1] / "bpf/xdp_count.bpf.o"


class KilledError(BaseException):
    """Stands for SIGKILL."""


class FatalPins:
    """Pins that the process dies at."""

    root = PurePosixPath("/pins/xdploaderd")

    def __init__(self) -> None:
        self.asked: list[str] = []

    def stage(self, name: str, *_rest: Any) -> Never:
        self.asked.append(name)
        raise KilledError


def test_record_of_an_adopted_program_is_on_disk_when_its_pin_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins: Any = FatalPins()
    bpf: Any = SimpleNamespace(prog_info=lambda _fd: prog(7), answers={})
    kernel = KnownKernel(bpf, tmp_path / "kernel", boot_id="boot")
    records = Records(tmp_path / "records", boot_id="boot")
    core_logs = CoreLogs(tmp_path / "core", boot_id="boot")
    own = OwnPrograms(kernel, pins, records, core_logs, read_objects(tmp_path), lambda: pytest.fail("no load"))
    prepared = SimpleNamespace(spec=open_object(OBJECT.read_bytes(), name="xdp_count.bpf.o"))
    monkeypatch.setattr(own, "prepared", lambda _config, _sha1: prepared)
    monkeypatch.setattr(programs, "trial_load", lambda *_given: prog(8))
    running: Any = SimpleNamespace(fileno=lambda: 3)
    with pytest.raises(KilledError):
        own.adopt(entry("edge", program="xdp_count"), FakeWorld("eth0").place("eth0"), prepared.spec.sha1, running)
    assert pins.asked == ["edge"]
    found = Records(tmp_path / "records", boot_id="boot").find("edge", ProgId(7))
    assert found is not None
    assert (found.sha1, found.program) == (prepared.spec.sha1, "xdp_count")
