"""What tests of several modules of the control socket and of the bus start from."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bus import private_bus
from tests.support.tools import tool


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a control socket may be made."""
    tmp_path.chmod(0o700)
    return tmp_path / "control"


@pytest.fixture
def bus_tools() -> None:
    """Skip the test where there is no D-Bus."""
    for name in ("dbus-daemon", "busctl"):
        tool(name)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Yield the address of a bus of the test's own."""
    with private_bus(tmp_path) as found:
        yield found
