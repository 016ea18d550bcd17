"""Objects whose programs bear a name of the campaign's own, so that what is left of them can be told machine-wide."""

import json
import secrets
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.daemon import OBJECTS, SLOWNESS

PATIENCE = 5.0 * SLOWNESS  # seconds that the kernel may take to free what is closed


@dataclass(frozen=True, slots=True)
class Marked:
    """Copies of test objects below `directory`, every name in them that is asked for replaced by a random one."""

    directory: Path
    mark: str = field(default_factory=lambda: f"q{secrets.token_hex(2)}")

    def name(self, name: str) -> str:
        """Return the random name of the same length, at least 7 letters."""
        return self.mark + name[len(self.mark) :]

    def copy(self, source: str, *names: str, to: str = "") -> Path:
        """Write (again) an object of tests/bpf with these names marked."""
        raw = (OBJECTS / source).read_bytes()
        for name in names:
            raw = raw.replace(name.encode(), self.name(name).encode())
        path = self.directory / f"{self.mark}{to or source}"
        path.write_bytes(raw)
        return path

    def alive(self) -> dict[str, int]:
        """Return how many programs and maps of this kernel bear the mark."""
        return {
            kind: sum(str(item.get("name", "")).startswith(self.mark) for item in _listed(kind))
            for kind in ("prog", "map")
        }

    def settled_at(self, programs: int, maps: int) -> None:
        """Return when exactly as many are alive; AssertionError when that does not come."""
        deadline = time.monotonic() + PATIENCE
        while (alive := self.alive()) != {"prog": programs, "map": maps}:
            assert time.monotonic() < deadline, f"{alive} of mark {self.mark}, want {programs} and {maps}"
            time.sleep(0.02)


def _listed(kind: str) -> list[dict[str, object]]:
    """Ask bpftool(8), again where an object went while it looked."""
    while True:
        done = subprocess.run(["bpftool", "-j", kind, "show"], capture_output=True, text=True, check=False)
        try:
            found = json.loads(done.stdout or "[]")
        except ValueError:
            continue
        if isinstance(found, list):
            return found
