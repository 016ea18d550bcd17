"""Files of the state directory: a cache that may be torn, changed, unwritable or of another boot."""

import errno
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from xdploaderd.daemon.plan.world import Record
from xdploaderd.daemon.state import state_file
from xdploaderd.daemon.state.lock import state_lock
from xdploaderd.daemon.state.records import Held, Records
from xdploaderd.daemon.state.state_file import VERSION, read_boot_id, read_state, write_state
from xdploaderd.errors import FileError, LockedError
from xdploaderd.hooks import Hook
from xdploaderd.uapi.bpf import Ifindex, ProgId

BOOT = "boot-1"
RECORD = Record(attachment="edge", object="/lib/fw.o", sha1="a" * 40, program="main", hook=Hook.XDP, ifindex=3)


def make_records(path: Path) -> Records:
    records = Records(path, boot_id=BOOT)
    records.put(ProgId(7), RECORD)
    return records


def test_records_are_found_again(tmp_path: Path) -> None:
    make_records(tmp_path / "records").clsact_was_made(Ifindex(3))
    again = Records(tmp_path / "records", boot_id=BOOT)
    assert again.find("edge", ProgId(7)) == RECORD
    assert again.made_clsact(Ifindex(3))
    assert not again.made_clsact(Ifindex(4))
    again.keep_clsact_of({Ifindex(4)})
    assert not Records(tmp_path / "records", boot_id=BOOT).made_clsact(Ifindex(3))


def test_records_of_another_boot_are_void(tmp_path: Path) -> None:
    make_records(tmp_path / "records")
    assert Records(tmp_path / "records", boot_id="boot-2").find("edge", ProgId(7)) is None


def test_record_of_a_program_without_pin_is_forgotten(tmp_path: Path) -> None:
    make_records(tmp_path / "records").keep_only([])
    assert Records(tmp_path / "records", boot_id=BOOT).find("edge", ProgId(7)) is None


@pytest.mark.parametrize("old", [{}, {"waits": "before"}])
def test_f21_durable_file_whose_directory_cannot_be_synced_is_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: dict[str, str]
) -> None:
    path = tmp_path / "pending"
    if old:
        write_state(path, old, boot_id=BOOT, durable=True)

    def sync(_directory: Path) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(state_file, "sync_directory", sync)
    with pytest.raises(OSError, match="input/output"):
        write_state(path, {"waits": "now"}, boot_id=BOOT, durable=True)
    assert read_state(path, boot_id=BOOT) == old
    assert path.exists() is bool(old)


def test_file_cut_anywhere_counts_as_absent(tmp_path: Path) -> None:
    path = tmp_path / "records"
    make_records(path)
    whole = path.read_bytes()
    for size in range(0, len(whole), 5):
        path.write_bytes(whole[:size])
        assert read_state(path, boot_id=BOOT) == {}


def test_file_with_any_changed_byte_counts_as_absent(tmp_path: Path) -> None:
    path = tmp_path / "records"
    make_records(path)
    whole = path.read_bytes()
    for offset in range(0, len(whole), 5):
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 0x20]) + whole[offset + 1 :])
        assert read_state(path, boot_id=BOOT) == {}


@pytest.mark.parametrize("values", [{"programs": []}, {"programs": {"x": {}}}, {"programs": {"7": {"sha1": 5}}}])
def test_values_of_other_shape_count_as_absent(tmp_path: Path, values: dict[str, object]) -> None:
    write_state(tmp_path / "records", values, boot_id=BOOT)
    assert Records(tmp_path / "records", boot_id=BOOT).find("edge", ProgId(7)) is None


def test_unwritable_directory_keeps_records_in_memory_and_writes_later(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    records = make_records(directory / "records")  # there is no such directory
    assert records.find("edge", ProgId(7)) == RECORD
    directory.mkdir()
    records.keep_only([("edge", ProgId(7))])
    assert Records(directory / "records", boot_id=BOOT).find("edge", ProgId(7)) == RECORD


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "records"
    make_records(path)
    (tmp_path / "records.new").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_state(path, {}, boot_id=BOOT)
    assert json.loads(path.read_bytes().partition(b"\n")[2])["values"]["programs"]


def test_hold_lasts_until_release_or_reboot(tmp_path: Path) -> None:
    path = tmp_path / "held"
    Held(path, boot_id=BOOT).hold("edge")
    assert "edge" in Held(path, boot_id=BOOT)
    assert "edge" not in Held(path, boot_id="boot-2")
    Held(path, boot_id=BOOT).release("edge")
    assert "edge" not in Held(path, boot_id=BOOT)


def test_boot_id_is_read() -> None:
    assert len(read_boot_id()) == 36


def test_second_holder_is_told_the_pid_of_the_first(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with state_lock(lock):
        code = (
            "import sys; from pathlib import Path; from xdploaderd.daemon.state.lock import state_lock\n"
            "with state_lock(Path(sys.argv[1])): pass"
        )
        second = subprocess.run([sys.executable, "-c", code, lock], capture_output=True, text=True, check=False)
        assert second.returncode == 1
        assert f"is locked by process {os.getpid()}" in second.stderr
        with pytest.raises(LockedError, match=str(os.getpid())), state_lock(lock):
            pass
    with state_lock(lock):
        assert lock.read_text() == f"{os.getpid()}\n"


def test_lock_does_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "other")
    with pytest.raises(FileError), state_lock(tmp_path / "lock"):
        pass


@pytest.mark.parametrize("body", [b"[]", b"{}", b"nonsense", b'{"version": 1, "boot_id": "boot-1", "values": [1]}'])
def test_content_that_is_not_understood_is_not_used(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "records"
    path.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    assert read_state(path, boot_id=BOOT) == {}
    assert Records(path, boot_id=BOOT).find("edge", ProgId(7)) is None
    assert "edge" not in Held(path, boot_id=BOOT)


def test_file_of_a_newer_daemon_is_not_used_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "records"
    body = json.dumps({"version": VERSION + 1, "boot_id": BOOT, "values": {"programs": {}}}).encode()
    path.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    assert read_state(path, boot_id=BOOT) == {}
    assert f"is of version {VERSION + 1} and not used" in caplog.text


def test_records_of_an_older_daemon_are_found(tmp_path: Path) -> None:
    old = {name: value for name, value in RECORD.to_json().items() if name not in ("maps", "priority", "handle")}
    write_state(tmp_path / "records", {"programs": {"7": old}}, boot_id=BOOT)
    assert Records(tmp_path / "records", boot_id=BOOT).find("edge", ProgId(7)) == RECORD


def test_each_entry_of_a_shared_program_has_a_record_of_its_own(tmp_path: Path) -> None:
    other = replace(RECORD, attachment="other", ifindex=4)
    make_records(tmp_path / "records").put(ProgId(7), other)
    again = Records(tmp_path / "records", boot_id=BOOT)
    assert (again.find("edge", ProgId(7)), again.find("other", ProgId(7))) == (RECORD, other)
