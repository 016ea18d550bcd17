"""The repository's own promises: locks with a hash for each file, no index named, commands that exist."""

import re
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
