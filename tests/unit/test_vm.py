"""What tools.vm decides without a guest: which kernel, which archive, which difference needs a reason."""

from pathlib import Path
from typing import Any

import pytest

from tools.vm.checks import compare
from tools.vm.debian import NEWEST, pick
from tools.vm.initramfs import Initramfs

SERVED = ["5.10.0-9", "5.10.0-46", "6.1.0-0.deb11.52", "6.1.0-56", "6.12.9+deb13", "6.12.117+deb13", "7.2.13+deb14"]
GOOD = {"load": {"status": 0}, "unload": {"status": 0}, "explain": {"status": 0}, "left": []}


@pytest.mark.parametrize(
    ("series", "version"),
    [
        ("5.10", "5.10.0-46"),
        ("6.1", "6.1.0-56"),
        ("6.12", "6.12.117+deb13"),
        ("6.12.9+deb13", "6.12.9+deb13"),
        (NEWEST, "7.2.13+deb14"),
        ("6.2", None),
    ],
)
def test_newest_version_of_a_series_is_taken(series: str, version: str | None) -> None:
    assert pick(SERVED, series) == version


def _members(archive: bytes) -> dict[str, tuple[int, int, bytes]]:
    """Return mode, time and bytes of each member of a newc archive."""
    found, at = {}, 0
    while at < len(archive):
        assert archive[at : at + 6] == b"070701"
        numbers = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        size, name_size = numbers[6], numbers[11]
        name = archive[at + 110 : at + 109 + name_size].decode()
        data = at + 110 + name_size + -(110 + name_size) % 4
        found[name] = (numbers[1], numbers[5], archive[data : data + size])
        at = data + size + -size % 4
    return found


def test_archive_has_files_with_their_folders_modes_and_times(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"12345")
    source.chmod(0o755)
    image = Initramfs()
    image.add_file(source, "/usr/bin/tool")
    image.add("/init", b"x", mode=0o700)
    image.write(tmp_path / "archive")
    members = _members((tmp_path / "archive").read_bytes())
    assert members["usr/bin/tool"] == (0o100755, int(source.stat().st_mtime), b"12345")
    assert members["init"] == (0o100700, 0, b"x")
    assert members["usr"][0] == members["usr/bin"][0] == 0o040755
    assert list(members)[-1] == "TRAILER!!!"


def test_modules_come_after_those_they_need(tmp_path: Path) -> None:
    (tmp_path / "sch-ingress.ko").write_bytes(b"ELF\0name=sch_ingress\0depends=core-part\0")
    (tmp_path / "core-part.ko").write_bytes(b"ELF\0depends=\0")
    image = Initramfs()
    image.add_modules(tmp_path, ["sch_ingress", "built_in"])
    image.write(tmp_path / "archive")
    modules = [name for name in _members((tmp_path / "archive").read_bytes()) if name.endswith(".ko")]
    assert modules == ["modules/00-core_part.ko", "modules/01-sch_ingress.ko"]


def test_lacking_feature_is_a_reason_and_any_other_difference_is_not() -> None:
    missing = {"status": 69, "code": "NotSupportedByKernel", "message": "no bloom_filter"}
    refused = {"status": 71, "code": "KernelRefused", "message": "invalid argument"}

    def outcome(**loads: Any) -> dict[str, Any]:
        return {"objects": {name: {**GOOD, "load": load} for name, load in loads.items()}}

    good = {"status": 0}
    assert compare(outcome(a=good, b=good), outcome(a=good, b=missing)) == (["b: no bloom_filter"], [])
    lacks, differs = compare(outcome(a=good), outcome(a=refused))
    assert not lacks
    assert "KernelRefused" in differs[0]
