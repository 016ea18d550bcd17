"""What a command imports: most of a short command's time is its start, and every module it does without is gained."""

import subprocess
import sys
from pathlib import Path

import pytest

CORE = Path(__file__).parents[2] / "bpf" / "core"
SHOW = """
import gc
import sys
from xdploaderd.cli.main import main
status = main()
print(*sys.modules, "collecting" if gc.isenabled() and gc.get_freeze_count() else "")
sys.exit(status)
"""
HEAVY = (
    *("argparse", "asyncio", "bz2", "ctypes", "dataclasses", "difflib", "elftools"),
    *("gettext", "hashlib", "inspect", "ipaddress", "json", "locale", "logging"),
    *("lzma", "pathlib", "shutil", "socket", "tempfile", "urllib"),
)


def imported(*words: str) -> set[str]:
    """Return the modules that are there after a command has run, and `collecting` where the collector is on."""
    done = subprocess.run([sys.executable, "-c", SHOW, *words], check=True, stdout=subprocess.PIPE, text=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.fixture(scope="module")
def btfgen(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    out = tmp_path_factory.mktemp("btfgen") / "out.btf"
    return imported("btfgen", "--btf", str(CORE / "fields.target.o"), "-o", str(out), str(CORE / "fields.local.o"))


@pytest.mark.parametrize("module", HEAVY)
def test_btfgen_of_a_raw_file_runs_without(module: str, btfgen: set[str]) -> None:
    assert module not in btfgen


def test_garbage_is_looked_for_while_a_verb_runs_and_not_among_imports(btfgen: set[str]) -> None:
    assert "collecting" in btfgen


@pytest.mark.parametrize("package", ["config", "control", "info", "load", "log", "net", "uapi", "verdict"])
def test_btfgen_runs_without_the_package(package: str, btfgen: set[str]) -> None:
    assert not {name for name in btfgen if f"{name}.".startswith(f"xdploaderd.{package}.")}


def test_btfgen_takes_of_the_object_reader_what_its_sections_need(btfgen: set[str]) -> None:
    ours = {name.removeprefix("xdploaderd.obj.") for name in btfgen if name.startswith("xdploaderd.obj.")}
    assert ours == {"btf_sections", "elf_headers", "elf_sections", "elf_strings", "minimize"}


def test_btfgen_of_what_the_kernel_shows_reads_no_other_form(tmp_path: Path) -> None:
    vmlinux = "/sys/kernel/btf/vmlinux"
    names = imported("btfgen", "--btf", vmlinux, "-o", str(tmp_path / "out.btf"), str(CORE / "fields.local.o"))
    ours = {name.removeprefix("xdploaderd.kernel.") for name in names if name.startswith("xdploaderd.kernel.")}
    assert ours == {"regular_file", "shown_btf"}


@pytest.fixture(scope="module")
def prepare() -> set[str]:
    code = "import sys, xdploaderd.cli.prepare\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("package", ["config", "control", "info", "load", "log", "net"])
def test_prepare_is_imported_without_the_package(package: str, prepare: set[str]) -> None:
    assert not {name for name in prepare if f"{name}.".startswith(f"xdploaderd.{package}.")}


@pytest.mark.parametrize("module", ["elftools", "hashlib", "json", "logging", "platform", "socket", "tempfile"])
def test_prepare_is_imported_without(module: str, prepare: set[str]) -> None:
    assert module not in prepare


@pytest.mark.parametrize("module", ["argparse", "collections", "enum", "re", "textwrap"])
def test_help_of_a_verb_is_shown_without(module: str) -> None:
    assert module not in imported("load", "--help")
