"""The repository's own promises: locks with a hash for each file, no index named, commands that exist."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))


def _pinned(lock: Path) -> set[str]:
    return {m[1].replace("_", "-").lower() for m in re.finditer(r"^([\w.-]+)==", lock.read_text(), re.MULTILINE)}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda p: p.name)
def test_every_locked_package_has_a_version_and_a_hash(lock: Path) -> None:
    entries = [e for e in re.split(r"^(?=[\w.-]+==)", lock.read_text(), flags=re.MULTILINE) if not e.startswith("#")]
    assert entries
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", entry) for entry in entries)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda p: p.name)
def test_lock_names_no_index_or_address(lock: Path) -> None:
    assert not re.search(r"index-url|find-links|trusted-host|://", lock.read_text())


def test_runtime_lock_has_every_dependency_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["systemd"]]
    assert {re.split(r"[><=]", w)[0].lower() for w in wanted} <= _pinned(ROOT / "requirements" / "run.lock")


def test_locks_agree_on_versions_they_share() -> None:
    versions: dict[str, set[str]] = {}
    for lock in LOCKS:
        for name, version in re.findall(r"^([\w.-]+)==(\S+)", lock.read_text(), re.MULTILINE):
            versions.setdefault(name, set()).add(version)
    assert {name: v for name, v in versions.items() if len(v) > 1} == {}


def test_dev_is_posix_shell_and_refuses_an_unknown_command() -> None:
    subprocess.run(["sh", "-n", ROOT / "dev"], check=True)
    done = subprocess.run(["sh", ROOT / "dev", "nonsense"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no command 'nonsense'" in done.stderr


_CASES = (ROOT / "dev").read_text().partition("\ncase $command in\n")[2]
COMMANDS = re.findall(r"^([a-z]+)(?: \||\))", _CASES, re.MULTILINE)
TOOLS = {"corpus": "corpus.py", "faults": "faults/__main__.py", "fuzz": "fuzz.py", "vm": "vm/__main__.py"}


def _help_of(command: str, directory: Path) -> str:
    """Return what is told in a folder that has nothing but dev, and by these programs alone: nothing can be set up."""
    shutil.copy(ROOT / "dev", directory)
    (directory / "bin").mkdir()
    for name in ("awk", "cat", "dirname"):
        (directory / "bin" / name).symlink_to(str(shutil.which(name)))
    asked = ["/bin/sh", str(directory / "dev"), command, "--help"]
    done = subprocess.run(asked, env={"PATH": f"{directory}/bin"}, capture_output=True, text=True, check=True)
    assert sorted(path.name for path in directory.iterdir()) == ["bin", "dev"]
    return done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_needs_no_set_up(tmp_path: Path, command: str) -> None:
    head, shown = _help_of(command, tmp_path).split("\n\n")
    assert head.startswith("usage: ./dev")
    assert re.findall(r"^  ([a-z]+)", shown, re.MULTILINE) == [command]


@pytest.mark.parametrize(("command", "tool"), TOOLS.items())
def test_help_of_a_command_names_every_option_of_its_tool(tmp_path: Path, command: str, tool: str) -> None:
    options = set(re.findall(r'add_argument\(\s*"(--[a-z]+)"', (ROOT / "tools" / tool).read_text()))
    assert options
    assert set(re.findall(r"--[a-z]+(?=[ :])", _help_of(command, tmp_path).partition("\n\n")[2])) == options
