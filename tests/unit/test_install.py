"""install-system writes what a system needs, remembers it, and removes just that."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.tools import tool
from xdploaderd.errors import FileError
from xdploaderd.install import FILES, LINKS, RECORD, install_system, main, uninstall_system

BINDIR = Path("/opt/xdploaderd/bin")
CONFIG = "etc/libbpf/pinning.conf.example"
UNIT = "usr/local/lib/systemd/system/xdploaderd.service"


def _ignore(_line: str) -> None:
    pass


def _tree(root: Path) -> set[str]:
    return {str(p.relative_to(root)) for p in root.rglob("*")}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    install_system(tmp_path, bindir=BINDIR, say=_ignore)
    return tmp_path


def test_every_file_is_written_and_recorded(root: Path) -> None:
    assert all((root / name).is_file() for name in FILES)
    assert set(json.loads((root / RECORD).read_text())["files"]) == {*FILES, *LINKS}


def test_unit_starts_the_installed_command(root: Path) -> None:
    text = (root / UNIT).read_text()
    assert "ExecStart=/opt/xdploaderd/bin/xdploaderd\n" in text
    assert "@" not in text.replace("@system-service", "")


def test_unit_lets_old_kernels_lock_memory_for_maps(root: Path) -> None:
    assert "LimitMEMLOCK=infinity" in (root / UNIT).read_text().splitlines()


def test_commands_are_linked_into_the_path(root: Path) -> None:
    assert (root / "usr/local/bin/xdploaderctl").readlink() == BINDIR / "xdploaderctl"


def test_links_for_ip_and_tc_are_made_when_asked_for_and_go_again(tmp_path: Path) -> None:
    install_system(tmp_path, bindir=BINDIR, say=_ignore)
    assert not (tmp_path / "usr/local/sbin/ip").is_symlink()
    install_system(tmp_path, bindir=BINDIR, say=_ignore, iproute2=True)
    assert (tmp_path / "usr/local/sbin/ip").readlink() == BINDIR / "xdploaderctl"
    assert (tmp_path / "usr/local/sbin/tc").readlink() == BINDIR / "xdploaderctl"
    install_system(tmp_path, bindir=BINDIR, say=_ignore)
    assert (tmp_path / "usr/local/sbin/ip").is_symlink()
    uninstall_system(tmp_path, say=_ignore)
    assert _tree(tmp_path) == set()


def test_a_file_in_the_place_of_a_link_is_kept(tmp_path: Path) -> None:
    mine = tmp_path / "usr/local/sbin/ip"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    install_system(tmp_path, bindir=BINDIR, say=_ignore, iproute2=True)
    assert mine.read_text() == "mine"


def test_uninstall_leaves_nothing(root: Path) -> None:
    uninstall_system(root, say=_ignore)
    assert _tree(root) == set()


def test_uninstall_leaves_folders_that_others_use(root: Path) -> None:
    mine = root / "etc/xdploaderd/xdploaderd.yaml"
    mine.write_text("attachments: []\n")
    uninstall_system(root, say=_ignore)
    assert _tree(root) == {"etc", "etc/xdploaderd", "etc/xdploaderd/xdploaderd.yaml"}


def test_folders_that_were_there_before_stay(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    install_system(tmp_path, bindir=BINDIR, say=_ignore)
    uninstall_system(tmp_path, say=_ignore)
    assert _tree(tmp_path) == {"etc"}


def test_changed_file_is_neither_overwritten_nor_removed(root: Path) -> None:
    (root / CONFIG).write_text("root /mine\n")
    said: list[str] = []
    install_system(root, bindir=BINDIR, say=said.append)
    assert f"kept {root / CONFIG}: it is not as installed before" in said
    uninstall_system(root, say=_ignore)
    assert (root / CONFIG).read_text() == "root /mine\n"


def test_file_of_somebody_else_is_kept_and_not_recorded(tmp_path: Path) -> None:
    other = tmp_path / CONFIG
    other.parent.mkdir(parents=True)
    other.write_text("root /mine\n")
    install_system(tmp_path, bindir=BINDIR, say=_ignore)
    assert CONFIG not in json.loads((tmp_path / RECORD).read_text())["files"]
    uninstall_system(tmp_path, say=_ignore)
    assert other.read_text() == "root /mine\n"


def test_new_version_replaces_what_the_old_one_wrote(root: Path) -> None:
    install_system(root, bindir=Path("/srv/bin"), say=_ignore)
    assert "ExecStart=/srv/bin/xdploaderd\n" in (root / UNIT).read_text()
    uninstall_system(root, say=_ignore)
    assert _tree(root) == set()


def test_file_that_cannot_be_written_is_a_typed_error_and_the_rest_is_recorded(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("not a folder")
    with pytest.raises(FileError, match="etc"):
        install_system(tmp_path, bindir=BINDIR, say=_ignore)
    uninstall_system(tmp_path, say=_ignore)
    assert _tree(tmp_path) == {"etc"}


def test_damaged_record_is_refused(root: Path) -> None:
    (root / RECORD).write_text("{")
    with pytest.raises(FileError, match="damaged"):
        uninstall_system(root, say=_ignore)


def test_command_takes_a_root(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["install-system", "--root", str(tmp_path)]) == 0
    assert main(["uninstall-system", "--root", str(tmp_path)]) == 0
    assert _tree(tmp_path) == set()
    assert f"removed {tmp_path / UNIT}" in capsys.readouterr().out


def test_systemd_has_nothing_to_say_about_the_units(tmp_path: Path) -> None:
    bindir = tmp_path / "bin"
    bindir.mkdir()
    for name in LINKS.values():
        (bindir / name).write_text("#!/bin/sh\n")
        (bindir / name).chmod(0o755)
    install_system(tmp_path, bindir=bindir, say=_ignore)
    units = [tmp_path / name for name in FILES if name.endswith((".service", ".socket"))]
    verify = [str(tool("systemd-analyze")), "verify", "--man=no", *map(str, units)]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
