"""What probes found out is kept for the daemons of this boot, and for no others."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.bpf import FakeBpf
from xdploaderd.daemon.state.known_kernel import KnownKernel
from xdploaderd.daemon.state.state_file import read_state, write_state
from xdploaderd.kernel.bpf import Answer, Bpf
from xdploaderd.kernel.probes import probe_features
from xdploaderd.uapi.bpf import Feature

FOUND = {Feature.TCX: Answer.YES, Feature.XDP_LINK: Answer.NO}


def known(path: Path, boot_id: str = "boot") -> KnownKernel:
    return KnownKernel(Bpf(FakeBpf()), path, boot_id=boot_id)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    first = known(tmp_path / "kernel")
    first.bpf.answers.update({**FOUND, Feature.BTF: Answer.UNKNOWN})
    first.keep()
    return tmp_path / "kernel"


def test_answers_are_there_at_the_next_start_and_what_was_not_told_is_asked_again(path: Path) -> None:
    assert known(path).bpf.answers == FOUND


def test_kernel_that_is_known_is_asked_nothing(tmp_path: Path) -> None:
    first = known(tmp_path / "kernel")
    features = probe_features(first.bpf)
    first.keep()
    fake = FakeBpf()
    second = KnownKernel(Bpf(fake), tmp_path / "kernel", boot_id="boot")
    assert probe_features(second.bpf) == features
    assert fake.calls == []


def changed(**values: object) -> Callable[[Path], None]:
    """Return what writes other values into the file, with a checksum that holds."""
    return lambda path: write_state(path, {**read_state(path, boot_id="boot"), **values}, boot_id="boot")


def with_another_letter(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"no"', b'"on"'))


def linked(path: Path) -> None:
    path.rename(path.with_name("other"))
    path.symlink_to(path.with_name("other"))


@pytest.mark.parametrize(
    "spoil",
    [
        changed(kernel="6.1.0-1 another x86_64"),
        changed(daemon="0.0"),
        changed(answers={"tcx": "perhaps"}),
        changed(answers={"no such feature": "yes"}),
        changed(answers=["tcx"]),
        with_another_letter,
        lambda path: path.write_bytes(b""),
        lambda path: path.chmod(0o640),
        lambda path: path.chmod(0o602),
        linked,
    ],
)
def test_file_that_is_not_this_kernel_s_or_not_ours_alone_is_not_believed(
    path: Path, spoil: Callable[[Path], object]
) -> None:
    spoil(path)
    assert known(path).bpf.answers == {}


def test_file_of_another_boot_is_not_believed(path: Path) -> None:
    assert known(path, "another").bpf.answers == {}


def test_file_of_another_user_is_not_believed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)
    assert known(path).bpf.answers == {}


def test_file_is_for_its_owner_alone_and_written_once(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.stat().st_ino
    known(path).keep()
    assert path.stat().st_ino == before
    assert json.loads(path.read_bytes().partition(b"\n")[2])["values"]["answers"] == FOUND


def test_directory_that_cannot_be_written_is_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    there = known(tmp_path / "none" / "kernel")
    there.bpf.answers.update(FOUND)
    there.keep()
    there.keep()
    assert caplog.text.count("not kept") == 1
