"""Where BTF is looked for, in a file system made for the test."""

from pathlib import Path

import pytest

from xdploaderd.btf.build import BtfBuilder
from xdploaderd.btf.types import Int
from xdploaderd.errors import FeatureMissingError, FileError, ObjectError
from xdploaderd.kernel.btf_search import architecture, btf_files, find_btf, kernel_name

RELEASE = "6.1.0-56-amd64"


def _blob(name: str = "int") -> bytes:
    builder = BtfBuilder()
    builder.add(Int(name, 4, 1, 0, 32))
    return builder.encode()


def _put(root: Path, name: str, raw: bytes) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize(
    "place",
    [
        f"boot/vmlinux-{RELEASE}",
        f"lib/modules/{RELEASE}/vmlinux-{RELEASE}",
        f"lib/modules/{RELEASE}/vmlinux",
        f"lib/modules/{RELEASE}/build/vmlinux",
        f"usr/lib/modules/{RELEASE}/kernel/vmlinux",
        f"usr/lib/debug/boot/vmlinux-{RELEASE}",
        f"usr/lib/debug/boot/vmlinux-{RELEASE}.debug",
        f"usr/lib/debug/lib/modules/{RELEASE}/vmlinux",
        f"btf/{RELEASE}.btf",
        f"btf/debian/12/{architecture()}/{RELEASE}.btf",
        f"boot/vmlinuz-{RELEASE}",
        f"usr/lib/modules/{RELEASE}/vmlinuz",
    ],
)
def test_every_usual_place_is_looked_at(tmp_path: Path, place: str) -> None:
    path = _put(tmp_path, place, _blob())
    found = find_btf(RELEASE, root=tmp_path, folders=[tmp_path / "btf"])
    assert (found.path, found.raw) == (path, _blob())


def test_first_place_wins_and_one_without_btf_is_passed_over(tmp_path: Path) -> None:
    _put(tmp_path, f"boot/vmlinux-{RELEASE}", b"\x7fELF\x02\x01" + bytes(34) + bytes(4) + bytes(64))
    with pytest.raises(ObjectError, match="malformed"):
        find_btf(RELEASE, root=tmp_path, folders=[])
    second = _put(tmp_path, f"lib/modules/{RELEASE}/vmlinux", _blob("second"))
    _put(tmp_path, f"boot/vmlinuz-{RELEASE}", _blob("third"))
    (tmp_path / f"boot/vmlinux-{RELEASE}").unlink()
    assert find_btf(RELEASE, root=tmp_path, folders=[]).path == second


def test_kernel_of_which_nothing_is_here_is_told(tmp_path: Path) -> None:
    with pytest.raises(FeatureMissingError, match=r"no BTF of kernel 6\.1\.0-56-amd64 is to be found"):
        find_btf(RELEASE, root=tmp_path, folders=[])


def test_kernel_built_without_btf_is_told_by_the_file_that_shows_it(tmp_path: Path) -> None:
    names = b"\0.text\0"
    shoff = 64 + len(names)
    header = b"\x7fELF\x02\x01\x01" + bytes(33) + shoff.to_bytes(8, "little") + bytes(10)
    header += (64).to_bytes(2, "little") + (1).to_bytes(2, "little") + (0).to_bytes(2, "little")
    section = bytes(24) + (64).to_bytes(8, "little") + len(names).to_bytes(8, "little") + bytes(24)
    _put(tmp_path, f"boot/vmlinux-{RELEASE}", header + names + section)
    with pytest.raises(FeatureMissingError, match=r"was built without BTF .*boot/vmlinux"):
        find_btf(RELEASE, root=tmp_path, folders=[])


@pytest.mark.parametrize("release", ["", "../../etc", "a/b", "x" * 200])
def test_what_is_no_release_is_refused(tmp_path: Path, release: str) -> None:
    with pytest.raises(FeatureMissingError, match="is no kernel release"):
        find_btf(release, root=tmp_path, folders=[])


def test_folder_gives_its_kernels_in_order(tmp_path: Path) -> None:
    names = ["5.10.btf", "debian/12/x86_64/6.1.btf.tar.xz", "vmlinuz-6.12"]
    for name in [*names, "readme.txt"]:
        _put(tmp_path, name, b"")
    assert [str(path.relative_to(tmp_path)) for path in btf_files(tmp_path)] == names
    assert [kernel_name(tmp_path / name) for name in names] == ["5.10", "6.1", "6.12"]


def test_folder_without_kernels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"has no files named \*\.btf"):
        btf_files(tmp_path)
    with pytest.raises(FileError, match="is no folder"):
        btf_files(tmp_path / "none")
