"""Configuration files on disk: which are read, in which order, and which are refused."""

import os
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from xdploaderd.errors import ConfigError, FileError
from xdploaderd.load import config_files
from xdploaderd.load.checked_files import read_config_file
from xdploaderd.load.config_files import read_attachments
from xdploaderd.load.pinning_files import read_pinning

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        path.write_text(text)
        path.chmod(0o644)
        return path

    return _write


def _entry(name: str) -> str:
    return f"attachments: [{{name: {name}, interface: {name}, hook: xdp, object: /o, program: p}}]\n"


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o646])
def test_file_that_others_may_write_is_refused(write: Write, mode: int) -> None:
    path = write("a", "")
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"has mode {mode:04o}"):
        read_config_file(path)


def test_directory_that_others_may_write_is_refused(write: Write, tmp_path: Path) -> None:
    path = write("d/a", "")
    (tmp_path / "d").chmod(0o777)
    with pytest.raises(ConfigError, match="has mode 0777"):
        read_config_file(path)
    (tmp_path / "d").chmod(0o1777)
    assert read_config_file(path) == b""


def test_link_into_a_directory_that_others_may_write_is_refused(write: Write, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(write("d/a", ""))
    (tmp_path / "d").chmod(0o777)
    with pytest.raises(ConfigError, match="has mode 0777"):
        read_config_file(tmp_path / "link")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_file_of_another_user_is_refused(write: Write) -> None:
    path = write("a", "")
    os.chown(path, 65534, 65534)
    with pytest.raises(ConfigError, match="belongs to user 65534"):
        read_config_file(path)


def test_large_file_directory_and_fifo_are_refused_at_once(write: Write, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    start = time.monotonic()
    for path, message in [
        (write("big", "#" * (2**20 + 1)), "1048577 bytes"),
        (tmp_path, "not a regular file"),
        (tmp_path / "fifo", "not a regular file"),
        (Path("/dev/zero"), "not a regular file"),
    ]:
        with pytest.raises(ConfigError, match=message):
            read_config_file(path)
    assert time.monotonic() - start < 1.0


@pytest.mark.parametrize("name", ["missing", "a\0b", "n" * 300])
def test_file_that_cannot_be_opened_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileError):
        read_config_file(tmp_path / name)


def test_drop_ins_add_to_pinning_conf_in_the_order_of_their_names(write: Write) -> None:
    path = write("pinning.conf", "root /r\n3 a\n")
    write("pinning.conf.d/20.conf", "4 b\n")
    write("pinning.conf.d/10.conf", "5 c\n")
    write("pinning.conf.d/ignored.txt", "nonsense\n")
    conf = read_pinning(path)
    assert conf.root == PurePosixPath("/r")
    assert conf.subdirs == {3: PurePosixPath("a"), 4: PurePosixPath("b"), 5: PurePosixPath("c")}
    assert [Path(source).name for source in conf.sources] == ["pinning.conf", "10.conf", "20.conf"]


def test_faults_of_all_pinning_files_are_told_together(write: Write) -> None:
    path = write("pinning.conf", "1 a\n")
    write("pinning.conf.d/10.conf", "2 b\n")
    with pytest.raises(ConfigError, match="2 errors: ") as caught:
        read_pinning(path)
    assert "pinning.conf:1:1: " in str(caught.value)
    assert "10.conf:1:1: " in str(caught.value)


def test_value_set_twice_across_files_is_refused_with_both_places(write: Write) -> None:
    path = write("pinning.conf", "3 a\n")
    write("pinning.conf.d/10.conf", "\n3 b\n")
    with pytest.raises(ConfigError, match=r"10\.conf:2:1: '3' is already set at .*pinning\.conf:1:1"):
        read_pinning(path)


def test_iproute2_file_is_read_only_without_pinning_conf_and_drop_ins(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xdploaderd.load.pinning_files.PINNING_CONF", tmp_path / "pinning.conf")
    fallback = write("bpf_pinning", "3 theirs junk\n2 reserved\n")
    conf = read_pinning(tmp_path / "pinning.conf", fallback=fallback)
    assert conf.subdirs == {3: PurePosixPath("theirs")}
    assert len(conf.warnings) == 1
    drop_in = write("pinning.conf.d/10.conf", "4 ours\n")
    assert read_pinning(tmp_path / "pinning.conf", fallback=fallback).subdirs == {4: PurePosixPath("ours")}
    drop_in.unlink()
    assert read_pinning(tmp_path / "pinning.conf", fallback=tmp_path / "none").subdirs == {}


def test_named_pinning_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such file"):
        read_pinning(tmp_path / "missing.conf")


def test_include_is_relative_to_its_file_and_takes_both_grammars(write: Write) -> None:
    path = write("pinning.conf", "3 a\ninclude more/b.conf\ninclude bpf_pinning bpf_pinning\n")
    write("more/b.conf", "4 b\ninclude c.conf\n")
    write("more/c.conf", "5 c\n")
    write("bpf_pinning", "6 d junk\n1 reserved\n")
    conf = read_pinning(path)
    assert {number: str(path) for number, path in conf.subdirs.items()} == {3: "a", 4: "b", 5: "c", 6: "d"}
    assert "bpf_pinning:2:1" in conf.warnings[0]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"0": "include 0\n"}, r"/0:1:9: .*includes itself"),
        ({"0": "include 1\n", "1": "include ./0\n"}, r"/0:1:9: .*/1:1:9: .*includes itself"),
        ({"0": "include 1\ninclude 1\n", "1": "\n"}, r"/0:2:9: .*is read already"),
        ({"0": "include none\n"}, r"/0:1:9: cannot include .*no such file"),
        ({"0": "include 1\n", "1": "\n2 x\n"}, r"/0:1:9: .*/1:2:1: pinning value 2"),
        ({"0": "include bpf_pinning 1\n", "1": "3\n"}, r"/0:1:21: .*/1:1:1: corrupt"),
        ({str(n): f"include {n + 1}\n" for n in range(10)}, "9 deep, at most 8"),
    ],
)
def test_faulty_include_is_told_with_every_place(write: Write, files: dict[str, str], message: str) -> None:
    paths = [write(name, text) for name, text in files.items()]
    with pytest.raises(ConfigError, match=message):
        read_pinning(paths[0])


