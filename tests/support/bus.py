"""A D-Bus daemon of a test's own."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

POLICY = Path(__file__).parents[2] / "config/org.xdploaderd1.conf"
CONFIG = """<busconfig><type>session</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*" eavesdrop="true"/>
<allow receive_sender="*"/><allow eavesdrop="true"/></policy>{include}</busconfig>"""


@contextmanager
def private_bus(directory: Path, *, policy: bool = True) -> Iterator[str]:
    """Run a bus and yield its address; with the project's policy where root runs the test (it lets nobody else in)."""
    directory.chmod(0o755)
    include = f"<include>{POLICY}</include>" if policy and os.geteuid() == 0 else ""
    path = directory / "bus"
    path.unlink(missing_ok=True)
    config = directory / "bus.conf"
    config.write_text(CONFIG.format(path=path, include=include))
    command = ["dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile", "--print-address=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def plain(value: Any) -> Any:
    """Return busctl's JSON without the types."""
    if isinstance(value, dict) and set(value) == {"type", "data"}:
        return plain(value["data"])
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value
