"""CoreLogs: records outlive the daemon, go with their programs, and never stand in the way of a load."""

import json
from pathlib import Path

import pytest

from tests.support.loading import OBJECTS
from xdploaderd.daemon.state import core_logs
from xdploaderd.daemon.state.core_logs import CoreLogs
from xdploaderd.errors import NoCoreLogError
from xdploaderd.kernel.known import target_from_file
from xdploaderd.obj.core_record import core_log
from xdploaderd.obj.open import open_object
from xdploaderd.obj.prepare import prepare
from xdploaderd.obj.spec import PreparedObject
from xdploaderd.uapi.bpf import ProgId

SEVEN, EIGHT = ProgId(7), ProgId(8)
CORE = OBJECTS / "core"


@pytest.fixture(scope="module")
def prepared() -> PreparedObject:
    obj = open_object((CORE / "fields.local.o").read_bytes(), name="fields.local.o")
    return prepare(obj, target_from_file(CORE / "fields.target.o"))


def logs_in(directory: Path, *, boot_id: str = "boot") -> CoreLogs:
    return CoreLogs(directory / "core", boot_id=boot_id)


def test_record_is_found_after_a_restart_and_not_after_a_reboot(tmp_path: Path, prepared: PreparedObject) -> None:
    logs_in(tmp_path).put(SEVEN, prepared)
    assert logs_in(tmp_path).find(SEVEN) == json.loads(json.dumps(core_log(prepared.spec, prepared.core_log)))
    with pytest.raises(NoCoreLogError, match="of program 7"):
        logs_in(tmp_path, boot_id="next").find(SEVEN)


def test_record_goes_with_its_program_also_after_a_restart(tmp_path: Path, prepared: PreparedObject) -> None:
    first = logs_in(tmp_path)
    for prog_id in (SEVEN, EIGHT):
        first.put(prog_id, prepared)
    logs_in(tmp_path).keep_only([EIGHT])
    assert [path.name for path in (tmp_path / "core").iterdir()] == ["8"]


def test_program_that_was_not_loaded_here_has_none(tmp_path: Path) -> None:
    with pytest.raises(NoCoreLogError, match="adopted"):
        logs_in(tmp_path).find(SEVEN)


def test_too_large_record_is_told_of_and_not_kept(
    tmp_path: Path, prepared: PreparedObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_logs, "MAX_BYTES", 100)
    logs_in(tmp_path).put(SEVEN, prepared)
    with pytest.raises(NoCoreLogError, match="at most 100 are kept"):
        logs_in(tmp_path).find(SEVEN)


def test_all_records_together_are_bounded(
    tmp_path: Path, prepared: PreparedObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(json.dumps(core_log(prepared.spec, prepared.core_log)))
    monkeypatch.setattr(core_logs, "MAX_BYTES_OF_ALL", 2 * size - 1)
    logs = logs_in(tmp_path)
    logs.put(SEVEN, prepared)
    logs.put(EIGHT, prepared)
    assert logs.find(SEVEN)
    with pytest.raises(NoCoreLogError, match=f"at most {size - 1} are kept"):
        logs.find(EIGHT)
    logs.keep_only([EIGHT])
    logs.put(EIGHT, prepared)
    assert logs.find(EIGHT)


def test_directory_that_cannot_be_made_costs_the_record_alone(
    tmp_path: Path, prepared: PreparedObject, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "core").write_text("a file")
    logs = logs_in(tmp_path)
    caplog.clear()
    for prog_id in (SEVEN, EIGHT):
        logs.put(prog_id, prepared)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    with pytest.raises(NoCoreLogError):
        logs.find(SEVEN)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"core_log": 5}', b"\xff"])
def test_damaged_file_counts_as_no_record(tmp_path: Path, prepared: PreparedObject, content: bytes) -> None:
    logs = logs_in(tmp_path)
    logs.put(SEVEN, prepared)
    (tmp_path / "core/7").write_bytes(content)
    with pytest.raises(NoCoreLogError):
        logs.find(SEVEN)


def test_half_written_file_of_a_crash_is_removed(tmp_path: Path, prepared: PreparedObject) -> None:
    logs_in(tmp_path).put(SEVEN, prepared)
    (tmp_path / "core/8.new").write_bytes(b"half")
    logs_in(tmp_path)
    assert [path.name for path in (tmp_path / "core").iterdir()] == ["7"]
