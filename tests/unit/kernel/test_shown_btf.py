"""BTF that the running kernel shows: mapped, and told by name where there is none."""

import pytest

from xdploaderd.btf.types import BtfKind
from xdploaderd.errors import FileError
from xdploaderd.kernel.btf_file import kernel_types, read_btf_file
from xdploaderd.kernel.shown_btf import SYSFS_FOLDER, is_shown, shown_types

VMLINUX = f"{SYSFS_FOLDER}/vmlinux"


def test_types_are_those_of_the_file() -> None:
    shown, read = shown_types(VMLINUX), kernel_types(read_btf_file(VMLINUX), name="vmlinux")
    assert shown.raw == read.raw
    assert shown.ids_by_name("sk_buff", {BtfKind.STRUCT}) == read.ids_by_name("sk_buff", {BtfKind.STRUCT}) != ()
    assert len(shown) == len(read)


@pytest.mark.parametrize("path", ["vmlinux", f"/boot{VMLINUX}", f"{SYSFS_FOLDER}/a/vmlinux", SYSFS_FOLDER])
def test_other_files_are_not_the_kernels(path: str) -> None:
    assert is_shown(VMLINUX)
    assert not is_shown(path)


def test_what_the_kernel_does_not_show_is_told_by_name() -> None:
    with pytest.raises(FileError, match="cannot read '/sys/kernel/btf/none'"):
        shown_types(f"{SYSFS_FOLDER}/none")


def test_kernel_that_cannot_map_its_file_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(19, "no such device")

    monkeypatch.setattr("mmap.mmap", refuse)
    assert type(shown_types(VMLINUX).raw) is bytes