def test_eight_includes_inside_each_other_are_read(write: Write) -> None:
    for number in range(8):
        write(str(number), f"include {number + 1}\n")
    path = write("8", "3 deep\n").with_name("0")
    assert read_pinning(path).subdirs == {3: PurePosixPath("deep")}


def test_file_of_an_earlier_directory_masks_its_name_in_later_ones(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dirs = tuple(tmp_path / name for name in ("etc", "run", "lib"))
    monkeypatch.setattr(config_files, "CONFIG_DIRS", dirs)
    monkeypatch.setattr(config_files, "CONFIG_FILE", dirs[0] / "xdploaderd.yaml")
    write("lib/xdploaderd.yaml", _entry("vendor-main"))
    write("lib/conf.d/10-a.yaml", _entry("vendor-a"))
    write("lib/conf.d/20-b.yaml", _entry("vendor-b"))
    write("lib/conf.d/40-d.yaml", _entry("vendor-d"))
    write("run/conf.d/10-a.yaml", _entry("run-a"))
    write("run/conf.d/30-c.yaml", _entry("run-c"))
    write("etc/conf.d/10-a.yaml", _entry("etc-a"))
    (tmp_path / "etc/conf.d/20-b.yaml").symlink_to("/dev/null")
    found = read_attachments(dirs[0] / "xdploaderd.yaml")
    assert [a.name for a in found.attachments] == ["vendor-main", "etc-a", "run-c", "vendor-d"]
    assert [Path(source).name for source in found.sources] == [
        "xdploaderd.yaml",
        "10-a.yaml",
        "30-c.yaml",
        "40-d.yaml",
    ]


def test_named_file_is_read_alone_and_named_directory_with_its_drop_ins(write: Write, tmp_path: Path) -> None:
    path = write("xdploaderd.yaml", _entry("main"))
    write("conf.d/10.yaml", _entry("more"))
    assert [a.name for a in read_attachments(path).attachments] == ["main"]
    assert [a.name for a in read_attachments(tmp_path).attachments] == ["main", "more"]


def test_faults_of_all_yaml_files_are_told_together(write: Write, tmp_path: Path) -> None:
    write("xdploaderd.yaml", _entry("a"))
    write("conf.d/10.yaml", "attachments: [{}]\n")
    write("conf.d/20.yaml", "[[")
    write("conf.d/30.yaml", _entry("a"))
    write("conf.d/40.yaml", "").chmod(0o666)
    with pytest.raises(ConfigError) as caught:
        read_attachments(tmp_path)
    errors = caught.value.fields["errors"]
    assert isinstance(errors, list)
    names = ["10.yaml"] * 5 + ["20.yaml", "30.yaml", "30.yaml", "40.yaml"]
    assert [name in error for name, error in zip(names, errors, strict=True)] == [True] * 9
