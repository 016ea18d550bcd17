"""Directories and pins on a real BPF file system, with owners and links as an attacker would make them."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from tests.builders.prepared import map_spec
from xdploaderd.errors import PinError
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.bpffs import (
    check_pin_path,
    is_bpffs,
    is_bpffs_root,
    make_pin_dir,
    pins_under,
    remove_dirs,
    unpin,
)

pytestmark = pytest.mark.kernel
ROOT = PurePosixPath("/sys/fs/bpf")
TOP = ROOT / "top"
NOBODY = 65534


@pytest.fixture
def top() -> Iterator[Path]:
    path = Path(TOP)
    path.mkdir(mode=0o700)
    yield path
    for parent, dirs, files in os.walk(path, topdown=False):
        for name in files:
            (Path(parent) / name).unlink()
        for name in dirs:
            entry = Path(parent) / name
            entry.unlink() if entry.is_symlink() else entry.rmdir()
    path.rmdir()


def test_file_system_is_told_by_its_magic(tmp_path: Path) -> None:
    assert is_bpffs(ROOT)
    assert is_bpffs_root(ROOT)
    assert not is_bpffs(PurePosixPath(tmp_path))
    assert not is_bpffs(ROOT / "missing")


@pytest.mark.usefixtures("top")
@pytest.mark.parametrize("mask", [0, 0o777])
def test_every_level_is_made_0700_and_named(mask: int) -> None:
    umask = os.umask(mask)
    try:
        made = make_pin_dir(TOP / "a/b/c")
    finally:
        os.umask(umask)
    assert made == (TOP / "a", TOP / "a/b", TOP / "a/b/c")
    assert {Path(path).stat().st_mode & 0o7777 for path in made} == {0o700}
    assert make_pin_dir(TOP / "a/b/c") == ()
    remove_dirs(made)
    assert not list(Path(TOP).iterdir())


def test_directory_of_a_foreigner_is_refused(top: Path) -> None:
    (top / "theirs").mkdir()
    os.chown(top / "theirs", NOBODY, NOBODY)
    with pytest.raises(PinError, match="belongs to user 65534"):
        make_pin_dir(TOP / "theirs/x")
    assert not list((top / "theirs").iterdir())


def test_link_of_a_foreigner_is_refused_and_one_of_root_followed(top: Path) -> None:
    (top / "real").mkdir(mode=0o700)
    (top / "link").symlink_to(top / "real")
    assert make_pin_dir(TOP / "link/x") == (TOP / "link/x",)
    assert (top / "real/x").is_dir()
    os.lchown(top / "link", NOBODY, NOBODY)
    with pytest.raises(PinError, match="link' belongs to user 65534"):
        make_pin_dir(TOP / "link/y")


def test_link_out_of_the_file_system_is_refused(top: Path, tmp_path: Path) -> None:
    (top / "out").symlink_to(tmp_path)
    with pytest.raises(PinError, match="does not lie on a BPF file system"):
        make_pin_dir(TOP / "out/x")
    (top / "nowhere").symlink_to(tmp_path / "missing")
    with pytest.raises(PinError):
        make_pin_dir(TOP / "nowhere/x")
    assert not list(tmp_path.iterdir())


def test_directory_that_others_can_write_is_refused_unless_sticky(top: Path) -> None:
    (top / "open").mkdir()
    (top / "open").chmod(0o777)
    with pytest.raises(PinError, match="written by others"):
        make_pin_dir(TOP / "open/x")
    (top / "open").chmod(0o1777)
    assert make_pin_dir(TOP / "open/x") == (TOP / "open/x",)


def test_pin_in_the_way_is_refused_and_nothing_is_left(top: Path) -> None:
    bpf = Bpf()
    with bpf.map_create(map_spec()) as fd:
        bpf.obj_pin(fd, TOP / "pin")
    with pytest.raises(PinError, match="is no directory"):
        make_pin_dir(TOP / "pin/x")
    (top / "new").mkdir()
    with pytest.raises(PinError, match="with a dot"):
        make_pin_dir(TOP / "new/a/b.c")
    assert not list((top / "new").iterdir())


def test_pins_are_listed_and_removed_and_nothing_else_is(top: Path, tmp_path: Path) -> None:
    bpf = Bpf()
    make_pin_dir(TOP / "a")
    with bpf.map_create(map_spec()) as fd:
        bpf.obj_pin(fd, TOP / "a/one")
        bpf.obj_pin(fd, TOP / "two")
    (top / "link").symlink_to(tmp_path)
    assert list(pins_under(TOP)) == [TOP / "a/one", TOP / "two"]
    assert list(pins_under(TOP / "missing")) == []
    assert unpin(TOP / "two")
    assert not unpin(TOP / "two")
    for other in (TOP / "link", TOP / "a"):
        with pytest.raises(PinError, match="is no pin"):
            unpin(other)
    (tmp_path / "file").touch()
    with pytest.raises(PinError, match="is no pin"):
        unpin(PurePosixPath(tmp_path / "file"))


def test_path_that_a_foreigner_controls_is_refused_before_anything_is_opened(top: Path) -> None:
    check_pin_path(TOP / "missing/x")
    assert not list(top.iterdir())
    (top / "link").symlink_to(ROOT)
    check_pin_path(TOP / "link")
    os.lchown(top / "link", NOBODY, NOBODY)
    with pytest.raises(PinError, match="link' belongs to user 65534"):
        check_pin_path(TOP / "link")
    (top / "theirs").mkdir()
    os.chown(top / "theirs", NOBODY, NOBODY)
    with pytest.raises(PinError, match="theirs' belongs to user 65534"):
        check_pin_path(TOP / "theirs/x")


def test_directory_whose_mode_cannot_be_set_does_not_stay(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object, _mode: int) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    monkeypatch.setattr(os, "chmod", refuse)
    with pytest.raises(PinError, match="operation not permitted"):
        make_pin_dir(TOP / "a" / "b")
    assert not (top / "a").exists()
