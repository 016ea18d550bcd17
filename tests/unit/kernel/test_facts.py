import gzip
from pathlib import Path

import pytest

from xdploaderd.kernel.facts import parse_cpus, read_kallsyms, read_kconfig, version_code
from xdploaderd.kernel.hints import counts_memlock, missing_capabilities


@pytest.mark.parametrize(
    ("release", "version", "signature", "code"),
    [
        ("6.18.44", "#1 SMP", "", 0x06122C),
        ("6.1.0-18-amd64", "#1 SMP Debian 6.1.76-1 (2024-02-01)", "", 0x06014C),
        ("5.15.0-92-generic", "#102-Ubuntu", "Ubuntu 5.15.0-92.102-generic 5.15.131", 0x050F83),
        ("4.9.337", "#1", "", 0x0409FF),
        ("6.7-rc1", "", "", 0x060700),
        ("strange", "", "", 0),
    ],
)
def test_version_code_follows_the_distribution(release: str, version: str, signature: str, code: int) -> None:
    assert version_code(release, version, signature) == code


@pytest.mark.parametrize(("ranges", "cpus"), [("0", (0,)), ("0-3\n", (0, 1, 2, 3)), ("0-1,8,10-11", (0, 1, 8, 10, 11))])
def test_possible_cpus_are_listed(ranges: str, cpus: tuple[int, ...]) -> None:
    assert parse_cpus(ranges) == cpus


def test_kconfig_of_boot_wins_over_proc(tmp_path: Path) -> None:
    packed = tmp_path / "config.gz"
    packed.write_bytes(gzip.compress(b"CONFIG_B=y\n"))
    assert read_kconfig("6.1", boot=tmp_path, config_gz=packed) == "CONFIG_B=y\n"
    (tmp_path / "config-6.1").write_text("CONFIG_A=y\n")
    assert read_kconfig("6.1", boot=tmp_path, config_gz=packed) == "CONFIG_A=y\n"


def test_broken_or_missing_kconfig_is_unknown(tmp_path: Path) -> None:
    packed = tmp_path / "config.gz"
    assert read_kconfig("6.1", boot=tmp_path, config_gz=packed) is None
    packed.write_bytes(gzip.compress(b"CONFIG_B=y\n")[:-9])
    assert read_kconfig("6.1", boot=tmp_path, config_gz=packed) is None


def test_kallsyms_without_addresses_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "kallsyms"
    path.write_text("0000000000000000 A fixed_percpu_data\n0000000000000000 T sys_bpf\n")
    assert read_kallsyms(path) is None
    path.write_text("0000000000000000 A fixed_percpu_data\nffffffff81000000 T _stext\n")
    assert read_kallsyms(path) == path.read_text()
    assert read_kallsyms(tmp_path / "missing") is None


@pytest.mark.parametrize(
    ("effective", "missing"),
    [
        ("000001ffffffffff", ()),
        ("0000000000000000", ("CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON")),
        ("000000c000001000", ()),
        ("0000000000200000", ("CAP_NET_ADMIN",)),
    ],
)
def test_missing_capabilities_are_named(effective: str, missing: tuple[str, ...]) -> None:
    assert missing_capabilities(f"Name:\tx\nCapEff:\t{effective}\n") == missing
    assert missing_capabilities("") == ()


@pytest.mark.parametrize(
    ("release", "counts"),
    [("5.10.0-35-amd64", True), ("4.19.1", True), ("5.11.0", False), ("6.18.5", False), ("unknown", False)],
)
def test_memlock_is_blamed_on_old_kernels_only(release: str, counts: bool) -> None:
    assert counts_memlock(release) is counts


def test_configuration_beside_the_modules_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "7.2"
    folder.mkdir()
    (folder / "config").write_text("CONFIG_A=y\n")
    none = tmp_path / "none"
    assert read_kconfig("7.2", boot=none, modules=tmp_path, config_gz=none) == "CONFIG_A=y\n"
